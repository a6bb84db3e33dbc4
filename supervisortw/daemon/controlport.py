"""A TCP port for clients, and a UNIX socket that somebody else has made: both are only listened on."""

# The ports underneath have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from supervisortw.core.model import TcpAddress
from supervisortw.daemon.tcpplace import bound, in_words, places_of
from supervisortw.daemon.unixsocket import trusted_place
from supervisortw.errors import LocalError

BACKLOG = 50


def bound_port(address: TcpAddress) -> socket.socket:
    """Return a socket that is bound to ``address`` and does not listen yet. Raises LocalError."""
    try:
        return bound(places_of(address))
    except OSError as error:
        raise LocalError(in_words(error, address)) from None


class ControlPort:
    """Listens on a bound TCP socket, which is its own from now on.

    ``spoken`` is what an operator should know about what is spoken there, and ``warnings`` what is wrong.
    """

    def __init__(
        self,
        address: TcpAddress,
        listening: socket.socket,
        spoken: str,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.warnings = warnings
        self.spoken = spoken
        self._address = address
        self._listening = listening
        self._port: Any = None

    def start(self, factory: IProtocolFactory, reactor: Any) -> None:
        """Listen. Raises LocalError."""
        try:
            self._listening.setblocking(False)
            self._listening.listen(BACKLOG)
            descriptor, family = self._listening.fileno(), self._listening.family
            self._port = reactor.adoptStreamPort(descriptor, family, factory)
        except OSError as error:
            raise LocalError(in_words(error, self._address)) from None
        finally:
            self._listening.close()  # the port has a descriptor of its own

    def is_there(self) -> bool:
        """True: nobody can take away the address of a socket that is bound."""
        return True

    def remove_name(self) -> None:
        """Do nothing: it has no name in the file system."""

    def stop(self) -> Deferred[None]:
        """Stop listening."""
        return maybeDeferred(self._port.stopListening)


class GivenUnixSocket:
    """Listens on a UNIX socket with the mode and the name that somebody else has given to it."""

    spoken = "given by systemd"

    def __init__(self, path: str, listening: socket.socket) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self._listening = listening
        self._port: _GivenPort | None = None

    def start(self, factory: IProtocolFactory, reactor: Any) -> None:
        """Listen. Raises LocalError where somebody else could put a socket of theirs in its place."""
        with trusted_place(self.path) as warnings:
            self.warnings = warnings
            try:
                mode = stat.S_IMODE(os.lstat(self.path).st_mode)
            except OSError as error:
                raise LocalError(f"nobody can reach it by {self.path}: {error.strerror}") from None
        if mode & 0o002:
            text = (
                f"{self.path}: everybody can connect; SocketMode=0600 in its unit is meant for this"
            )
            self.warnings += (text,)
        self._port = _GivenPort(self.path, self._listening, factory, reactor)
        self._port.startListening()

    def is_there(self) -> bool:
        """True: whoever has made it looks after its name."""
        return True

    def remove_name(self) -> None:
        """Do nothing: the name belongs to whoever has made it."""

    def stop(self) -> Deferred[None]:
        """Stop listening here; who connects waits for whoever listens next."""
        if self._port is None:
            self._listening.close()
            return maybeDeferred(lambda: None)
        return maybeDeferred(self._port.stopListening)


class _GivenPort(unix.Port):
    """A UNIX port that listens already. Twisted's own would give it the mode 0666."""

    _shouldShutdown = False  # that would end it for whoever has made it, too

    def __init__(
        self, path: str, listening: socket.socket, factory: IProtocolFactory, reactor: Any
    ) -> None:
        super().__init__(os.fsencode(path), factory, reactor=reactor)
        listening.setblocking(False)
        self._given = listening

    def startListening(self) -> None:
        factory: Any = self.factory
        factory.doStart()
        self.socket = self._given
        self.fileno = self.socket.fileno  # type: ignore[method-assign]  # as Twisted's ports do
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        # Not unix.Port's own, which removes the name.
        tcp.Port.connectionLost(self, reason)
