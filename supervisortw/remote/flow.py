"""How fast a connection may go: the peer's calls, and what it has not taken of our output."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from supervisortw.interfaces import Clock, Timer

_SHORTEST_WAIT = 0.001  # seconds; a wait that rounding makes vanish would never end


class CallBucket:
    """So many calls a second, with ``burst`` saved up at most, or one second's worth."""

    def __init__(self, clock: Clock, per_second: float, burst: float | None = None) -> None:
        self._clock = clock
        self._rate = per_second
        self._most = self._tokens = per_second if burst is None else burst
        self._filled = clock.seconds()

    def wait(self) -> float:
        """Return how many seconds it is until the next call may be read; 0 means now."""
        now = self._clock.seconds()
        gained = max(0.0, now - self._filled) * self._rate
        self._tokens = min(self._most, self._tokens + gained)
        self._filled = now
        return 0.0 if self._tokens >= 1 else max((1 - self._tokens) / self._rate, _SHORTEST_WAIT)

    def take(self) -> None:
        """Count one call."""
        self._tokens -= 1


@implementer(IPushProducer)
class Outflow:
    """Learns from the transport that its buffer is full, and limits how long the peer may take.

    While ``full`` is true the peer is behind; ``drained`` is called when it has caught up, ``stuck``
    if it has not done so within ``seconds``.
    """

    def __init__(
        self,
        clock: Clock,
        seconds: float,
        drained: Callable[[], object],
        stuck: Callable[[], object],
    ) -> None:
        self.full = False
        self._clock = clock
        self._seconds = seconds
        self._drained = drained
        self._stuck = stuck
        self._timer: Timer | None = None

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.full = True
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._ring)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self.stopProducing()
        self._drained()

    def stopProducing(self) -> None:
        """Nothing is waited for any more: all went out, or the connection ends."""
        self.full = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._stuck()
