"""Asking the person at the terminal for a line, which may be hidden while it is typed."""

from __future__ import annotations

import contextlib
import sys
import termios
from collections.abc import Iterator

from twisted.internet.defer import Deferred

from supervisortw.client.interrupts import Interrupts
from supervisortw.client.typed import StandardInput

NOTHING_SENT = "interrupted; nothing was sent"


class AskingLines:
    """Asks on the error stream, and reads from standard input, which has to be a terminal."""

    def __init__(self, typed: StandardInput, interrupts: Interrupts) -> None:
        self._typed = typed
        self._interrupts = interrupts

    async def __call__(self, question: str, hidden: bool) -> str:
        """Return the line that was typed. Raises EOFError for Ctrl-D."""
        sys.stdout.flush()
        waiting = Deferred.fromCoroutine(self._typed.next_line())
        hiding = unseen(sys.stdin.fileno()) if hidden else contextlib.nullcontext()
        with self._interrupts.ending_with(waiting.cancel, NOTHING_SENT), hiding:
            _tell(question)
            line = await waiting
        if not line:
            raise EOFError
        return line.rstrip("\n")


@contextlib.contextmanager
def unseen(terminal: int) -> Iterator[None]:
    """Let ``terminal`` not show what is typed, while this lasts."""
    before = termios.tcgetattr(terminal)
    hiding = [*before]
    hiding[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, hiding)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        _tell("\n")  # that of whoever typed was not shown either


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
