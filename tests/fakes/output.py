"""An Output that keeps everything in memory."""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel


class FakeOutput:
    """Keeps what a test lets a program write; can be made to fail in every way there is."""

    def __init__(self, name: str = "", data: bytes = b"") -> None:
        self.name = name
        self.data = data
        self.closed = False
        self.reopened = 0
        self.drained = 0
        self.owners: list[int] = []
        self.writers: list[int] = []
        self.not_writable = ""
        self.not_kept = ""
        self.not_reopened = ""
        self.watchers: list[Callable[[], None]] = []

    def write(self, data: bytes) -> None:
        """Let the program write."""
        assert not self.closed
        self.data += data
        self._tell()

    def writer(self, owner: int) -> int:
        assert not self.closed
        self.owners.append(owner)
        if self.not_writable:
            raise SpawnError(f"log not writable: {self.not_writable}", permanent=True)
        descriptor = os.open(os.devnull, os.O_WRONLY)
        self.writers.append(descriptor)
        return descriptor

    def drain(self) -> None:
        assert not self.closed
        self.drained += 1

    def is_read(self) -> bool:
        return True

    def tail(self, lines: int) -> LogPiece:
        self._look()
        last = self.data.splitlines(keepends=True)[-lines:] if lines else []
        data = b"".join(last)
        return LogPiece(offset=len(self.data) - len(data), size=len(self.data), data=data)

    def read(self, offset: int, length: int) -> LogPiece:
        self._look()
        data = self.data[offset : offset + min(length, LIMITS.piece_bytes)]
        return LogPiece(offset=offset, size=len(self.data), data=data)

    def watch(self, grown: Callable[[], None]) -> Cancel:
        self._look()
        self.watchers.append(grown)
        return lambda: self.watchers.remove(grown)

    def clear(self) -> None:
        self._look()
        self.data = b""
        self._tell()

    def reopen(self) -> None:
        if self.not_reopened:
            raise LocalError(self.not_reopened)
        self.reopened += 1

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True

    def _look(self) -> None:
        if self.not_kept:
            raise Refused(self.not_kept)

    def _tell(self) -> None:
        for watcher in list(self.watchers):
            watcher()
