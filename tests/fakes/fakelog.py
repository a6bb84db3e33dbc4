"""A log in memory, with positions as a real one has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.interfaces import Cancel


@dataclass
class FakeLog:
    """What was written, from position ``start`` on; what was before that is gone."""

    data: bytes = b""
    start: int = 0
    epoch: str = "e1"
    watchers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def write(self, data: bytes) -> None:
        self.data += data
        self.tell()

    def clear(self) -> None:
        self.start, self.data = self.end, b""
        self.tell()

    def become_another(self, epoch: str, data: bytes = b"") -> None:
        """Go on as a log that has nothing to do with this one."""
        self.epoch, self.start, self.data = epoch, 0, data
        self.tell()

    def tell(self) -> None:
        for watcher in list(self.watchers):
            watcher()

    def tail(self, lines: int) -> LogPiece:
        last = self.data.splitlines(keepends=True)[-lines:] if lines else []
        return self.read(self.end - len(b"".join(last)), LIMITS.piece_bytes)

    def read(self, offset: int, length: int) -> LogPiece:
        offset = max(self.start, min(offset, self.end))
        begin = offset - self.start
        data = self.data[begin : begin + min(length, LIMITS.piece_bytes)]
        return LogPiece(offset=offset, size=self.end, data=data, epoch=self.epoch)

    def watch(self, grown: Callable[[], None]) -> Cancel:
        self.watchers.append(grown)
        return lambda: self.watchers.remove(grown)
