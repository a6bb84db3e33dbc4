"""The commands that show logs, and follow them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import (
    Deferred,
)

from supervisortw.client.amount import Amount, is_number, log_arguments
from supervisortw.client.command import Command, UsageError, Words, some
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.following import Following, all_followed, side_by_side
from supervisortw.client.render import LogWriter
from supervisortw.client.shownlog import ShownLog
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import STDERR
from supervisortw.core.status import Outcome
from supervisortw.core.text import one_line
from supervisortw.errors import Refused, SupervisorError
from supervisortw.remote.connection import Session

Answer = TypeVar("Answer")

# What stands behind the name of a process in the name of its log.
_STREAMS = {"stdout": "", "stderr": STDERR}

Names = tuple[Sequence["str | None"], list[Outcome]]
Which = Callable[[Session], Coroutine[Deferred[Any], Any, Names]]


async def _tail(desk: Desk, words: Sequence[str]) -> ExitCode:
    follow, amount, names = log_arguments(words)
    stream = ""
    if len(names) > 1 and names[-1] in _STREAMS:
        stream = _STREAMS[names.pop()]
    if not names:
        raise UsageError("tail what? Name programs, and perhaps stderr")
    if len(names) == 1 and names[0] not in ("all", "up", "down") and ":*" not in names[0]:
        return await _show(desk, amount, partial(_one, names[0] + stream), follow=follow)
    return await _show(desk, amount, partial(_several, names, stream), follow=follow)


async def _logtail(desk: Desk, words: Sequence[str]) -> ExitCode:
    follow, amount, counts = log_arguments(words)
    if len(counts) > 1 or not all(map(is_number, counts)):
        raise UsageError("logtail takes a number of lines")
    for count in counts:
        amount = Amount(lines=int(count))
    return await _show(desk, amount, partial(_one, None), follow=follow)


async def _one(name: str | None, session: Session) -> Names:
    return [name], []


async def _several(words: Sequence[str], stream: str, session: Session) -> Names:
    """Return the logs of all processes that are meant, and an outcome for what means none."""
    status = await session.status(words)
    return [process.name + stream for process in status.programs], list(status.unknown)


async def _show(desk: Desk, amount: Amount, which: Which, *, follow: bool) -> ExitCode:
    answers, worst = await desk.each(which)
    worst = max(worst, desk.tell([(host, unknown) for host, (_, unknown) in answers]))
    shown = [(host, _shown(desk, host, names, amount)) for host, (names, _) in answers]
    if follow:
        return max(worst, await _follow(desk, shown))
    codes = await side_by_side([_show_once(desk, host, logs) for host, logs in shown])
    return max(worst, *codes, ExitCode.OK)


async def _follow(desk: Desk, shown: Sequence[tuple[str, Sequence[ShownLog]]]) -> ExitCode:
    worst = ExitCode.OK
    followed = []
    for host, logs in shown:
        if len(logs) <= LIMITS.subscriptions_per_session:
            followed.append(Following(desk, host, logs))
        else:
            most = f"at most {LIMITS.subscriptions_per_session} can be followed at a time"
            error = Refused(f"{len(logs)} logs are meant; {most}")
            worst = max(worst, desk.complain_of(error, host))
    return max(worst, await all_followed(desk, followed))


def _shown(
    desk: Desk, host: str, names: Sequence[str | None], amount: Amount
) -> Sequence[ShownLog]:
    """Return the logs of one daemon; each line of them says where it is from, if there are others."""
    shown = []
    for name in names:
        mark = desk.mark(host)
        if name is not None and (mark or len(names) > 1):
            mark = f"{mark.removesuffix(' | ')}:{name} | ".removeprefix(":")
        mark = one_line(mark)
        writer = LogWriter(desk.write, mark)
        shown.append(ShownLog(name, amount, writer, partial(_remark, desk, mark)))
    return shown


def _remark(desk: Desk, mark: str, text: str) -> None:
    desk.complain(mark + text)


async def _show_once(desk: Desk, host: str, logs: Sequence[ShownLog]) -> ExitCode:
    worst = ExitCode.OK
    try:
        session = await desk.hosts.session(host)
        for log in logs:
            try:
                await log.show(session)
            except Refused as error:
                worst = max(worst, desk.complain_of(error, host))
    except SupervisorError as error:
        worst = max(worst, desk.complain_of(error, host))
    return worst


async def _clear(desk: Desk, words: Sequence[str]) -> ExitCode:
    wanted = some(words, "clear")
    return await desk.steer(lambda session: session.clear(wanted))


COMMANDS = (
    Command(
        name="tail",
        arguments="[-f] [-n N] NAME ... [stderr]",
        summary="show the last lines of programs' output",
        details=(
            "Shows the last N lines (15), looked for in the last MiB of the log; -20 is the same as "
            "-n 20. With -c 500, 64K or 10M it shows so many bytes. With -f it goes on with what is "
            "written from now on, until Ctrl-C. If supervisord dies meanwhile, or is restarted, it "
            "reaches it again and goes on where it was, or says what of the log is gone. NAME may be a "
            "group; of several processes, each line says whose it is. With stderr it shows the logs "
            "that programs with stderr-logfile have for their errors."
        ),
        words=Words.LOGS,
        run=_tail,
    ),
    Command(
        name="logtail",
        arguments="[-f] [-n N]",
        summary="show the last lines of supervisord's own log",
        details=(
            "Shows the last N lines (15); -20 or 20 is the same as -n 20. With -c 500, 64K or 10M it "
            "shows so many bytes. With -f it goes on with what is written from now on, until Ctrl-C, "
            "as tail does."
        ),
        run=_logtail,
    ),
    Command(
        name="clear",
        arguments="NAME ...|all",
        summary="empty the logs of programs",
        details="The log file is truncated in place.",
        words=Words.PROGRAMS,
        run=_clear,
    ),
)
