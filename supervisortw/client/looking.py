"""The commands that look: how do the daemons and their programs stand?"""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.client.command import Command, UsageError, Words
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.explaining import JSON, print_status
from supervisortw.client.render import status_lines
from supervisortw.core.status import DaemonStatus
from supervisortw.core.text import one_line


async def _status(desk: Desk, words: Sequence[str]) -> ExitCode:
    if JSON in words:
        return await print_status(desk, [word for word in words if word != JSON])
    answers, worst = await desk.each(lambda session: session.status(words))
    for host, status in answers:
        if status.programs or not words:
            desk.say(status_lines(status), host)
    return max(worst, _tell_unknown(desk, answers))


async def _list(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) > 1 or (words and words[0] not in ("all", "up", "down")):
        raise UsageError("list takes one of all, up and down")
    answers, worst = await desk.each(lambda session: session.status(words))
    for host, status in answers:
        desk.say([one_line(program.name) for program in status.programs], host)
    return worst


async def _pid(desk: Desk, words: Sequence[str]) -> ExitCode:
    answers, worst = await desk.each(lambda session: session.status(words))
    for host, status in answers:
        pids = [program.pid for program in status.programs] if words else [status.pid]
        desk.say(map(str, pids), host)
        if 0 in pids:
            worst = max(worst, ExitCode.SOME_FAILED)
    return max(worst, _tell_unknown(desk, answers))


def _tell_unknown(desk: Desk, answers: Sequence[tuple[str, DaemonStatus]]) -> ExitCode:
    """Print the names that no daemon knows."""
    return desk.tell([(host, list(status.unknown)) for host, status in answers])


COMMANDS = (
    Command(
        name="status",
        arguments="[--json] [NAME ...]",
        summary="show the daemon and its programs",
        details=(
            "Without names, all programs are shown. FOR is how long the program has been in its "
            "state, or its process alive. NAME is a program, one process, a group, GROUP:*, or one of "
            "the words all, up and down. --json prints one JSON document about all open daemons, with "
            "all that 'why' knows of each program."
        ),
        words=Words.PROGRAMS,
        run=_status,
    ),
    Command(
        name="list",
        arguments="[all|up|down]",
        summary="list the names of the programs",
        details="Prints one name a line: of all programs, or of those that are up, or down.",
        words=Words.GROUPS,
        run=_list,
    ),
    Command(
        name="pid",
        arguments="[NAME ...]",
        summary="print the pid of the daemon, or of programs",
        details="A program that is down has the pid 0, and the exit code is then 1.",
        words=Words.PROGRAMS,
        run=_pid,
    ),
)
