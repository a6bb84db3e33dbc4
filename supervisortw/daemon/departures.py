"""Noticing that processes are gone, children or not, or that it is time to look for them again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from itertools import islice

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.interfaces import Cancel, Clock

# Where a process cannot be watched, it is looked at again after this long, while a stop goes on.
LOOK_AGAIN_SECONDS = 0.2


class Departures:
    """Watches processes by pidfds, or where there are none, by the clock."""

    def __init__(self, clock: Clock, watcher: PidfdWatcher | None) -> None:
        self._clock = clock
        self._watcher = watcher

    def look_again(self, look: Callable[[], None]) -> Cancel:
        """Call ``look`` after LOOK_AGAIN_SECONDS."""
        return self._clock.callLater(LOOK_AGAIN_SECONDS, look).cancel

    def when_gone(self, pids: Collection[int], look: Callable[[], None]) -> Cancel:
        """Call ``look`` once, later, when it is worth looking whether somebody is left.

        That is when these processes are gone, or the first of very many; each may have made others
        meanwhile. The returned function must not be called after ``look`` was.
        """
        if self._watcher is None:
            return self.look_again(look)
        left: set[int] = set()
        cancels: list[Cancel] = []

        def gone(pid: int) -> None:
            left.discard(pid)
            if not left:
                look()

        try:
            for pid in islice(pids, LIMITS.watched_at_once):
                try:
                    cancels.append(self._watcher.watch(pid, partial(gone, pid)))
                except ProcessLookupError:
                    continue
                left.add(pid)
        except OSError:  # no descriptors left
            _call_all(cancels)
            return self.look_again(look)
        if not left:
            return self._clock.callLater(0, look).cancel
        return partial(_call_all, cancels)


def _call_all(cancels: list[Cancel]) -> None:
    for cancel in cancels:
        cancel()
