"""Waits that end."""

from __future__ import annotations

import time


class TimedOut(Exception):
    """What was waited for did not happen in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"timed out after {seconds:g} s")


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return how many seconds are left. Raises TimedOut if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOut(self._seconds)
        return left
