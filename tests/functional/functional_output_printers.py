"""Programs that print numbered lines, as the test sees them: how far they are, and their logs."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import functional_output_child
from functional_daemon import Daemon
from functional_output_book import Book, Piece
from functional_output_child import BEGUN, COUNTS_BYTES, DONE, FIELD, OBEYED, SIGNAL
from functional_processes import PATIENCE, wait_until

SLOW, QUICK = 20, 5
# What they print in a round makes a few files of each.
SIZES = {"slowly": "64KB", "quickly": "256KB"}
BACKUPS = 100  # more than there are in any round


class Printer:
    """One of them."""

    def __init__(self, daemon: Daemon, name: str, pace: str) -> None:
        self.name = name
        self.pace = pace
        self.pid = 0
        self.book = Book(name, 0)
        self.log = daemon.state / "log" / f"{name}.log"
        self.counts = daemon.place / "counts" / name
        self._told = 0  # how many signals it has been sent, its start included
        self._counts: mmap.mmap | None = None

    @property
    def is_slow(self) -> bool:
        """True if it prints all the time, and a signal makes it pause."""
        return self.pace == "slowly"

    def prepare(self) -> None:
        """Have a file of counts for the next process."""
        self._told = 1
        self.counts.write_bytes(bytes(COUNTS_BYTES))
        if self._counts is not None:
            self._counts.close()
        with open(self.counts, "r+b") as file:
            self._counts = mmap.mmap(file.fileno(), COUNTS_BYTES)

    def started(self, pid: int) -> None:
        """It runs with this number."""
        self.pid = pid
        self.book = Book(self.name, pid)

    def _count(self, field: int) -> int:
        assert self._counts is not None
        number: int = FIELD.unpack_from(self._counts, field)[0]
        return number

    @property
    def begun(self) -> int:
        """The last line that it has begun to print."""
        return self._count(BEGUN)

    @property
    def done(self) -> int:
        """The last line that it has printed."""
        return self._count(DONE)

    @property
    def has_obeyed(self) -> bool:
        """True if it has done what it was told."""
        return self._count(OBEYED) == self._told

    def tell(self) -> None:
        """Let it pause or go on, or print another burst."""
        self._told += 1
        os.kill(self.pid, SIGNAL)

    def in_the_pipe(self) -> int:
        """Return how many bytes nobody has taken out of its pipe yet."""
        pipe = os.open(f"/proc/{self.pid}/fd/1", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            answer = array.array("i", [0])
            fcntl.ioctl(pipe, termios.FIONREAD, answer)
        finally:
            os.close(pipe)
        return answer[0]

    # Its log.

    def files(self) -> list[Path]:
        """Return the files of its log, and what others have made of them."""
        return [
            path for path in self.log.parent.iterdir() if path.name.startswith(f"{self.log.name}")
        ]

    def pieces(self) -> list[Piece]:
        """Return what is in them."""
        found = []
        for path in self.files():
            number = path.name.removeprefix(f"{self.log.name}.")
            generation = int(number) if number.isdigit() else 0
            found.append(Piece(path.name, path.read_bytes(), generation))
        return found

    def complaints(self) -> list[str]:
        """Return what is wrong, while it is silent."""
        return self.book.complaints(self.pieces(), self.done)

    def remove_older(self) -> None:
        """Remove all files but the present one; nobody needs them any more."""
        for path in self.files():
            if path != self.log:
                path.unlink()

    def remove(self) -> None:
        """Remove the present file."""
        with contextlib.suppress(FileNotFoundError):
            self.log.unlink()

    def empty(self) -> None:
        """Empty the present file."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.log, 0)


class Printers:
    """All of them."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        slow = [Printer(daemon, f"slow{number}", "slowly") for number in range(SLOW)]
        quick = [Printer(daemon, f"quick{number}", "quickly") for number in range(QUICK)]
        self.slow: Sequence[Printer] = slow
        self.quick: Sequence[Printer] = quick
        self.all: Sequence[Printer] = [*slow, *quick]

    def configure(self) -> None:
        """Write the configuration."""
        source = Path(functional_output_child.__file__).read_text(encoding="utf-8")
        script = self._daemon.script("child.py", source)
        self._daemon.directory("counts")
        lines = []
        for one in self.all:
            lines += [
                f"<program {one.name}>",
                f"command {sys.executable} -I -S {script} {one.name} {one.counts} {one.pace}",
                f"logfile-size {SIZES[one.pace]}",
                f"logfile-backups {BACKUPS}",
                "auto-restart no",
                "</program>",
            ]
        self._daemon.write("\n".join(lines))

    def prepare(self) -> None:
        """Be ready for their start."""
        for one in self.all:
            one.prepare()

    def started(self) -> None:
        """Wait until they print."""
        self._wait_until_obeyed(self.all)
        rows = self._daemon.status().programs
        for one in self.all:
            assert rows[one.name].pid, rows[one.name]
            one.started(rows[one.name].pid)

    def burst(self) -> None:
        """Let those of the quick ones print that are done with what they were told."""
        for one in self.quick:
            if one.has_obeyed:
                one.tell()

    def go_on(self) -> None:
        """Let the slow ones print again."""
        for one in self.slow:
            one.tell()
        self._wait_until_obeyed(self.slow)

    def pause(self) -> None:
        """Wait until nobody prints any more, and all of it has been taken out of the pipes."""
        for one in self.slow:
            one.tell()
        self._wait_until_obeyed(self.all)
        wait_until(
            lambda: not any(one.in_the_pipe() for one in self.all),
            lambda: f"all is read: {[(o.name, o.in_the_pipe()) for o in self.all]}",
            4 * PATIENCE,
        )
        self._daemon.ask("pid")  # whoever has taken it has done with it before they answer

    def _wait_until_obeyed(self, printers: Sequence[Printer]) -> None:
        def late() -> list[str]:
            return [f"{one.name} at line {one.done}" for one in printers if not one.has_obeyed]

        wait_until(
            lambda: not late(), lambda: f"{late()}:\n{self._daemon.log_text()}", 4 * PATIENCE
        )
