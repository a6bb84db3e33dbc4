"""Commands as lines: what a pipe or a file sends, or a person at a terminal that can do no more."""

from __future__ import annotations

import shlex

from twisted.internet.defer import CancelledError

from supervisortw.client.command import Leave
from supervisortw.client.commands import run
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.interrupts import Interrupted, Interrupts
from supervisortw.client.typed import StandardInput


async def run_lines(
    desk: Desk, typed: StandardInput, prompt: str, interrupts: Interrupts
) -> ExitCode:
    """Carry out the lines of standard input, one after the other; return the worst exit code."""

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
