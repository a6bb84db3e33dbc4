"""A person at a terminal: types into a program, and reads what stands on the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator

from functional_daemon import Daemon, installed
from functional_processes import PATIENCE, wait_until

PROMPT = "supervisor>"
ROWS, COLUMNS = 60, 250

# A control sequence with its numbers and its letter; another escape; or a character.
_ITEM = re.compile(r"\x1b\[([?\d;]*)([@-~])|\x1b[()=>].?|([^\x1b])", re.DOTALL)


class Screen:
    """What a terminal shows, with all that has scrolled away: as much of one as our prompt uses."""

    def __init__(self) -> None:
        self.rows = [""]
        self.row = self.column = 0

    def show(self, text: str) -> list[str]:
        """Take output; return what the terminal answers to it."""
        answers = []
        for sequence in _ITEM.finditer(text):
            parameters, letter, character = sequence.groups()
            if character:
                self._put(character)
            elif letter == "n":
                top = max(0, len(self.rows) - ROWS)
                answers.append(f"\x1b[{self.row - top + 1};{self.column + 1}R")
            elif letter:
                self._steer(letter, parameters)
        return answers

    def _put(self, character: str) -> None:
        if character == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        elif character == "\r":
            self.column = 0
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character >= " ":
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _steer(self, letter: str, parameters: str) -> None:
        count = int(parameters) if parameters.isdigit() else 1
        if letter == "A":
            self.row = max(0, self.row - count)
        elif letter == "C":
            self.column += count
        elif letter == "D":
            self.column = max(0, self.column - count)
        elif letter in "JK":
            self.rows[self.row] = self.rows[self.row][: self.column]
            if letter == "J":
                del self.rows[self.row + 1 :]
        else:
            assert letter in "hlm", f"this screen does not know {letter!r}"


class Terminal:
    """The terminal of one process."""

    def __init__(self, controller: int, process: subprocess.Popen[bytes], kind: str) -> None:
        self.process = process
        self.kind = kind
        self.screen = Screen()
        self._controller = controller
        self._open = True
        self._begun = 0  # the row in which the current command stands

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._controller, keys.encode())

    def wait_for_prompt(self, seconds: float = PATIENCE) -> list[str]:
        """Wait until the next command can be typed; return what was shown since the last one."""

        def is_ready() -> bool:
            is_new = self.screen.row >= self._begun
            return is_new and self.line == PROMPT and self.screen.column == len(PROMPT) + 1

        self._wait_until(is_ready, seconds)
        shown = self.screen.rows[self._begun : self.screen.row]
        self._begun = self.screen.row + 1
        return [line.rstrip() for line in shown]

    def command(self, line: str) -> list[str]:
        """Type a line at the prompt; return the lines that are shown before the next prompt."""
        self.type(line)
        self.expect(f"{PROMPT} {line}".rstrip())
        self._begun = self.screen.row + 1
        self.type("\r")
        return self.wait_for_prompt()

    def expect(self, end: str, seconds: float = PATIENCE) -> None:
        """Wait until the line of the cursor ends so."""
        self._wait_until(lambda: self.line.endswith(end), seconds)

    def enter(self, text: str) -> None:
        """Type a line, and wait until the cursor has left it, or the program has ended."""
        row = self.screen.row
        self.type(f"{text}\r")
        self._wait_until(lambda: not self._open or self.screen.row > row)

    @property
    def line(self) -> str:
        """The line in which the cursor stands."""
        return self.screen.rows[self.screen.row].rstrip()

    def ends_with(self, code: int) -> list[str]:
        """Wait for the end of the program, which must have this exit code; return its last lines."""
        self._wait_until(lambda: not self._open)
        assert self.process.wait(PATIENCE) == code, self.screen.rows
        return [line.rstrip() for line in self.screen.rows[self._begun :]]

    def shows_what_is_typed(self) -> bool:
        """Tell whether the terminal is one for lines, as a shell expects it."""
        local = termios.tcgetattr(self._controller)[3]
        return bool(local & termios.ECHO and local & termios.ICANON)

    def look(self) -> str:
        """Return everything that is shown by now."""
        while self._open and select.select([self._controller], [], [], 0)[0]:
            self._read()
        return "\n".join(self.screen.rows)

    def _wait_until(self, look: Callable[[], bool], seconds: float = PATIENCE) -> None:
        def read_and_look() -> bool:
            self.look()
            return look()

        wait_until(read_and_look, lambda: f"the screen shows\n{self.look()}", seconds)

    def _read(self) -> None:
        try:
            data = os.read(self._controller, 65536)
        except OSError:  # the last one who had the terminal open is gone
            data = b""
        self._open = bool(data)
        for answer in self.screen.show(data.decode("utf-8", "replace")):
            self.type(answer)


@contextlib.contextmanager
def terminal(
    daemon: Daemon, kind: str, *words: str, program: str = "supervisorctl"
) -> Iterator[Terminal]:
    """Run a program with a terminal of its own, of ``kind`` (the variable TERM)."""
    controller, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        process = daemon.begin(
            [installed(program), *words],
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=daemon.environment_with(TERM=kind),
        )
        os.close(its_end)
        yield Terminal(controller, process, kind)
    finally:
        os.close(controller)
