"""A program that prints numbered lines, and counts them where a test sees it; itself run by the daemon.

    child.py NAME COUNTS slowly|quickly

It lives on SIGUSR1. Slowly: 500 lines a second, each with a call of its own; a SIGUSR1 makes it pause,
the next one go on. Quickly: at each SIGUSR1 some 4 MB of lines as fast as it can, in pieces that begin
and end anywhere. COUNTS is a file of three numbers: up to which line it has begun to print, up to which
it is done, and how many signals it has obeyed, the start being the first.

This is also a module of the tests, for `line`.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
from bisect import bisect_left, bisect_right

BURST_BYTES = 4_000_000
PAUSE_SECONDS = 0.002
MOST_DOTS = 150
PIECES = (20, 300, 4096, 65_536, 300_000)
FIELD = struct.Struct("=Q")
BEGUN, DONE, OBEYED = range(0, 3 * FIELD.size, FIELD.size)
COUNTS_BYTES = 3 * FIELD.size
SIGNAL = signal.SIGUSR1


def line(name: str, pid: int, number: int) -> bytes:
    """Return the line of this number; its length tells whether all of it is there."""
    return b"%s %d %d %s\n" % (name.encode(), pid, number, b"." * (number * 7919 % MOST_DOTS))


class Printer:
    """Prints, and counts."""

    def __init__(self, name: str, counts: str) -> None:
        self._name = name
        with open(counts, "r+b") as file:
            self._counts = mmap.mmap(file.fileno(), COUNTS_BYTES)
        self._obeyed = 0
        self.obeyed()

    def obeyed(self) -> None:
        """Count a signal as obeyed."""
        self._obeyed += 1
        self._count(OBEYED, self._obeyed)

    def _count(self, field: int, number: int) -> None:
        FIELD.pack_into(self._counts, field, number)

    def print_slowly(self) -> None:
        """Print line by line."""
        number = 0
        while True:
            number += 1
            text = line(self._name, os.getpid(), number)
            self._count(BEGUN, number)
            assert os.write(1, text) == len(text)  # that short, it is taken whole
            self._count(DONE, number)
            if signal.sigtimedwait([SIGNAL], PAUSE_SECONDS):
                self.obeyed()
                signal.sigwait([SIGNAL])
                self.obeyed()

    def print_quickly(self) -> None:
        """Print in bursts."""
        chance = random.Random(self._name)  # noqa: S311  # the same pieces every time
        first = 1
        while True:
            text, ends = self._burst(first)
            signal.sigwait([SIGNAL])
            printed = 0
            while printed < len(text):
                end = min(len(text), printed + chance.randint(1, chance.choice(PIECES)))
                self._count(BEGUN, first + bisect_left(ends, end))
                while printed < end:
                    printed += os.write(1, text[printed:end])
                self._count(DONE, first + bisect_right(ends, end) - 1)
            first += len(ends)
            self.obeyed()

    def _burst(self, first: int) -> tuple[memoryview, list[int]]:
        """Return the lines from ``first`` on, and where each of them ends."""
        text = bytearray()
        ends: list[int] = []
        while len(text) < BURST_BYTES:
            text += line(self._name, os.getpid(), first + len(ends))
            ends.append(len(text))
        return memoryview(bytes(text)), ends


def main() -> None:
    """Print for ever."""
    name, counts, pace = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGNAL])
    printer = Printer(name, counts)
    if pace == "slowly":
        printer.print_slowly()
    printer.print_quickly()


if __name__ == "__main__":
    main()
