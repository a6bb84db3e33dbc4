"""Whether everything that a program has printed stands in the files of its log: once, whole, in order."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from functional_output_child import line

ENOUGH = 5  # complaints
SHOWN = 120  # bytes of what is not a line


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a log; the daemon's own older files have a ``generation``, 1 for the youngest."""

    name: str
    data: bytes
    generation: int = 0


@dataclass(slots=True)
class Book:
    """What a program has printed from line ``first`` on, and what of that may be missing."""

    name: str
    pid: int
    first: int = 1
    _forgiven: list[tuple[int, int]] = field(default_factory=list)

    def forgive(self, low: int, high: int) -> None:
        """These lines may be missing, by the will of somebody; a line beside them may be torn."""
        self._forgiven.append((low, high))

    def close(self, printed: int) -> None:
        """What was printed up to this line has been looked at, and is gone."""
        self.first = printed + 1
        self._forgiven.clear()

    def complaints(self, pieces: Sequence[Piece], printed: int) -> list[str]:
        """Return what is wrong if all lines up to ``printed`` have been printed, and nothing more."""
        pieces, found = self._in_order([piece for piece in pieces if piece.data])
        data = b"".join(piece.data for piece in pieces)
        numbers = range(self.first, printed + 1)
        if data != b"".join(line(self.name, self.pid, number) for number in numbers):
            for complaint in self._differences(data, _Places(pieces), printed):
                found.append(complaint)
                if len(found) == ENOUGH:
                    found.append("and so on")
                    break
        return [f"{self.name}: {complaint}" for complaint in found]

    # The order of the files.

    def _in_order(self, pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
        """Return the files as they were written, and what is wrong with each by itself."""
        found = [
            f"{piece.name} does not end with a line: {piece.data[-SHOWN:]!r}"
            for piece in pieces
            if piece.generation and not piece.data.endswith(b"\n")
        ]
        ordered = sorted(filter(self._has_a_number, pieces), key=self._first_number_in)
        for piece in pieces:
            if not self._has_a_number(piece):
                ordered.insert(self._place_of(piece.data, ordered), piece)
        numbered = [piece.generation for piece in ordered if piece.generation]
        if numbered != sorted(numbered, reverse=True):
            found.append(f"older files are not in order: {[piece.name for piece in ordered]}")
        return ordered, found

    def _has_a_number(self, piece: Piece) -> bool:
        return self._first_number_in(piece) > 0

    def _first_number_in(self, piece: Piece) -> int:
        """Return the number of the first whole line, or of the beginning of one, or nothing."""
        head = re.escape(f"{self.name} {self.pid} ".encode())
        found = re.search(rb"^%s(\d+) \.*\n" % head, piece.data, re.MULTILINE)
        found = found or re.search(rb"^%s(\d+) \.*\Z" % head, piece.data, re.MULTILINE)
        return int(found[1]) if found else 0

    def _place_of(self, part: bytes, ordered: Sequence[Piece]) -> int:
        """Return before which file a part of a line belongs: where it makes a line whole."""
        for index in range(len(ordered) + 1):
            before = ordered[index - 1].data.rpartition(b"\n")[2] if index else b""
            after = ordered[index].data if index < len(ordered) else b""
            if self._number_of(before + part + b"".join(after.partition(b"\n")[:2])) is not None:
                return index
        return 0

    # The lines.

    def _differences(self, data: bytes, places: _Places, printed: int) -> Iterator[str]:
        expected, torn, begin = self.first, "", 0
        for text in self._texts(data, places):
            where = places.of(begin)
            begin += len(text)
            number = self._number_of(text)
            if number is None:
                torn = torn or f"at {where} is no line: {_shown(text)}"
                continue
            if number < expected:
                yield f"at {where} line {number} comes again, or too late; expected {expected}"
            elif not self._may_be_missing(range(expected, number)) or (
                torn and number == expected and not self._is_beside_forgiven(number)
            ):
                yield self._missing(range(expected, number), f"before {where}", torn)
            torn = ""
            expected = max(expected, number + 1)
        if torn or not self._may_be_missing(range(expected, printed + 1)):
            yield self._missing(range(expected, printed + 1), "at the end", torn)

    def _texts(self, data: bytes, places: _Places) -> Iterator[bytes]:
        """Give each line; one that is none, in two where a file ends within it."""
        begin = 0
        for text in data.splitlines(keepends=True):
            end = begin + len(text)
            cut = places.last_begin(end) - begin
            if cut > 0 and self._number_of(text) is None:
                yield text[:cut]
                yield text[cut:]
            else:
                yield text
            begin = end

    def last_number_in(self, data: bytes) -> int | None:
        """Return the number of the last whole line."""
        for text in reversed(data.splitlines(keepends=True)):
            number = self._number_of(text)
            if number is not None:
                return number
        return None

    def _number_of(self, text: bytes) -> int | None:
        fields = text.split(b" ", 3)
        if len(fields) == 4 and fields[2].isdigit():
            number = int(fields[2])
            if text == line(self.name, self.pid, number):
                return number
        return None

    def _may_be_missing(self, numbers: range) -> bool:
        number = numbers.start
        while number < numbers.stop:
            ends = [high for low, high in self._forgiven if low <= number <= high]
            if not ends:
                return False
            number = max(ends) + 1
        return True

    def _is_beside_forgiven(self, number: int) -> bool:
        return any(low <= number <= high + 1 for low, high in self._forgiven)

    def _missing(self, numbers: range, where: str, torn: str) -> str:
        lost = f"lines {numbers.start} to {numbers.stop - 1} are missing {where}" if numbers else ""
        forgiven = f"; what may be missing: {self._forgiven}" if self._forgiven else ""
        return "; ".join(filter(None, (torn, lost))) + forgiven


class _Places:
    """Which byte is where in the files."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._names = [piece.name for piece in pieces]
        self._begins = list(accumulate((len(piece.data) for piece in pieces[:-1]), initial=0))

    def of(self, position: int) -> str:
        """Return the file and the offset in it."""
        index = bisect_right(self._begins, position) - 1
        return f"{self._names[index]}:{position - self._begins[index]}"

    def last_begin(self, end: int) -> int:
        """Return where the last file begins that begins before ``end``."""
        return self._begins[bisect_left(self._begins, end) - 1]


def _shown(text: bytes) -> str:
    nothing = len(text) - len(text.lstrip(b"\0"))
    if nothing:
        return f"{nothing} bytes 0, then {text[nothing:][:SHOWN]!r}"
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}... ({len(text)} bytes)"
