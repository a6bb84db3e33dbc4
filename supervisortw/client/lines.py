"""Commands as lines: what a pipe or a file sends, or a person at a terminal that can do no more."""

from __future__ import annotations

import shlex
import sys
import threading
from typing import Any

from twisted.internet.defer import Deferred

from supervisortw.client.command import Leave
from supervisortw.client.commands import run
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.interrupts import Interrupted, Interrupts


async def run_lines(desk: Desk, reactor: Any, prompt: str, interrupts: Interrupts) -> ExitCode:
    """Carry out the lines of standard input, one after the other; return the worst exit code."""

    async def confirm(question: str) -> bool:
        desk.write(f"{question} [y/N] ")
        answer = await _next_line(reactor)
        return answer.strip().lower() in ("y", "yes")

    if prompt:  # somebody is there to be asked
        desk.confirm = confirm
    worst = ExitCode.OK
    while True:
        desk.write(prompt)
        try:
            line = await interrupts.guard(_next_line(reactor))
            if not line:
                return worst
            worst = max(worst, await run_line(desk, line, interrupts))
        except Interrupted:
            return ExitCode.INTERRUPTED
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


async def _next_line(reactor: Any) -> str:
    """Read a line in a thread that nobody waits for at the end; empty at the end of the input."""
    line: Deferred[str] = Deferred()

    def read() -> None:
        text = sys.stdin.readline()
        reactor.callFromThread(_fire, line, text)

    threading.Thread(target=read, daemon=True).start()
    return await line


def _fire(line: Deferred[str], text: str) -> None:
    if not line.called:
        line.callback(text)
