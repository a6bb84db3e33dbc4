import os
import socket
import struct
from types import SimpleNamespace

import pytest

from supervisortw.remote.peers import Peer, from_ucred, from_xucred, peer_credentials


def transport(handle):
    return SimpleNamespace(getHandle=lambda: handle)


@pytest.mark.needs_linux
def test_both_ends_of_a_socket_pair_are_this_process() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        me = Peer(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid())
        assert peer_credentials(transport(one)) == me
        assert str(me) == f"uid {os.geteuid()} (pid {os.getpid()})"


def test_nobody_vouches_for_anything_but_a_unix_socket() -> None:
    with socket.socket(socket.AF_INET) as tcp:
        assert peer_credentials(transport(tcp)) is None
    assert peer_credentials(transport(object())) is None
    assert peer_credentials(object()) is None


def test_a_socket_that_is_closed_has_no_peer() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    one.close()
    other.close()
    assert peer_credentials(transport(one)) is None


@pytest.mark.parametrize("uid", [65534, 0xFFFFFFFF])
def test_a_user_that_cannot_be_named_is_nobody(monkeypatch, uid) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    one, other = socket.socketpair(socket.AF_UNIX)
    told = struct.pack("=iII", 1, uid, 0)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: told)
    with one, other:
        assert peer_credentials(transport(one)) is None


def xucred(version=0, uid=501, groups=2, gid=20, tail=b"") -> bytes:
    return struct.pack("=IIh2xI", version, uid, groups, gid) + tail


@pytest.mark.parametrize(
    ("system", "pid_asked", "expected"), [("darwin", 77, 77), ("freebsd14", None, 99)]
)
def test_bsd_structures(monkeypatch, system, pid_asked, expected) -> None:
    monkeypatch.setattr("sys.platform", system)
    whole = xucred().ljust(80, b"\0") + struct.pack("=i4x", 99)

    def getsockopt(sock, level, option, size=None):
        assert level == 0
        return pid_asked if size is None else whole

    monkeypatch.setattr(socket.socket, "getsockopt", getsockopt)
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_credentials(transport(one)) == Peer(pid=expected, uid=501, gid=20)


def test_an_unknown_system_or_structure_names_nobody(monkeypatch) -> None:
    assert from_xucred(xucred(version=1)) is None
    assert from_xucred(xucred(groups=0)) is None
    assert from_xucred(xucred()) == Peer(pid=0, uid=501, gid=20)
    assert from_ucred(struct.pack("=iII", 5, 6, 7)) == Peer(pid=5, uid=6, gid=7)
    monkeypatch.setattr("sys.platform", "plan9")
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_credentials(transport(one)) is None
    monkeypatch.setattr("sys.platform", "darwin")
    one, other = socket.socketpair(socket.AF_UNIX)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *a: 1 if len(a) == 3 else b"short")
    with one, other:
        assert peer_credentials(transport(one)) is None
