"""Telling what has happened once there is nothing more urgent to do.

Where hundreds of programs have died together, to bring them back goes before telling of it. Who only
reads what happens, such as the log, hears of it when no more has happened for a turn of the reactor.
"""

from __future__ import annotations

from collections import deque

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.interfaces import Clock


class Herald:
    """Hands changes on to the listeners of ``bus``, in the order in which they came, but later.

    They wait for LIMITS.telling_seconds at most, and no more than LIMITS.changes_untold wait. In each
    turn of the reactor as much is told as there is time for.
    """

    def __init__(self, clock: Clock, bus: EventBus, limits: Limits = LIMITS) -> None:
        self._clock = clock
        self._bus = bus
        self._limits = limits
        self._untold: deque[StateChanged] = deque()
        self._came = 0
        self._due = False

    def take(self, change: StateChanged) -> None:
        """Tell of ``change`` as soon as may be."""
        self._untold.append(change)
        self._came += 1
        if len(self._untold) > self._limits.changes_untold:
            self._bus.publish(self._untold.popleft())
        if not self._due:
            self._due = True
            since = self._clock.seconds()
            self._clock.callLater(0, self._turn, self._came, since)

    def catch_up(self) -> None:
        """Tell of everything now, since there will be no other turn."""
        while self._untold:
            self._bus.publish(self._untold.popleft())

    def _turn(self, came: int, since: float) -> None:
        now = self._clock.seconds()
        if self._came == came or now - since >= self._limits.telling_seconds:
            while self._untold and self._clock.seconds() - now < self._limits.turn_seconds:
                self._bus.publish(self._untold.popleft())
        self._due = bool(self._untold)
        if self._due:
            self._clock.callLater(0, self._turn, self._came, since)
