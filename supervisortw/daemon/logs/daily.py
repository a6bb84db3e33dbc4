"""Things that are done each day at a time of the clock on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.interfaces import Clock, Timer


class Daily:
    """Calls functions each day at their times, which are minutes since midnight, local time.

    ``now()`` is the time of the wall clock. What was due while nobody was there is not made up for. A
    clock that is set is noticed within LIMITS.daily_seconds.
    """

    def __init__(self, clock: Clock, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now = now
        self._acts: dict[str, tuple[int, Callable[[], None]]] = {}
        self._due: dict[str, float] = {}
        self._timer: Timer | None = None

    def set(self, name: str, minute: int | None, act: Callable[[], None]) -> None:
        """Call ``act`` each day at ``minute``, or not at all; ``name`` stands for it."""
        if minute is None:
            self.forget(name)
        else:
            self._acts[name] = minute, act
            self._due[name] = next_time(self._now(), minute)
            self._arm()

    def forget(self, name: str) -> None:
        """Call nothing any more for ``name``."""
        if self._acts.pop(name, None) is not None:
            del self._due[name]
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            wait = min(max(0.0, min(self._due.values()) - self._now()), LIMITS.daily_seconds)
            self._timer = self._clock.callLater(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._now()
        for name, due in list(self._due.items()):
            minute, act = self._acts[name]
            self._due[name] = next_time(now, minute)
            if due <= now:
                act()
        self._arm()


def next_time(now: float, minute: int) -> float:
    """Return when it is next ``minute`` minutes after midnight, later than ``now``."""
    today = time.localtime(now)
    for days in (0, 1, 2):
        date = (today.tm_year, today.tm_mon, today.tm_mday + days)
        due = time.mktime((*date, minute // 60, minute % 60, 0, 0, 0, -1))
        if due > now:
            return due
    raise AssertionError("a day has no end")
