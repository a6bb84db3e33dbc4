"""The commands that open and close connections to daemons."""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.client.command import Command, UsageError, Words
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode, code_of
from supervisortw.core.text import one_line
from supervisortw.errors import ConfigError, SupervisorError
from supervisortw.remote.connection import Session


async def _open(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) != 1:
        raise UsageError("open takes one address")
    try:
        address = desk.parse_address(words[0])
    except ConfigError as error:
        raise UsageError("; ".join(problem.message for problem in error.problems)) from None
    if str(address) in desk.hosts.names:
        desk.say([f"{address} is open already"])
        return ExitCode.OK
    desk.begin_anew(address)
    try:
        session = await desk.hosts.open(address)
    except SupervisorError as error:
        desk.complain(str(error))
        return code_of(error)
    desk.say([greeting(session)])
    return ExitCode.OK


async def _close(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) > 1:
        raise UsageError("close takes one address")
    name = words[0] if words else next(reversed(desk.hosts.names), "")
    if name not in desk.hosts.names:
        is_open = ", ".join(desk.hosts.names) or "none"
        raise UsageError(f"not open: {one_line(name) or 'any daemon'}; open are: {is_open}")
    desk.hosts.close(name)
    desk.say([f"closed {name}"])
    return ExitCode.OK


def greeting(session: Session) -> str:
    """Return the line that says who answers there."""
    hello = session.hello
    return one_line(
        f"connected to supervisord {hello['version']}, pid {hello['pid']}, {session.address}"
    )


COMMANDS = (
    Command(
        name="open",
        arguments="ADDRESS",
        summary="connect to one more daemon",
        details=(
            "ADDRESS is the path of its control socket, or HOST:PORT. Commands go to all open "
            "daemons at once, and each line of an answer is marked with the daemon that it came from."
        ),
        run=_open,
    ),
    Command(
        name="close",
        arguments="[ADDRESS]",
        summary="leave a daemon",
        details="Without ADDRESS, the daemon that was opened last.",
        words=Words.HOSTS,
        run=_close,
    ),
)
