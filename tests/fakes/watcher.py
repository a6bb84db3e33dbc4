"""An ExitWatcher that looks when the test says so."""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisortw.interfaces import Cancel


class FakeWatcher:
    """Knows which children are watched; ``refuses`` is raised instead of watching one more."""

    def __init__(self) -> None:
        self.looks: dict[int, Callable[[], None]] = {}
        self.refuses: OSError | None = None

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        if self.refuses is not None:
            raise self.refuses
        self.looks[pid] = look
        return lambda: self.forget(pid)

    def forget(self, pid: int) -> None:
        del self.looks[pid]

    def wait(self, pid: int) -> None:
        """Wait until a child has ended, and look after it."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.looks[pid]()
