"""The command that shows what has happened, and goes on with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from twisted.internet.defer import CancelledError, Deferred

from supervisortw.client.amount import log_arguments
from supervisortw.client.command import Command, UsageError, Words
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.render import event_line, gap_lines
from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST
from supervisortw.core.status import Outcome
from supervisortw.interfaces import Cancel
from supervisortw.remote.connection import Session


async def _events(desk: Desk, words: Sequence[str]) -> ExitCode:
    follow, amount, names = log_arguments(words)
    if amount.size is not None:
        raise UsageError("events are counted: -n takes their number")

    async def show(session: Session) -> Showing:
        showing = Showing(desk, session)
        await showing.begin(names, amount.lines)
        if follow:
            await showing.go_on()
        return showing

    answers, worst = await desk.each(show)
    strange = desk.tell([(host, showing.unknown) for host, showing in answers])
    worst = max(worst, strange)
    ends = [showing.ended for _, showing in answers]
    try:
        if not follow or not ends or strange is not ExitCode.OK:
            for end in ends:
                if end.called:
                    await end  # raises what ended it
            return worst
        if await _all_ended(ends):
            return max(worst, ExitCode.UNREACHABLE)
    finally:
        for _, showing in answers:
            showing.stop()
    desk.leave_echo()
    return worst


class Showing:
    """What happens in one daemon, as it goes over the screen.

    ``unknown`` tells of names that no program has, and that nothing has happened to.
    """

    def __init__(self, desk: Desk, session: Session) -> None:
        self.ended: Deferred[None] = Deferred()
        self.unknown: list[Outcome] = []
        self._desk = desk
        self._session = session
        self._host = str(session.address)
        self._wanted: frozenset[str] | None = None
        self._after = 0
        self._unfollow: Cancel | None = None

    async def begin(self, names: Sequence[str], count: int) -> None:
        """Show the last ``count`` events, of what ``names`` mean if there are any."""
        newest = await self._session.events(LARGEST, 0)
        self._after = newest.first - 1
        if names:
            status = await self._session.status(names)
            self.unknown = list(status.unknown)
            self._wanted = frozenset([*names, *(each.name for each in status.programs), "all"])
        else:
            self._after = max(self._after, newest.last - count)
        seen: set[str] = set()
        chosen: deque[tuple[list[str], Happening]] = deque(maxlen=count)
        gaps: list[str] = []
        while self._after < newest.last:
            told = await self._session.events(self._after, LIMITS.events_at_once)
            if told.end <= self._after:
                break
            self._after = told.end
            gaps += gap_lines(told)
            for event in told.events:
                seen.add(event.name)
                if self._is_wanted(event):
                    chosen.append((gaps, event))
                    gaps = []
        self.unknown = [each for each in self.unknown if each.name not in seen]
        for before, event in chosen:
            self._show(before, [event])
        self._show(gaps, [])

    async def go_on(self) -> None:
        """Show what happens from now on."""
        self._session.on_lost(self._lost)
        self._unfollow = await self._session.follow_events(self._after, self._received)

    def stop(self) -> None:
        """Show nothing more."""
        if self._unfollow is not None:
            self._unfollow()

    def _received(self, told: EventsAnswer) -> None:
        self._after = told.end
        self._show(gap_lines(told), [event for event in told.events if self._is_wanted(event)])

    def _show(self, gaps: Iterable[str], events: Iterable[Happening]) -> None:
        for gap in gaps:
            self._desk.complain(self._desk.mark(self._host) + gap)
        try:
            self._desk.say(map(event_line, events), self._host)
        except BrokenPipeError as error:  # whoever reads our output has seen enough
            if not self.ended.called:
                self.ended.errback(error)

    def _is_wanted(self, event: Happening) -> bool:
        if self._wanted is None:
            return True
        names = event.name.split() if event.kind is Kind.ASKED else [event.name]
        return not self._wanted.isdisjoint(names)

    def _lost(self) -> None:
        if not self.ended.called:
            self.ended.callback(None)


async def _all_ended(ends: Sequence[Deferred[None]]) -> bool:
    """Wait until the connection to every followed daemon is lost; False if Ctrl-C came before."""
    try:
        for end in ends:
            await end
    except CancelledError:
        return False
    return True


COMMANDS = (
    Command(
        name="events",
        arguments="[-f] [-n N] [NAME ...]",
        summary="show what has happened",
        details=(
            "Shows the last N events (15), each with its time and number: changes of state, who has "
            "asked for what, reloads, and what became of supervisord itself. With names, only those of "
            "these programs, processes or groups. With -f it goes on with what happens from now on, "
            "until Ctrl-C. Says which numbers are not known any more."
        ),
        words=Words.PROGRAMS,
        run=_events,
    ),
)
