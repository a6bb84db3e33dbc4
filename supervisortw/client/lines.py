"""Commands as lines: what a pipe or a file sends, or a person at a terminal that can do no more."""

from __future__ import annotations

import shlex
import sys
import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from supervisortw.client.command import Leave
from supervisortw.client.commands import run
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.interrupts import Interrupted, Interrupts


async def run_lines(desk: Desk, reactor: Any, prompt: str, interrupts: Interrupts) -> ExitCode:
    """Carry out the lines of standard input, one after the other; return the worst exit code."""

    typed = StandardInput(reactor)

    async def confirm(question: str) -> bool:
        desk.write(f"{question} [y/N] ")
        try:
            answer = await typed.next_line()
        except CancelledError:  # Ctrl-C
            desk.leave_echo()
            return False
        return answer.strip().lower() in ("y", "yes")

    if prompt:  # somebody is there to be asked
        desk.confirm = confirm
    worst = ExitCode.OK
    while True:
        desk.write(prompt)
        try:
            line = await interrupts.guard(typed.next_line())
            if not line:
                return worst
            worst = max(worst, await run_line(desk, line, interrupts))
        except Interrupted:
            if not prompt:
                return ExitCode.INTERRUPTED
            desk.leave_echo()  # the terminal has dropped what was typed
        except Leave:
            return worst


async def run_line(desk: Desk, line: str, interrupts: Interrupts) -> ExitCode:
    """Carry out one line; an empty one, or a comment, does nothing. May raise Leave."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        desk.complain(f"cannot read that line: {error}")
        return ExitCode.USAGE
    if not words:
        return ExitCode.OK
    try:
        return await interrupts.guard(run(desk, words))
    except Interrupted as interrupted:
        desk.complain(str(interrupted))
        return ExitCode.INTERRUPTED


class StandardInput:
    """The lines of standard input, each read in a thread that nobody waits for at the end.

    Whoever stops waiting for a line leaves it to the next one who does.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._reading = False
        self._wanted: Deferred[str] = Deferred()

    async def next_line(self) -> str:
        """Return the next line; an empty text at the end of the input."""
        wanted: Deferred[str] = Deferred()
        self._wanted = wanted
        if not self._reading:
            self._reading = True
            threading.Thread(target=self._read, daemon=True).start()
        return await wanted

    def _read(self) -> None:
        self._reactor.callFromThread(self._came, sys.stdin.readline())

    def _came(self, line: str) -> None:
        self._reading = False
        if not self._wanted.called:
            self._wanted.callback(line)
