"""The client's side of the gate: what is said to a daemon before there is a broker."""

# The broker that is handed over to inherits from one without annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.errors import Denied, SupervisorError, TimedOut, Unreachable
from supervisortw.interfaces import Clock, Timer
from supervisortw.remote.frames import (
    ADMITTED,
    PEER,
    REFUSED,
    FrameError,
    FrameReader,
    fields,
    pack,
)
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import PeerOf, identified, peer_credentials


class ClientGate(Protocol):
    """The client's side of one connection to ``where``, which is how messages call the daemon.

    ``opened`` fires with a broker on which calls can be made, or fails with Denied, Unreachable or
    TimedOut. Nothing is sent to a server that runs as a user not among ``trusted_uids()``.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        broker: Callable[[], LimitedBroker],
        trusted_uids: Callable[[], Container[int]],
        where: str,
        peer_of: PeerOf = peer_credentials,
        limits: Limits = LIMITS,
    ) -> None:
        self.opened: Deferred[LimitedBroker] = Deferred(self._cancelled)
        self._clock = clock
        self._make_broker = broker
        self._trusted_uids = trusted_uids
        self._where = where
        self._peer_of = peer_of
        self._limits = limits
        self._reader = FrameReader(maximum=limits.gate_frame_bytes)
        self._timer: Timer | None = None
        self._broker: LimitedBroker | None = None
        self._over = False  # `opened` has its result
        self.transport: Any = None

    def connectionMade(self) -> None:
        """Look who listens; say hello to somebody trusted."""
        if self._over:
            self.transport.abortConnection()
            return
        peer = identified(self._peer_of(self.transport))
        if peer is None:
            reason = "the system does not say who listens there; nothing was sent"
            self._fail(Denied(f"{self._where}: {reason}"))
        elif peer.uid not in self._trusted_uids():
            reason = f"a process of another user (uid {peer.uid}) listens there; nothing was sent"
            self._fail(Denied(f"{self._where}: {reason}"))
        else:
            self._timer = self._clock.callLater(self._limits.answer_seconds, self._too_late)
            self.transport.write(pack([PEER]))

    def dataReceived(self, data: bytes) -> None:
        """Read the answer; what comes behind it is the broker's."""
        if self._broker is not None:
            self._broker.dataReceived(data)
        elif not self._over:
            try:
                for payload in self._reader.feed(data):
                    self._answered(fields(payload))
            except FrameError:
                self._not_ours()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits, here or at the broker."""
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.connectionLost(reason)
        if not self._over:
            self._settle()
            what = "the connection was closed before it was of use"
            self.opened.errback(Unreachable(f"{self._where}: {what}"))

    def not_connected(self, error: SupervisorError) -> None:
        """Tell whoever waits that there is no connection to be had, because of ``error``."""
        self._fail(error)

    def _answered(self, answer: list[bytes]) -> None:
        if answer == [ADMITTED]:
            self._hand_over()
        elif answer == [REFUSED]:
            self._fail(Denied(f"{self._where}: the daemon does not let this user in"))
        else:
            self._not_ours()

    def _hand_over(self) -> None:
        broker = self._broker = self._make_broker()
        broker.notifyOnConnect(self._ready)
        broker.makeConnection(self.transport)
        rest = self._reader.take_rest()
        if rest:
            broker.dataReceived(rest)

    def _ready(self) -> None:
        if not self._over and self._broker is not None:
            self._settle()
            self.opened.callback(self._broker)

    def _too_late(self) -> None:
        self._timer = None
        seconds = self._limits.answer_seconds
        self._fail(TimedOut(f"{self._where}: no answer in {seconds:g} seconds"))

    def _not_ours(self) -> None:
        self._fail(Unreachable(f"{self._where}: what listens there is no supervisord"))

    def _cancelled(self, opened: Deferred[LimitedBroker]) -> None:
        self._settle()
        if self.transport is not None:
            self.transport.abortConnection()

    def _fail(self, error: SupervisorError) -> None:
        if not self._over:
            self._settle()
            if self.transport is not None:
                self.transport.abortConnection()
            self.opened.errback(error)

    def _settle(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
