"""What has happened: numbered, the last of it remembered, and kept for the daemon after this one.

An event is in the file before anybody can ask for it. So the daemon after a death goes on with the next
number, and what is missing in between was lost for a reason that is told in the log.
"""

from __future__ import annotations

import os
import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from twisted.logger import Logger

from supervisortw.core import annals
from supervisortw.core.annals import Past, Senseless
from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.states import State
from supervisortw.daemon.events import StateChanged
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.daemon.keptlines import KeptLines
from supervisortw.errors import LocalError
from supervisortw.interfaces import Cancel, Clock

log = Logger(namespace="supervisor")

ROOM_FOR_ANSWER = 1024  # bytes of a page that are no events

_Entry = tuple[Happening, bytes]  # with the line about it


@dataclass(frozen=True, slots=True)
class LeftEvents:
    """What was left by the daemon before, and where; ``world`` is what pids and times belong to."""

    kept: KeptFile
    world: str
    past: Past


def events_left(directory: str, world: str) -> LeftEvents:
    """Return what is left in the state directory ``directory``; if it is nothing, an epoch begins.

    What is damaged is told in the log, and never keeps a daemon from starting.
    """

    def decode(data: bytes) -> Past | None:
        try:
            return annals.read(data, world)
        except Senseless as error:
            raise LocalError(str(error)) from None

    kept = KeptFile(os.path.join(directory, "events"), _most_bytes(LIMITS))
    past = kept.read(decode) or Past(epoch=secrets.token_hex(8))
    if past.damaged:
        lines = "1 line makes" if past.damaged == 1 else f"{past.damaged} lines make"
        log.error("{path} is damaged: {lines} no sense", path=kept.path, lines=lines)
    return LeftEvents(kept, world, past)


class History:
    """Remembers the last LIMITS.events of what happens, or fewer if their texts are long.

    It goes on with what was ``left``, and leaves that and more itself. ``now`` is the clock on the wall.
    """

    def __init__(
        self, clock: Clock, now: Callable[[], float], left: LeftEvents, limits: Limits = LIMITS
    ) -> None:
        past = left.past
        self._clock = clock
        self._now = now
        self._world = left.world
        self._limits = limits
        self._epoch = past.epoch
        self._next = past.next
        self._entries: deque[_Entry] = deque()  # with rising numbers
        self._bytes = 0
        self._watchers: list[Callable[[], None]] = []
        self._telling = False
        self._file = KeptLines(
            left.kept,
            self._whole,
            least=limits.events_bytes,
            growth=2,
            most=_most_bytes(limits),
            called="the file of events",
            without="if supervisord is killed now, it does not know what has happened",
        )
        for happening in past.events:
            self._remember(happening)

    # What happens.

    def changed(self, change: StateChanged) -> None:
        """Take note that a process went from one state to another."""
        self._add(
            Kind.STATE,
            change.detail,
            change.name,
            time=change.time,
            before=change.before,
            after=change.after,
            pid=change.pid,
        )

    def asked(self, user: str, verb: str, names: Sequence[str]) -> None:
        """Take note of what somebody asks for."""
        self._add(Kind.ASKED, f"{user} asks: {verb}", " ".join(names))

    def note(self, kind: Kind, text: str, name: str = "") -> None:
        """Take note of something else; ``name`` is that of the process, if it is about one."""
        self._add(kind, text, name)

    def _add(
        self,
        kind: Kind,
        text: str,
        name: str,
        *,
        time: float | None = None,
        before: State | None = None,
        after: State | None = None,
        pid: int = 0,
    ) -> None:
        happening = Happening(
            number=self._next,
            time=self._now() if time is None else time,
            kind=kind,
            name=_short(name),
            text=_short(text),
            before=before,
            after=after,
            pid=pid,
        )
        self._next += 1
        self._file.append(self._remember(happening))
        if self._watchers and not self._telling:
            self._telling = True
            self._clock.callLater(0, self._tell)

    def _remember(self, happening: Happening) -> bytes:
        """Return the line about it."""
        line = annals.line(happening)
        self._entries.append((happening, line))
        self._bytes += len(line)
        limits = self._limits
        while len(self._entries) > limits.events or self._bytes > limits.events_bytes:
            _, gone = self._entries.popleft()
            self._bytes -= len(gone)
        return line

    def _whole(self) -> bytes:
        opening = annals.opening(self._world, self._epoch, self._next)
        return b"".join([opening, *(line for _, line in self._entries)])

    def forget(self) -> None:
        """Leave nothing behind: the numbers begin anew with the next daemon."""
        self._file.remove()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # What is told of it.

    def answer(self, after: int, limit: int) -> EventsAnswer:
        """Return at most ``limit`` events after the number ``after``, and no more than fit into a page.

        They end where some are missing; with the number of the last one, the next answer tells of that.
        """
        index = bisect_right(self._entries, after, key=_number)
        most = min(limit, self._limits.events_at_once)
        entries = list(islice(self._entries, index, index + most))
        if index < len(self._entries):
            following = _number(self._entries[index])
        else:
            following = self._next
        lost = after + 1 < following
        return EventsAnswer(
            epoch=self._epoch,
            first=_number(self._entries[0]) if self._entries else self._next,
            last=self._next - 1,
            events=tuple(_without_holes(entries, following)),
            lost_from=after + 1 if lost else 0,
            lost_to=following - 1 if lost else 0,
        )

    def watch(self, told: Callable[[], None]) -> Cancel:
        """Call ``told`` in each turn of the reactor after one in which something has happened."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    def _tell(self) -> None:
        self._telling = False
        for told in list(self._watchers):
            try:
                told()
            except Exception:
                log.failure("somebody could not be told of events")


def _number(entry: _Entry) -> int:
    return entry[0].number


def _without_holes(entries: Sequence[_Entry], following: int) -> list[Happening]:
    """Return those of ``entries`` that follow on each other from ``following`` on, as a page has room."""
    events: list[Happening] = []
    room = LIMITS.page_bytes - ROOM_FOR_ANSWER
    for number, (happening, line) in enumerate(entries, following):
        room -= len(line)
        if happening.number != number or room < 0:
            break
        events.append(happening)
    return events


def _short(text: str) -> str:
    most = LIMITS.event_characters
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _most_bytes(limits: Limits) -> int:
    """Return how large the file may become: what is remembered, its opening, and as much again."""
    return 2 * (limits.events_bytes + ROOM_FOR_ANSWER)
