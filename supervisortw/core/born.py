"""When a process was started, which together with its pid makes it one and no other."""

from __future__ import annotations

from typing import NamedTuple

# A start is told in hundredths of a second, rounded down, and not by the very clock that we read.
MARGIN = 0.02


class Born(NamedTuple):
    """The time between which and which a process was started, in seconds of `proc.clock`.

    Nobody else can have had the same pid then: before, it was free, and it is not given away again while
    the process is there, or has not been reaped.
    """

    earliest: float
    latest: float

    def agrees_with(self, start: float | None) -> bool:
        """True if a process that was started then is the one; None means that there is none."""
        return start is not None and self.earliest - MARGIN <= start <= self.latest + MARGIN
