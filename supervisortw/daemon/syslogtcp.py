"""A syslog server behind TCP."""

# Twisted's protocols have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.core.syslog import SyslogAddress
from supervisortw.daemon.addresses import Address, Addresses, why_not_found
from supervisortw.daemon.backlog import Backlog, Giver
from supervisortw.interfaces import Cancel, Timer


@implementer(IPushProducer)
class TcpServer:
    """Sends messages over one connection, which is made when there is something to send.

    What cannot be sent waits, and is tried again, less and less often. What was given to a connection
    that has ended may have arrived or not; ``lost_connection`` makes the message that says so.
    """

    def __init__(
        self,
        address: SyslogAddress,
        addresses: Addresses,
        reactor: Any,
        lost_connection: Callable[[], bytes],
    ) -> None:
        self.where = f"syslog at {address}"
        self.trouble = ""
        self._address = address
        self._addresses = addresses
        self._reactor = reactor
        self._lost_connection = lost_connection
        self._backlog = Backlog()
        self._transport: Any = None
        self._is_paused = False
        self._has_sent = False  # on a connection that has ended since
        self._stop_connecting: Cancel | None = None
        self._retry: Timer | None = None
        self._delay = 0.0
        self._next_try = 0.0
        self._connected_at = 0.0
        self._is_closed = False
        self._finished: Callable[[], None] | None = None

    def open(self) -> None:
        """Do nothing: a server that is not there yet may come."""

    def has_room(self, giver: Giver) -> bool:
        """True if something can be put there."""
        if self._backlog.has_room(giver):
            return True
        self.trouble = self.trouble or "it does not take messages fast enough"
        return False

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        """Take messages."""
        for entry in entries:
            self._backlog.add(giver, entry)
        self._send()

    def _send(self) -> None:
        if self._transport is None:
            self._begin()
            return
        while self._backlog and not self._is_paused:
            entry = bytes(self._backlog.oldest())
            self._transport.write(entry)  # which may pause us
            self._backlog.written(len(entry))
        if not self._backlog:
            self.trouble = ""
            if self._finished is not None:
                self._end()

    # The connection.

    def _begin(self) -> None:
        """Connect as soon as that is to be tried, unless it is under way."""
        is_idle = self._stop_connecting is None and self._retry is None
        if not is_idle or not self._backlog or self._is_closed:
            return
        wait = self._next_try - self._reactor.seconds()
        if wait > 0:
            self._retry = self._reactor.callLater(wait, self._try_again)
            return
        host, port = self._address.host, self._address.port
        looking = self._addresses.find(host, port, socket.SOCK_STREAM)
        self._stop_connecting = looking.cancel
        looking.addCallbacks(self._found, self._not_found)

    def _found(self, where: Sequence[Address]) -> None:
        [(_, address), *others] = where

        def failed(reason: str) -> None:
            if others and not self._is_closed:
                self._found(others)
            else:
                self._not_connected(reason)

        dialling = _Dialling(self, failed)
        host, port = address[:2]
        connector = self._reactor.connectTCP(
            host, port, dialling, timeout=LIMITS.syslog_connect_seconds
        )
        self._stop_connecting = connector.disconnect

    def _not_found(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._not_connected(why_not_found(failure))

    def _not_connected(self, reason: str) -> None:
        self._stop_connecting = None
        self.trouble = reason if self._backlog else ""
        self._delay = min(max(2 * self._delay, 1.0), LIMITS.syslog_retry_seconds_max)
        self._next_try = self._reactor.seconds() + self._delay
        self._begin()

    def _try_again(self) -> None:
        self._retry = None
        self._send()

    def connected(self, transport: Any) -> None:
        """There is a connection."""
        self._stop_connecting = None
        self._transport = transport
        self._is_paused = False
        self._connected_at = self._reactor.seconds()
        transport.registerProducer(self, True)
        if self._has_sent:
            transport.write(self._lost_connection())
        self._has_sent = True
        self._send()

    def disconnected(self, reason: str) -> None:
        """The connection has ended."""
        self._transport = None
        if self._finished is not None:
            self._tell_the_end()
        elif self._reactor.seconds() - self._connected_at > LIMITS.syslog_retry_seconds_max:
            self._delay = 0.0
            self._begin()
        else:
            self._not_connected(reason)

    def pauseProducing(self) -> None:
        """Give nothing to the connection that it cannot send now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._send()

    def stopProducing(self) -> None:
        """The connection is about to end."""
        self._is_paused = True

    # What others ask.

    def reopen(self) -> None:
        """Try at once."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._next_try = self._delay = 0.0
        self._send()

    def forget(self, giver: Giver) -> None:
        """Tell ``giver`` nothing more."""
        self._backlog.forget(giver)

    def finish(self, done: Callable[[], None]) -> None:
        """Call ``done`` once all is sent, at once if nothing can be."""
        self._finished = done
        if self._transport is None and (self.trouble or not self._backlog):
            self._tell_the_end()
        else:
            self._send()

    def _tell_the_end(self) -> None:
        done, self._finished = self._finished, None
        if done is not None:
            done()

    def _end(self) -> None:
        """End the connection when all is sent."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def close(self) -> None:
        """Send what there is if there is a connection, and let go of everything."""
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._transport is not None:
            self._send()
            self._end()
        self._backlog.drop_all()
        if self._stop_connecting is not None:
            self._stop_connecting()


class _Server(Protocol):
    """One connection; what the server says is not heard."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server

    def connectionMade(self) -> None:
        self._server.connected(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.disconnected("it has closed the connection")


class _Dialling(ClientFactory):
    """Connects, with neither name nor noise."""

    noisy = False

    def __init__(self, server: TcpServer, failed: Callable[[str], None]) -> None:
        self._server = server
        self._failed = failed

    def buildProtocol(self, address: Any) -> _Server:
        return _Server(self._server)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        error = reason.value
        number = error.osError if isinstance(error, ConnectError) else None
        self._failed(os.strerror(number) if isinstance(number, int) else "it does not answer")
