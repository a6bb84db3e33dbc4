"""The client's side of the gate: what is said to a daemon before there is a broker."""

# The broker that is handed over to inherits from one without annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.srp import SrpError
from supervisortw.errors import SupervisorError, TimedOut, Unreachable
from supervisortw.interfaces import Clock, Timer
from supervisortw.remote.clientchannels import Channel
from supervisortw.remote.frames import FrameError, FrameReader, fields, pack
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.login import Login, by_peer


@implementer(IHandshakeListener)
class ClientGate(Protocol):
    """The client's side of one connection over ``channel``.

    ``opened`` fires with a broker on which calls can be made once ``login`` has had us let in, or fails
    with AuthError, Unreachable or TimedOut. Nothing is sent where the channel says so.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        broker: Callable[[], LimitedBroker],
        channel: Channel,
        login: Login = by_peer,
        limits: Limits = LIMITS,
    ) -> None:
        self.where = channel.where
        self.opened: Deferred[LimitedBroker] = Deferred(self._cancelled)
        self._clock = clock
        self._make_broker = broker
        self._channel = channel
        self._login = login
        self._limits = limits
        self._reader = FrameReader(expected=0, maximum=limits.gate_frame_bytes)
        self._asked: Deferred[list[bytes]] | None = None
        self._logging_in: Deferred[None] | None = None
        self._timer: Timer | None = None
        self._broker: LimitedBroker | None = None
        self._over = False  # `opened` has its result
        self.transport: Any = None

    # From the transport.

    def connectionMade(self) -> None:
        """Log in, or wait for the handshake first."""
        if self._over:
            self.transport.abortConnection()
            return
        self._start_timer()
        if not self._channel.shakes_hands:
            self._begin()

    def handshakeCompleted(self) -> None:
        """Log in."""
        if not self._over:
            self._begin()

    def dataReceived(self, data: bytes) -> None:
        """Read the answer; what comes behind the last is the broker's."""
        if self._broker is not None:
            self._broker.dataReceived(data)
        elif not self._over:
            try:
                for payload in self._reader.feed(data):
                    self._answered(fields(payload))
                self._bear_rest()
            except FrameError:
                self._not_ours()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits, here or at the broker."""
        broker, self._broker = self._broker, None
        self.transport = None
        if broker is not None:
            broker.connectionLost(reason)
        self._fail(self._channel.lost(reason))

    def not_connected(self, error: SupervisorError) -> None:
        """Tell whoever waits that there is no connection to be had, because of ``error``."""
        self._fail(error)

    # For the login.

    def ask(self, message: Sequence[bytes]) -> Deferred[list[bytes]]:
        """Send a frame with these fields; return those of the frame that answers it."""
        asked: Deferred[list[bytes]] = Deferred()
        self._asked = asked
        self._reader.expect()
        self._start_timer()
        self.transport.write(pack(message))
        return asked

    def _begin(self) -> None:
        try:
            binding = self._channel.binding(self.transport)
        except SupervisorError as error:
            self._fail(error)
            return
        self._logging_in = Deferred.fromCoroutine(self._login(self, binding))
        self._logging_in.addCallbacks(self._hand_over, self._not_let_in)
        if self._over:  # the connection was lost in the same moment
            self._settle()

    def _answered(self, answer: list[bytes]) -> None:
        self._stop_timer()
        asked, self._asked = self._asked, None
        assert asked is not None, "the reader gives what was asked for"
        asked.callback(answer)

    def _bear_rest(self) -> None:
        """Raise FrameError for bytes that come before they are asked for."""
        if self._asked is None and self._broker is None and self._reader.rest:
            raise FrameError("more than the answer")

    def _hand_over(self, _: None) -> None:
        if self._over:
            return
        self._start_timer()
        broker = self._broker = self._make_broker()
        broker.notifyOnConnect(self._ready)
        broker.makeConnection(self.transport)
        rest = self._reader.take_rest()
        if rest:
            broker.dataReceived(rest)

    def _not_let_in(self, failure: Failure) -> None:
        if self._over:
            return
        if failure.check(FrameError, SrpError):
            self._not_ours()
        elif isinstance(failure.value, SupervisorError):
            self._fail(failure.value)
        else:
            self._fail(failure)

    # The end.

    def _ready(self) -> None:
        if not self._over and self._broker is not None:
            self._settle()
            self.opened.callback(self._broker)

    def _not_ours(self) -> None:
        self._fail(Unreachable(f"{self.where}: what listens there is no supervisord"))

    def _cancelled(self, opened: Deferred[LimitedBroker]) -> None:
        self._settle()
        self._abort()

    def _fail(self, error: SupervisorError | Failure) -> None:
        if not self._over:
            self._settle()
            self._abort()
            self.opened.errback(error)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _settle(self) -> None:
        self._over = True
        self._stop_timer()
        logging_in, self._logging_in = self._logging_in, None
        if logging_in is not None:
            logging_in.cancel()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(self._limits.answer_seconds, self._too_late)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _too_late(self) -> None:
        self._timer = None
        seconds = self._limits.answer_seconds
        self._fail(TimedOut(f"{self.where}: no answer in {seconds:g} seconds"))
