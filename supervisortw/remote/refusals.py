"""What the log is told of those who were not let in: who they are cannot fill it."""

from __future__ import annotations

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.interfaces import Clock, Timer

log = Logger(namespace="supervisor")


class RefusalsTold:
    """Tells the log of refusals, one by one until there are many, and then their number."""

    def __init__(self, clock: Clock, limits: Limits = LIMITS) -> None:
        self._clock = clock
        self._limits = limits
        self._begin = float("-inf")
        self._count = 0
        self._timer: Timer | None = None

    def tell(self, who: str, why: str) -> None:
        """Tell of one refusal."""
        now = self._clock.seconds()
        if self._timer is None and now - self._begin >= self._limits.refusals_told_seconds:
            self._begin, self._count = now, 0
        self._count += 1
        if self._count <= self._limits.refusals_told_at_once:
            log.warn("{who} refused: {why}", who=who, why=why)
        elif self._timer is None:
            left = self._begin + self._limits.refusals_told_seconds - now
            self._timer = self._clock.callLater(left, self._tell_number)

    def _tell_number(self) -> None:
        self._timer = None
        more = self._count - self._limits.refusals_told_at_once
        self._begin, self._count = self._clock.seconds(), 0
        log.warn("{more} more were refused in the last minute", more=more)
