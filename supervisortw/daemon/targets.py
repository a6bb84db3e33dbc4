"""The targets that logs share: one for each stream, special file and syslog server."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from supervisortw.core.limits import LIMITS
from supervisortw.core.logline import word
from supervisortw.core.model import DAEMON_STREAMS, SYSLOG, Process
from supervisortw.core.syslog import (
    Severity,
    SyslogAddress,
    Transport,
    counted,
    network_head,
    priority,
)
from supervisortw.daemon.addresses import Addresses, InThread
from supervisortw.daemon.datagrams import Datagrams, connect_local, connect_udp
from supervisortw.daemon.lineform import form_of, syslog_form
from supervisortw.daemon.outlet import Outlet
from supervisortw.daemon.stamps import Stamps
from supervisortw.daemon.stream import SpecialFile, Stream, own_stream
from supervisortw.daemon.syslogtcp import TcpServer
from supervisortw.daemon.target import Target

Key = str | SyslogAddress
LOST_CONNECTION = "the connection was lost; messages may be missing here"


@dataclass(slots=True)
class _Shared:
    """A target, and how many have it."""

    target: Target
    users: int = 0


class Targets:
    """Makes targets, and closes them when nobody has them any more; ``stdout`` is there already."""

    def __init__(
        self, reactor: Any, in_thread: InThread, stamps: Stamps, stdout: Stream | None = None
    ) -> None:
        self._reactor = reactor
        self._addresses = Addresses(in_thread)
        self._stamps = stamps
        self._host = socket.gethostname()
        self._shared: dict[Key, _Shared] = {}
        if stdout is not None:
            self._shared[DAEMON_STREAMS[0]] = _Shared(stdout, users=1)  # it is never closed

    def outlet(self, name: str, path: str, process: Process) -> Outlet:
        """Return the way of the log ``name`` of a process to ``path``, which is no file.

        `release` is to be called at its end.
        """
        key = _key(process, path)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(self._make(key))
        shared.users += 1
        if path == SYSLOG:
            form = syslog_form(process, name, self._host, self._stamps)
        else:
            form = form_of(process, name, self._stamps)
        return Outlet(shared.target, form, self._reactor)

    def release(self, outlet: Outlet) -> None:
        """An outlet is used no more."""
        outlet.target.forget(outlet)
        [(key, shared)] = [item for item in self._shared.items() if item[1].target is outlet.target]
        shared.users -= 1
        if not shared.users:
            del self._shared[key]
            shared.target.close()

    def finish(self) -> Deferred[None]:
        """Fire when all is written that was given to any, or after LIMITS.target_last_seconds."""
        finished: Deferred[None] = Deferred()
        left = [each.target for each in self._shared.values()]

        def over() -> None:
            if not finished.called:
                finished.callback(None)

        def done(target: Target) -> None:
            left.remove(target)
            if not left and timer.active():
                timer.cancel()
                over()

        timer = self._reactor.callLater(LIMITS.target_last_seconds if left else 0, over)
        for target in list(left):
            target.finish(partial(done, target))
        return finished

    def _make(self, key: Key) -> Target:
        if isinstance(key, SyslogAddress):
            return self._syslog(key)
        if key in DAEMON_STREAMS:
            return own_stream(key, self._reactor)
        return Stream(SpecialFile(key), self._reactor, self._reactor)

    def _syslog(self, address: SyslogAddress) -> Target:
        if address.transport is Transport.TCP:
            return TcpServer(address, self._addresses, self._reactor, self._lost)
        if address.transport is Transport.UDP:
            connect = connect_udp(address.host, address.port, self._addresses)
        else:
            connect = connect_local(address.path)
        return Datagrams(f"syslog at {address}", connect, self._reactor, self._reactor)

    def _lost(self) -> bytes:
        number = priority("daemon", Severity.WARNING)
        head = network_head(number, self._stamps.utc(), self._host, "supervisord")
        return counted(head + word(LOST_CONNECTION).encode())


def _key(process: Process, path: str) -> Key:
    return process.syslog_address if path == SYSLOG else path
