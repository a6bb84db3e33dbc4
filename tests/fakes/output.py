"""An Output that keeps everything in memory."""

from __future__ import annotations

import os
from collections.abc import Callable

from fakes.fakelog import FakeLog

from supervisortw.core.model import Keeping, Process
from supervisortw.core.status import LogPiece
from supervisortw.errors import LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel


class FakeOutput:
    """Keeps what a test lets a program write; can be made to fail in every way there is."""

    def __init__(self, name: str = "", data: bytes = b"") -> None:
        self.name = name
        self.log = FakeLog(data)
        self.keeping: Keeping | None = None
        self.closed = False
        self.reopened = 0
        self.drained = 0
        self.owners: list[int] = []
        self.writers: list[int] = []
        self.not_writable = ""
        self.not_kept = ""
        self.not_reopened = ""
        self.trouble = ""
        self.has_pipe = True  # of a former daemon, or of the first process

    @property
    def data(self) -> bytes:
        return self.log.data

    def write(self, data: bytes) -> None:
        """Let the program write."""
        assert not self.closed
        self.log.write(data)

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
        return self.has_pipe or bool(self.writers)

    def keep(self, process: Process) -> None:
        self.keeping = process.keeping

    def note(self) -> str:
        return self.trouble

    def tail(self, lines: int) -> LogPiece:
        self._look()
        return self.log.tail(lines)

    def read(self, offset: int, length: int) -> LogPiece:
        self._look()
        return self.log.read(offset, length)

    def watch(self, grown: Callable[[], None]) -> Cancel:
        self._look()
        return self.log.watch(grown)

    def clear(self) -> None:
        self._look()
        self.log.clear()

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
