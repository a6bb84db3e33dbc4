"""The control socket in the file system: made safely, never wider than it should be, made again.

The socket is bound under a umask that gives nobody else anything, in a directory in whose path nobody
else can put something. A socket that was left behind is replaced; a live one is refused with the pid
of its owner; anything else in its place is left alone.
"""

# The port underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.model import Settings
from supervisortw.daemon.unixsocket import (
    SocketName,
    born_with,
    make_way,
    owner_of,
    trusted_place,
)
from supervisortw.errors import AlreadyRunning, LocalError

log = Logger(namespace="supervisor")

PeerPid = Callable[[socket.socket], "int | None"]


class ControlSocket:
    """Listens on one UNIX socket."""

    def __init__(
        self, path: str, settings: Settings, factory: IProtocolFactory, reactor: Any
    ) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self.spoken = ""
        self._settings = settings
        self._factory = factory
        self._reactor = reactor
        self._port: _Port | None = None

    def start(self, peer_pid: PeerPid) -> None:
        """Bind and listen. ``peer_pid`` tells who owns the other end of a connection.

        Raises AlreadyRunning if another daemon listens there, and LocalError.
        """
        owner = owner_of("socket-chown", self._settings.socket_chown)
        with trusted_place(self.path) as self.warnings:
            make_way(self.path, owner, lambda probe: self._refusal(peer_pid(probe)))
            self._port = self._bind()
        if owner is not None:
            try:
                os.chown(self.path, *owner, follow_symlinks=False)
            except OSError as error:
                self.stop()
                raise LocalError(f"socket-chown: {self.path}: {error.strerror}") from None

    def _bind(self) -> _Port:
        mode = self._settings.socket_mode
        port = _Port(self.path.encode(), self._factory, mode=mode, reactor=self._reactor)
        try:
            with born_with(mode):
                port.startListening()
        except CannotListenError as error:
            reason = error.socketError.strerror or error.socketError
            raise LocalError(f"cannot listen on {self.path}: {reason}") from None
        return port

    def _refusal(self, pid: int | None) -> AlreadyRunning:
        who = f"another supervisord (pid {pid})" if pid else "another supervisord"
        return AlreadyRunning(f"{who} listens on {self.path}")

    def is_there(self) -> bool:
        """True if the name in the file system is still our socket."""
        return self._port is not None and self._port.name.is_there()

    def remove_name(self) -> None:
        """Remove the name from the file system, if it is still our socket."""
        if self._port is not None:
            self._port.name.remove()

    def stop(self) -> Deferred[None]:
        """Stop listening; the name is removed if it is still ours."""
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening()


class _Port(unix.Port):
    """A UNIX port that removes its name only while it is its own."""

    name: SocketName

    def startListening(self) -> None:
        super().startListening()
        self.name = SocketName(os.fsdecode(self._bindPath))

    def connectionLost(self, reason: Failure) -> None:
        self.name.remove()
        # Not unix.Port's own, which removes whatever bears the name by now.
        tcp.Port.connectionLost(self, reason)
