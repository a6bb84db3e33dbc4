"""Events that are remembered, and kept in memory for a later daemon."""

from __future__ import annotations

from twisted.internet.task import Clock

from supervisortw.core import annals
from supervisortw.core.annals import Past
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.daemon.history import History, LeftEvents
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.daemon.keptlines import KeptLines

EPOCH = "0123456789abcdef"
WORLD = "this boot"
WALL = 1_000_000_000.0  # what the clock on the wall shows at first


class FakeHistory(History):
    """Keeps its lines; ``left`` is what a later daemon finds."""

    def __init__(self, clock: Clock, past: Past | None = None, limits: Limits = LIMITS) -> None:
        kept = KeptFile("/nowhere/events", 1)
        left = LeftEvents(kept, WORLD, past or Past(epoch=EPOCH))
        super().__init__(clock, lambda: WALL + clock.seconds(), left, limits)
        self.file = self._file = LinesInMemory(self._whole())

    @property
    def left(self) -> Past:
        """What is left of it if the daemon is killed now."""
        past = annals.read(self.file.data, WORLD)
        assert past is not None
        return past


class LinesInMemory(KeptLines):
    """Adds lines to ``data``, and never writes it anew."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def append(self, line: bytes) -> None:
        self.data += line
