"""Who is at the other end of a UNIX socket, as the kernel says. No decision is made here."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

OVERFLOW_UID = 65534  # what the kernel shows for a user of another user namespace

_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2  # macOS
_UCRED = struct.Struct("=iII")  # pid, uid, gid
_XUCRED_HEAD = struct.Struct("=IIh2xI")  # version, uid, number of groups, the first group
_XUCRED_BYTES = 128  # more than any system has
_XUCRED_VERSION = 0
_XUCRED_PID_AT = 80  # FreeBSD, 64 bit
_NOBODY = 0xFFFFFFFF  # what a system call takes as "no such id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process as it was when it connected (or began to listen); ``pid`` is 0 where nobody says.

    The pid is for the log: it may belong to another process by now.
    """

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid})"


PeerOf = Callable[[object], Peer | None]


def identified(peer: Peer | None) -> Peer | None:
    """Return ``peer`` if it can be told from others; the overflow uid stands for anybody."""
    return None if peer is None or peer.uid == OVERFLOW_UID else peer


def peer_credentials(transport: object) -> Peer | None:
    """Return who is at the other end of ``transport``, or None if the kernel does not vouch for it.

    That is so for everything but a plain UNIX socket, on systems that this code does not know, and
    for users that this system cannot name.
    """
    handle = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(handle, socket.socket) or handle.family != socket.AF_UNIX:
        return None
    try:
        peer = _asked(handle)
    except (OSError, struct.error):
        return None
    return None if peer is None or peer.uid in (OVERFLOW_UID, _NOBODY) else peer


def _asked(sock: socket.socket) -> Peer | None:
    if sys.platform.startswith("linux"):
        return from_ucred(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if sys.platform == "darwin":
        pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
        return from_xucred(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES), pid=pid)
    if sys.platform.startswith("freebsd"):
        return from_xucred(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES))
    return None


def from_ucred(data: bytes) -> Peer:
    """Return the peer that Linux's ``struct ucred`` tells of."""
    pid, uid, gid = _UCRED.unpack(data)
    return Peer(pid=pid, uid=uid, gid=gid)


def from_xucred(data: bytes, *, pid: int | None = None) -> Peer | None:
    """Return the peer that a BSD's ``struct xucred`` tells of; None if it is of another version."""
    version, uid, groups, gid = _XUCRED_HEAD.unpack_from(data)
    if version != _XUCRED_VERSION or groups < 1:
        return None
    if pid is None:
        (pid,) = struct.unpack_from("=i", data, _XUCRED_PID_AT) if len(data) > 80 else (0,)
    return Peer(pid=pid, uid=uid, gid=gid)
