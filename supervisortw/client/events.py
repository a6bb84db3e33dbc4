"""The command that shows what has happened, and goes on with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from supervisortw.client.amount import log_arguments
from supervisortw.client.command import Command, UsageError, Words
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.following import Following, all_followed
from supervisortw.client.render import event_line, gap_lines
from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST
from supervisortw.core.status import Outcome
from supervisortw.errors import Refused
from supervisortw.interfaces import Cancel
from supervisortw.remote.connection import Session

RESTARTED = "-- supervisord was restarted: its events are counted anew --"


async def _events(desk: Desk, words: Sequence[str]) -> ExitCode:
    follow, amount, names = log_arguments(words)
    if amount.size is not None:
        raise UsageError("events are counted: -n takes their number")

    async def find(session: Session) -> Showing:
        showing = Showing(desk, str(session.address))
        await showing.begin(session, names, amount.lines)
        return showing

    answers, worst = await desk.each(find)
    for _, showing in answers:
        showing.show_last()
    strange = desk.tell([(host, showing.unknown) for host, showing in answers])
    worst = max(worst, strange)
    if not follow or strange is not ExitCode.OK:
        return worst
    followings = [Following(desk, host, [showing]) for host, showing in answers]
    return max(worst, await all_followed(desk, followings))


class Showing:
    """What happens in one daemon, as it goes over the screen.

    ``unknown`` tells of names that no program has, and that nothing has happened to.
    """

    def __init__(self, desk: Desk, host: str) -> None:
        self.unknown: list[Outcome] = []
        self.refused: Callable[[Refused], None] = _nothing
        self.trouble: Callable[[OSError], None] = _nothing
        self._desk = desk
        self._session: Session | None = None
        self._host = host
        self._wanted: frozenset[str] | None = None
        self._epoch = ""
        self._after = 0
        self._last: list[tuple[list[str], list[Happening]]] = []
        self._unfollow: Cancel | None = None

    async def begin(self, session: Session, names: Sequence[str], count: int) -> None:
        """Find the last ``count`` events, of what ``names`` mean if there are any."""
        newest = await session.events(LARGEST, 0)
        self._after, self._epoch = newest.first - 1, newest.epoch
        if names:
            status = await session.status(names)
            self.unknown = list(status.unknown)
            self._wanted = frozenset([*names, *(each.name for each in status.programs), "all"])
        else:
            self._after = max(self._after, newest.last - count)
        seen: set[str] = set()
        chosen: deque[tuple[list[str], Happening]] = deque(maxlen=count)
        gaps: list[str] = []
        while self._after < newest.last:
            told = await session.events(self._after, LIMITS.events_at_once)
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
        self._last = [*((before, [event]) for before, event in chosen), (gaps, [])]

    def show_last(self) -> None:
        """Show what was found."""
        for gaps, events in self._last:
            self._show(gaps, events)

    async def go_on(self, session: Session) -> None:
        """Show what happens from now on, and what has happened since."""
        newest = await session.events(LARGEST, 0)
        if newest.epoch != self._epoch:
            self._after, self._epoch = 0, newest.epoch
            self._desk.complain(self._desk.mark(self._host) + RESTARTED)
        self._session = session
        received = partial(self._received, session)
        self._unfollow = await session.follow_events(self._after, received)

    def stop(self) -> None:
        """Show nothing more."""
        self._session = None
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def _received(self, session: Session, told: EventsAnswer) -> None:
        if session is not self._session:  # it was on its way when nobody wanted it any more
            return
        self._after = told.end
        try:
            self._show(gap_lines(told), [event for event in told.events if self._is_wanted(event)])
        except OSError as error:  # whoever reads our output has seen enough
            self.trouble(error)

    def _show(self, gaps: Iterable[str], events: Iterable[Happening]) -> None:
        for gap in gaps:
            self._desk.complain(self._desk.mark(self._host) + gap)
        self._desk.say(map(event_line, events), self._host)

    def _is_wanted(self, event: Happening) -> bool:
        if self._wanted is None:
            return True
        names = event.name.split() if event.kind is Kind.ASKED else [event.name]
        return not self._wanted.isdisjoint(names)


def _nothing(_: object) -> None:
    """Nobody listens."""


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
