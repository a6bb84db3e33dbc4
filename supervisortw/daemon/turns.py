"""Work that is done in small portions, so that the reactor stays responsive.

Thousands of processes may have to be signalled, or hundreds of sockets to be opened, at once. In each
turn of the reactor as much is done as fits into LIMITS.turn_seconds; the rest waits for the next turn.
Starts have `supervisortw.daemon.admission`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.interfaces import Cancel, Clock


class Turns:
    """Does things in the order in which they were asked for: at once if there is time, or else soon."""

    def __init__(self, clock: Clock, seconds: float = LIMITS.turn_seconds) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: deque[list[Callable[[], None]]] = deque()
        self._spent = 0.0
        self._next_turn_is_due = False

    def take(self, act: Callable[[], None]) -> Cancel:
        """Call ``act`` once, now or in one of the next turns, unless the returned function is called."""
        entry = [act]
        self._waiting.append(entry)
        if not self._next_turn_is_due:
            self._begin_turn()
        elif len(self._waiting) == 1:
            self._work()
        return entry.clear

    def _begin_turn(self) -> None:
        self._spent = 0.0
        self._next_turn_is_due = True
        self._clock.callLater(0, self._turn)
        self._work()

    def _turn(self) -> None:
        self._next_turn_is_due = False
        if self._waiting:
            self._begin_turn()

    def _work(self) -> None:
        while self._waiting and self._spent < self._seconds:
            began = self._clock.seconds()
            for act in self._waiting.popleft():
                act()
            self._spent += self._clock.seconds() - began
