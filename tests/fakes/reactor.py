"""A reactor that does something when the test says so."""

from __future__ import annotations

import select

from fakes.readers import FakeReaders
from twisted.internet.interfaces import IWriteDescriptor
from twisted.internet.task import Clock


class FakeReactor(FakeReaders, Clock):
    """Holds readers, writers and calls that are due; its time goes on by ``advance``."""

    def __init__(self) -> None:
        FakeReaders.__init__(self)
        Clock.__init__(self)
        self.writers: list[IWriteDescriptor] = []

    def addWriter(self, writer: IWriteDescriptor) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def write(self) -> int:
        """Let each writer write once that can; return how many did."""
        if not self.writers:
            return 0
        by_number = {writer.fileno(): writer for writer in self.writers}
        _, writable, _ = select.select([], list(by_number), [], 0)
        for number in writable:
            by_number[number].doWrite()
        return len(writable)
