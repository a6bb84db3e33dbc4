"""The commands that show logs, and follow them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred

from supervisortw.client.command import Command, UsageError, Words, some
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.render import LogWriter
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.core.text import one_line
from supervisortw.interfaces import Cancel
from supervisortw.remote.connection import Session

# What stands behind the name of a process in the name of its log.
_STREAMS = {"stdout": "", "stderr": "/stderr"}


async def _tail(desk: Desk, words: Sequence[str]) -> ExitCode:
    follow, lines, names = tail_arguments(words)
    if len(names) == 2 and names[1] in _STREAMS:
        names = [names[0] + _STREAMS[names[1]]]
    if len(names) != 1:
        raise UsageError("tail takes the name of one program, and perhaps stderr")
    return await _show_log(desk, names[0], lines, follow=follow)


async def _logtail(desk: Desk, words: Sequence[str]) -> ExitCode:
    counts = [word for word in words if _is_number(word)]
    others = [word for word in words if not _is_number(word)]
    follow, lines, names = tail_arguments([*others, *(f"-{count}" for count in counts[:1])])
    if names or len(counts) > 1:
        raise UsageError("logtail takes a number of lines")
    return await _show_log(desk, None, lines, follow=follow)


def tail_arguments(words: Sequence[str]) -> tuple[bool, int, list[str]]:
    """Return whether to follow, how many lines, and the names."""
    follow, lines, names = False, LIMITS.tail_lines, []
    for word in words:
        if word == "-f":
            follow = True
        elif word.startswith("-") and _is_number(word[1:]):
            lines = int(word[1:])
        elif word.startswith("-"):
            raise UsageError(f"unknown option: {one_line(word)}")
        else:
            names.append(word)
    return follow, lines, names


def _is_number(word: str) -> bool:
    """True for digits, and for no more of them than a request can carry."""
    return word.isascii() and word.isdigit() and len(word) < 19


async def _show_log(desk: Desk, name: str | None, lines: int, *, follow: bool) -> ExitCode:
    async def show(session: Session) -> Follow:
        piece = await session.tail(name, lines)
        shown = Follow(desk, session, name)
        shown.received(piece)
        await shown.catch_up(piece.size)
        if follow:
            await shown.go_on()
        return shown

    answers, worst = await desk.each(show)
    shown = [answer for _, answer in answers]
    if not follow or not shown:
        for one in shown:
            if one.ended.called:
                await one.ended  # raises what ended it
            one.writer.flush()
        return worst
    lost = await all_ended([one.ended for one in shown])
    for one in shown:
        one.stop()
    if not lost:
        desk.leave_echo()
    return max(worst, ExitCode.UNREACHABLE) if lost else worst


class Follow:
    """One log of one daemon, as it goes over the screen."""

    def __init__(self, desk: Desk, session: Session, name: str | None) -> None:
        self.ended: Deferred[None] = Deferred()
        mark = desk.mark(str(session.address))
        if mark and name is not None:
            mark = mark.replace(" | ", f":{name} | ")
        self.writer = LogWriter(desk.write, one_line(mark))
        self._desk = desk
        self._session = session
        self._name = name
        self._end = 0
        self._epoch = ""
        self._unfollow: Cancel | None = None

    def received(self, piece: LogPiece) -> None:
        """Show a piece; say so if something is missing before it."""
        if self._epoch not in {"", piece.epoch}:
            self._remark("-- another log begins here --")
        elif piece.offset > self._end and self._epoch:
            self._remark(f"-- {piece.offset - self._end} bytes of the log are gone --")
        self._epoch = piece.epoch
        self._end = piece.offset + len(piece.data)
        try:
            self.writer.feed(piece.data)
        except BrokenPipeError as error:  # whoever reads our output has seen enough
            if not self.ended.called:
                self.ended.errback(error)

    async def catch_up(self, size: int) -> None:
        """Show what is there up to position ``size``."""
        while self._end < size and not self.ended.called:
            piece = await self._session.read_log(self._name, self._end, LIMITS.piece_bytes)
            if not piece.data:
                return
            self.received(piece)

    def _remark(self, text: str) -> None:
        self.writer.flush()
        self._desk.complain(text)

    async def go_on(self) -> None:
        """Show what comes from now on."""
        self._session.on_lost(self._lost)
        self._unfollow = await self._session.follow(self._name, self._end, self.received)

    def stop(self) -> None:
        """Show nothing more."""
        self.writer.flush()
        if self._unfollow is not None:
            self._unfollow()

    def _lost(self) -> None:
        if not self.ended.called:
            self.ended.callback(None)


async def all_ended(ends: Sequence[Deferred[None]]) -> bool:
    """Wait until the connection to every followed daemon is lost; False if Ctrl-C came before."""
    try:
        for end in ends:
            await end
    except CancelledError:
        return False
    return True


async def _clear(desk: Desk, words: Sequence[str]) -> ExitCode:
    wanted = some(words, "clear")
    return await desk.steer(lambda session: session.clear(wanted))


COMMANDS = (
    Command(
        name="tail",
        arguments="[-f] [-N] NAME [stderr]",
        summary="show the last lines of a program's output",
        details=(
            "Shows the last N lines (15). With -f it goes on with what is written from now on, "
            "until Ctrl-C. With stderr it shows the log that a program with stderr-logfile has for "
            "its errors."
        ),
        words=Words.LOG,
        run=_tail,
    ),
    Command(
        name="logtail",
        arguments="[-f] [N]",
        summary="show the last lines of supervisord's own log",
        details=(
            "Shows the last N lines (15). With -f it goes on with what is written from now on, "
            "until Ctrl-C."
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
