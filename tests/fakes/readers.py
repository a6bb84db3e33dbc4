"""The part of a reactor that reads descriptors: here, when the test says so."""

from __future__ import annotations

import select

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from zope.interface import implementer


@implementer(IReactorFDSet)
class FakeReaders:
    """Holds readers; `read` lets those that are readable read."""

    def __init__(self) -> None:
        self.readers: list[IReadDescriptor] = []

    def addReader(self, reader: IReadDescriptor) -> None:
        assert reader not in self.readers
        self.readers.append(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        return list(self.readers)

    def addWriter(self, writer: object) -> None:
        raise AssertionError("nothing is written by the reactor")

    def removeWriter(self, writer: object) -> None: ...

    def getWriters(self) -> list[object]:
        return []

    def removeAll(self) -> list[IReadDescriptor]:
        removed, self.readers = self.readers, []
        return removed

    def turn(self) -> int:
        """Let each reader read once that can; return how many did."""
        if not self.readers:
            return 0
        by_number = {reader.fileno(): reader for reader in self.readers}
        readable, _, _ = select.select(list(by_number), [], [], 0)
        for number in readable:
            by_number[number].doRead()
        return len(readable)

    def read(self) -> None:
        """Let readers read until nothing is left to be read."""
        while self.turn():
            pass
