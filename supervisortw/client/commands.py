"""All commands of supervisorctl: the same at the prompt and on the command line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from supervisortw import __version__
from supervisortw.client import (
    daemons,
    events,
    explaining,
    logs,
    looking,
    passwd,
    simulate,
    steering,
)
from supervisortw.client.command import Command, Leave, UsageError, Words, none
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.render import columns
from supervisortw.core.selection import nearest
from supervisortw.core.text import one_line


async def run(desk: Desk, words: Sequence[str]) -> ExitCode:
    """Carry out one command; print what came of it, and return its exit code. May raise Leave."""
    name, *arguments = words
    found = TABLE.get(name)
    if found is None:
        near = nearest(name, TABLE)
        hint = f"did you mean {' or '.join(near)}?" if near else "'help' shows all commands"
        desk.complain(f"no such command: {one_line(name)}; {hint}")
        return ExitCode.USAGE
    try:
        return await found.run(desk, arguments)
    except UsageError as error:
        desk.complain(f"{error}\nusage: {found.usage}")
        return ExitCode.USAGE


async def _version(desk: Desk, words: Sequence[str]) -> ExitCode:
    none(words)
    desk.say([f"supervisorctl {__version__}"])
    answers, worst = await desk.each(lambda session: session.status(["up"]))
    for host, status in answers:
        desk.say([one_line(f"supervisord {status.version}")], host)
    return worst


async def _help(desk: Desk, words: Sequence[str]) -> ExitCode:
    if not words:
        desk.say(help_lines())
        return ExitCode.OK
    for word in words:
        if word not in TABLE:
            raise UsageError(f"no such command: {one_line(word)}")
        found = TABLE[word]
        details = textwrap.wrap(found.details, 78, break_on_hyphens=False)
        desk.say([found.usage, f"    {found.summary}", "", *details])
    return ExitCode.OK


def help_lines() -> list[str]:
    """Return a line for each command."""
    table = TABLE.values()
    return columns([each.usage for each in table], [each.summary for each in table])


async def _quit(desk: Desk, words: Sequence[str]) -> ExitCode:
    none(words)
    raise Leave


OWN = (
    Command(
        name="version",
        arguments="",
        summary="print the versions of client and daemons",
        details="Prints the version of supervisorctl, then that of each open daemon.",
        run=_version,
    ),
    Command(
        name="help",
        arguments="[COMMAND]",
        summary="show all commands, or one in detail",
        details="What you are reading.",
        words=Words.COMMANDS,
        run=_help,
    ),
    Command(
        name="quit",
        arguments="",
        summary="leave the prompt",
        details="Ctrl-D does the same. Programs and daemons are not touched.",
        run=_quit,
    ),
)

TABLE = {
    each.name: each
    for each in (
        *looking.COMMANDS,
        *explaining.COMMANDS,
        *steering.COMMANDS,
        *logs.COMMANDS,
        *events.COMMANDS,
        *daemons.COMMANDS,
        *simulate.COMMANDS,
        *passwd.COMMANDS,
        *OWN,
    )
}
