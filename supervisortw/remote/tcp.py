"""Connections over TCP: where they come from, whether there is room for them, and when they are dead."""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import Any

from supervisortw.core.limits import LIMITS, Limits

_OPTIONS = ("TCP_KEEPIDLE", "TCP_KEEPALIVE")  # Linux and FreeBSD; macOS


def host_and_port(transport: Any) -> tuple[str, str]:
    """Return the host at the other end of ``transport``, and that with the port, for the log.

    A socket of IPv6 that takes IPv4 as well calls 10.0.0.1 ``::ffff:10.0.0.1``; nobody else does.
    """
    peer = transport.getPeer()
    host = str(peer.host)
    if "." in host:
        host = host.removeprefix("::ffff:")
    return host, f"[{host}]:{peer.port}" if ":" in host else f"{host}:{peer.port}"


def has_room(transport: Any, limits: Limits = LIMITS) -> bool:
    """Tell whether enough descriptors are left for programs with that of ``transport`` taken.

    A new descriptor is the lowest that was free, so as many are in use as its number says.
    """
    connected = _socket_of(transport)
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connected is None or allowed == resource.RLIM_INFINITY:
        return True
    return connected.fileno() < allowed * limits.descriptors_for_tcp


def notice_death(transport: Any, limits: Limits = LIMITS) -> None:
    """Have the system end the connection if the host at the other end does not answer any more."""
    connected = _socket_of(transport)
    if connected is None:
        return
    with contextlib.suppress(OSError):  # it is gone already, which the reactor will notice
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        *((name, limits.keepalive_seconds) for name in _OPTIONS),
        ("TCP_KEEPINTVL", limits.keepalive_repeat_seconds),
        ("TCP_KEEPCNT", limits.keepalive_times),
        ("TCP_USER_TIMEOUT", 1000 * limits.tcp_unacknowledged_seconds),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):  # or this kernel does not know the option
                connected.setsockopt(socket.IPPROTO_TCP, option, value)


def _socket_of(transport: Any) -> socket.socket | None:
    """Return the socket under ``transport``, also where TLS is in between."""
    found = getattr(transport, "socket", None)
    return found if isinstance(found, socket.socket) else None
