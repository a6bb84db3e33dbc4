"""How long a session may last, and how long it may be idle."""

from __future__ import annotations

from collections.abc import Callable

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.interfaces import Clock, Timer


class Lifetime:
    """Calls ``end`` with the reason when a session has been idle for too long, or open for too long.

    A session is not idle as long as ``is_following()``: somebody looks at what it pushes.
    """

    def __init__(
        self,
        clock: Clock,
        is_following: Callable[[], bool],
        end: Callable[[str], object],
        limits: Limits = LIMITS,
    ) -> None:
        self._clock = clock
        self._is_following = is_following
        self._end = end
        self._limits = limits
        self._last = clock.seconds()
        self._idle: Timer | None = clock.callLater(limits.idle_seconds, self._look)
        self._whole: Timer | None = clock.callLater(limits.session_seconds, self._too_long)

    def touch(self) -> None:
        """The session is used."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """The session has ended."""
        for timer in (self._idle, self._whole):
            if timer is not None:
                timer.cancel()
        self._idle = self._whole = None

    def _look(self) -> None:
        """Look whether it was idle for all of the time since it was used last."""
        self._idle = None
        if self._is_following():
            self.touch()
        left = self._last + self._limits.idle_seconds - self._clock.seconds()
        if left > 0:
            self._idle = self._clock.callLater(left, self._look)
        else:
            self.stop()
            self._end(f"idle for {self._limits.idle_seconds / 60:g} minutes")

    def _too_long(self) -> None:
        self._whole = None
        self.stop()
        self._end(f"open for {self._limits.session_seconds / 3600:g} hours")
