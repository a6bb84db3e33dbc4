"""The files of a log that came before the present one, and what stands in them at which position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from supervisortw.core.anchor import Anchor
from supervisortw.daemon.logs.logdirectory import LogDirectory
from supervisortw.daemon.logs.rotation import older


@dataclass(frozen=True, slots=True)
class Generation:
    """One file, open, whose ``size`` bytes begin at position ``start``."""

    start: int
    size: int
    file: int

    @property
    def end(self) -> int:
        """The position behind its last byte."""
        return self.start + self.size

    def read(self, offset: int, length: int) -> bytes:
        """Return what is between two positions, as far as it is in this file. Raises OSError."""
        begin = max(offset, self.start)
        length = min(offset + length, self.end) - begin
        return os.pread(self.file, length, begin - self.start) if length > 0 else b""

    def close(self) -> None:
        """Close the file."""
        os.close(self.file)


def begin_after(directory: LogDirectory, name: str, anchor: Anchor) -> int | None:
    """Return where the present file begins, if that of ``anchor`` is among the older ones."""
    since = 0
    for _, found in _older(directory, name):
        since += found.st_size
        if (found.st_dev, found.st_ino) == anchor.file:
            return anchor.start + since
    return None


def size_of_older(directory: LogDirectory, name: str) -> int:
    """Return how many bytes the older files have that can be read."""
    return sum(found.st_size for _, found in _older(directory, name))


def read_older(
    directory: LogDirectory, name: str, last: Generation | None, anchor: Anchor, want: range
) -> tuple[int, bytes]:
    """Return what older files have of the positions ``want``, and at which of them that begins.

    ``anchor`` is that of the present file, and ``last`` the file before if it is open. What comes first
    may be gone; what is between, is not. Raises LocalError and OSError.
    """
    parts: list[bytes] = []
    begin, is_last = anchor.start, -1
    if last is not None and last.end == anchor.start:
        begin, is_last = last.start, os.fstat(last.file).st_ino
        parts.append(last.read(want.start, len(want)))
    for entry, found in _older(directory, name):
        if begin <= max(want.start, anchor.floor):
            break
        if found.st_ino == is_last:
            continue
        begin -= found.st_size
        if begin < want.stop:
            parts.append(_read(directory, entry, Generation(begin, found.st_size, -1), want))
    return max(begin, want.start), b"".join(reversed(parts))


def _read(directory: LogDirectory, entry: str, where: Generation, want: range) -> bytes:
    generation = Generation(where.start, where.size, directory.open(entry, os.O_RDONLY, 0))
    try:
        return generation.read(want.start, len(want))
    finally:
        generation.close()


def _older(directory: LogDirectory, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """Give the older files, the youngest first, up to the first that is missing or compressed."""
    number = 1
    while (found := directory.stat(older(name, number))) is not None:
        yield older(name, number), found
        number += 1
