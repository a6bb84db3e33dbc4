"""Telling what has happened once there is nothing more urgent to do.

Where hundreds of programs have died together, to bring them back goes before telling of it. Who can do
nothing for that, such as the log, hears of it when no more has happened for a turn of the reactor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.interfaces import Clock

log = Logger(namespace="supervisor")

News = TypeVar("News")


class Herald(Generic[News]):
    """Calls ``tell`` with all news, in the order in which they came, but later.

    They wait for LIMITS.telling_seconds at most, and no more than LIMITS.changes_untold wait. In each
    turn of the reactor as much is told as there is time for, within the context ``together()``.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[News], object],
        *,
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
        limits: Limits = LIMITS,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._together = together
        self._limits = limits
        self._untold: deque[News] = deque()
        self._came = 0
        self._due = False

    def take(self, news: News) -> None:
        """Tell of ``news`` as soon as may be."""
        self._untold.append(news)
        self._came += 1
        if len(self._untold) > self._limits.changes_untold:
            self._tell_next()
        if not self._due:
            self._due = True
            since = self._clock.seconds()
            self._clock.callLater(0, self._turn, self._came, since)

    def catch_up(self) -> None:
        """Tell of everything now, since there will be no other turn."""
        while self._untold:
            self._tell_next()

    def _tell_next(self) -> None:
        news = self._untold.popleft()
        try:
            self._tell(news)
        except Exception:  # the others are to be told all the same
            log.failure("telling of {news} came to nothing", news=news)

    def _turn(self, came: int, since: float) -> None:
        now = self._clock.seconds()
        try:
            if self._came == came or now - since >= self._limits.telling_seconds:
                with self._together():
                    while self._untold and self._clock.seconds() - now < self._limits.turn_seconds:
                        self._tell_next()
        finally:
            self._due = bool(self._untold)
            if self._due:
                self._clock.callLater(0, self._turn, self._came, since)
