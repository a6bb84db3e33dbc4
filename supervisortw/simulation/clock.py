"""Time that passes only where something is due."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

# Times are multiples of a microsecond or so, a power of 2: what happens 3 seconds after a start has then
# lasted for 3 seconds exactly, and not for 2.9999999999999996, which a policy could tell from 3.
TICKS = 2**20


class Call:
    """A call that is due later."""

    def __init__(self, callable: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self._callable: Callable[..., object] | None = callable
        self._arguments = arguments

    @property
    def is_due(self) -> bool:
        """True until it was made or cancelled."""
        return self._callable is not None

    def cancel(self) -> None:
        """Forget the call; nothing happens if it was made already."""
        self._callable = None

    def make(self) -> None:
        """Make the call."""
        callable, self._callable = self._callable, None
        if callable is not None:
            callable(*self._arguments)


class SimulatedClock:
    """A `Clock` that begins at 0, and goes from one call that is due to the next.

    Calls that are due at the same time are made in the order in which they were asked for.
    ``calls`` counts those that were made.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._now = 0.0
        self._asked = 0
        self._heap: list[tuple[float, int, Call]] = []

    def seconds(self) -> float:
        """Return the time now."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Call:
        """Call ``callable(*args)`` after ``delay`` seconds."""
        call = Call(callable, args)
        self._asked += 1
        at = self._now + round(delay * TICKS) / TICKS
        heappush(self._heap, (at, self._asked, call))
        return call

    def next_due(self) -> float | None:
        """Return when something is due next; None if nothing is."""
        while self._heap and not self._heap[0][2].is_due:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Go to what is due next, and make that one call. Something must be due."""
        self._now, _, call = heappop(self._heap)
        self.calls += 1
        call.make()

    def go_to(self, at: float) -> None:
        """Let time pass in which nothing is due."""
        self._now = max(self._now, at)
