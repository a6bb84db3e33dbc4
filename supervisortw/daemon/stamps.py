"""The time now, as it is written before lines."""

from __future__ import annotations

import time
from collections.abc import Callable

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Stamps:
    """Tells the time; hundreds of lines have the same second."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._local = self._old = self._utc = ""

    def local(self) -> str:
        """Return the local time, such as ``2026-11-27 21:40:01``."""
        self._look()
        return self._local

    def old(self) -> str:
        """Return the local time as RFC 3164 has it, such as ``Nov 27 21:40:01``."""
        self._look()
        return self._old

    def utc(self) -> str:
        """Return the time as RFC 3339 has it, such as ``2026-11-27T20:40:01.123Z``."""
        now = self._look()
        return f"{self._utc}.{int(now * 1000) % 1000:03}Z"

    def _look(self) -> float:
        now = self._now()
        if int(now) != self._second:
            self._second = int(now)
            local = time.localtime(now)
            self._local = time.strftime("%Y-%m-%d %H:%M:%S", local)
            self._old = time.strftime(
                f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2} %H:%M:%S", local
            )
            self._utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        return now
