"""What must never be seen, however often daemon and holder are killed.

`Rules` is told what happens, in the order of time, and collects what must not be. It looks at nothing
itself. Times are seconds since the boot of the machine, as the kernel tells the births of processes.
"""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

REMEMBERED = 200  # deaths and requests
CODES = 20  # of each slot; so few that a wrong one is hardly among them
LATE = 3.0  # after which a daemon under load, or one that was just stopped, notes a birth
MORTAL_SECONDS = 10.0  # until who ends with the daemon must have done so
ROUNDED = 0.11  # `status` tells tenths, cut off

CODE = re.compile(r"exited with code (\d+) after")
UNKNOWN = "ended for an unknown reason"
# Of a slot that is wanted up; STOPPING while a tree is cleared away for the next start.
COMING = frozenset({"WAITING", "STARTING", "RUNNING", "BACKOFF", "STOPPING"})
STILL = frozenset({"STOPPED", "RUNNING", "BACKOFF", "EXITED"})


class Wish(enum.Enum):
    """What operators want of a slot; UNKNOWN while they are just asking, or were cut off."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One process slot, and what may happen to it.

    ``prints``: a write to a pipe that nobody holds any more may end it. ``mortal``: it ends with the
    daemon. ``once``: it is not started again when it has ended. ``renewed``: a reload or a scale may
    take it away and bring it back.
    """

    name: str
    prints: bool = False
    mortal: bool = False
    once: bool = False
    renewed: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Instance:
    """One process of a slot."""

    slot: str
    pid: int
    born: float

    def __str__(self) -> str:
        return f"{self.slot} (pid {self.pid}, born {self.born:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What `status` tells of a slot."""

    state: str
    pid: int
    uptime: float
    restarts: int
    detail: str


@dataclass(slots=True)
class Span:
    """A time that has begun, and may have ended."""

    begin: float
    end: float | None = None

    def meets(self, first: float, last: float) -> bool:
        """True if it has a moment in common with the time from ``first`` to ``last``."""
        return self.begin <= last and (self.end is None or self.end >= first)


@dataclass(slots=True)
class _Alive:
    instance: Instance
    first: float  # begin of the first sample that has it
    last: float  # begin of the latest one
    complained: bool = False


@dataclass(slots=True)
class _Past:
    """What is remembered of a slot."""

    slot: Slot
    wish: Wish
    pending: Wish = Wish.UNKNOWN
    since: float = 0.0  # when the wish was granted
    over: bool = False  # it has ended, and is not to be started again by itself
    alive: _Alive | None = None
    ended: Instance | None = None
    ended_at: float = 0.0  # end of the first sample without it
    ended_unsure: bool = False  # for anybody who has ended since things were settled
    asked: deque[Span] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    codes: dict[Instance, int] = field(default_factory=dict)
    told: Told | None = None


class Rules:
    """Collects in ``complaints`` what must not be."""

    def __init__(self, slots: Iterable[Slot], up: Collection[str]) -> None:
        """Take all slots there can ever be; ``up`` are those that are wanted up at first."""
        self.complaints: list[str] = []
        self.deaths = 0
        self.unknown_ends = 0
        self._slots = {
            slot.name: _Past(slot, Wish.UP if slot.name in up else Wish.DOWN) for slot in slots
        }
        self._killed: deque[Instance] = deque(maxlen=REMEMBERED)
        self._daemon_deaths: deque[float] = deque(maxlen=REMEMBERED)
        self._unguarded: deque[Span] = deque(maxlen=REMEMBERED)  # no holder
        self._deserted: deque[Span] = deque(maxlen=REMEMBERED)  # neither holder nor daemon
        self._refusals: list[tuple[float, str]] = []
        self._settled = 0.0

    def _complain(self, at: float, text: str) -> None:
        self.complaints.append(f"{at:.2f}: {text}")

    # What the test does.

    def kills(self, at: float, instance: Instance) -> None:
        """The test is about to kill a program."""
        self._killed.append(instance)

    def kills_daemon(self, at: float) -> None:
        """The test is about to kill the daemon; the holder, if there is one, starts another."""
        self._daemon_deaths.append(at)

    def kills_holder(self, at: float) -> None:
        """The test is about to kill the holder."""
        if not self._unguarded or self._unguarded[-1].end is not None:
            # What had ended before, and was not told yet, may be lost with it.
            self._unguarded.append(Span(self._settled))

    def deserts(self, at: float) -> None:
        """The test is about to kill the last of holder and daemon."""
        if not self._deserted or self._deserted[-1].end is not None:
            self._deserted.append(Span(at))

    def guarded(self, at: float, *, holder: bool) -> None:
        """A daemon is ready again, with or without a holder."""
        for spans in (self._deserted, self._unguarded if holder else ()):
            if spans and spans[-1].end is None:
                spans[-1].end = at

    # What operators do.

    def asked(self, at: float, wishes: Mapping[str, Wish]) -> None:
        """An operator is about to ask for this; nobody else asks for the same slots meanwhile."""
        for name, wish in wishes.items():
            past = self._slots[name]
            past.wish, past.pending, past.over = Wish.UNKNOWN, wish, False
            past.asked.append(Span(at))

    def answered(self, at: float, names: Iterable[str], *, done: bool) -> None:
        """The operator has the answer: it is as asked, or something went wrong."""
        for name in names:
            past = self._slots[name]
            if done and past.wish is Wish.UNKNOWN:
                past.wish, past.since = past.pending, at
                past.asked[-1].end = at

    def free(self) -> list[str]:
        """Return the slots of which nobody is asking for anything."""
        return [name for name, past in self._slots.items() if past.wish is not Wish.UNKNOWN]

    def wanted_up(self, name: str) -> bool:
        """True if it is certain that the slot is wanted up."""
        return self._slots[name].wish is Wish.UP

    def must_answer(self, name: str) -> bool:
        """True if a program that listens has to answer: its socket is the one that the daemon has."""
        past = self._slots[name]
        if past.wish is not Wish.UP or past.alive is None:
            return False
        return not any(
            span.meets(past.alive.instance.born, past.alive.last) for span in self._deserted
        )

    # What is seen.

    def seen(self, begin: float, end: float, living: Iterable[Instance]) -> None:
        """A look at all processes that took from ``begin`` to ``end``.

        What programs have written down before their end must have been told already. Two instances of
        one slot in one look have been alive at the same moment.
        """
        found: dict[str, list[Instance]] = {}
        for instance in living:
            found.setdefault(instance.slot, []).append(instance)
        for name, past in self._slots.items():
            here = sorted(found.get(name, ()), key=lambda each: each.born)
            if len(here) > 1:
                self._complain(end, f"alive at once: {', '.join(map(str, here))}")
            known = past.alive
            if known is not None and known.instance not in here:
                self._gone(past, known, end)
            for instance in here:
                self._here(past, instance, begin)
        self._judge_refusals(begin)

    def _here(self, past: _Past, instance: Instance, at: float) -> None:
        if past.alive is None or past.alive.instance != instance:
            if past.over:
                self._complain(at, f"{instance} was started, though it had ended for good")
            past.alive = _Alive(instance, at, at)
        past.alive.last = at
        wrong = self._why_wrong(past, instance, at)
        if wrong and not past.alive.complained:
            past.alive.complained = True
            self._complain(at, f"{instance} {wrong}")

    def _why_wrong(self, past: _Past, instance: Instance, at: float) -> str:
        if past.wish is Wish.DOWN and at > past.since:
            return f"is alive, though it was stopped at {past.since:.2f}"
        if past.slot.mortal:
            for death in self._daemon_deaths:
                if instance.born < death < at - MORTAL_SECONDS:
                    return f"has outlived the daemon that was killed at {death:.2f}"
        return ""

    def _gone(self, past: _Past, known: _Alive, at: float) -> None:
        instance = known.instance
        self.deaths += 1
        past.alive, past.ended, past.ended_at = None, instance, at
        past.ended_unsure = past.ended_unsure or self._is_unsure(instance, at)
        if past.slot.once and past.wish is Wish.UP:
            past.over = True
        if not self._is_explained(past, known, at):
            self._complain(at, f"{instance} has ended, and nobody has told it to")

    def _is_explained(self, past: _Past, known: _Alive, at: float) -> bool:
        instance = known.instance
        life = instance.born, at
        return (
            instance in past.codes
            or instance in self._killed
            or any(span.meets(known.last, at) for span in past.asked)
            # It may have been started between the note of the kill and the kill.
            or (past.slot.mortal and any(life[0] - 1 <= each <= at for each in self._daemon_deaths))
            or (past.slot.prints and any(span.meets(*life) for span in self._deserted))
        )

    def _is_unsure(self, instance: Instance, at: float) -> bool:
        """True if it can be that nobody has learnt how a process ended that has lived until then."""
        return any(span.meets(instance.born, at) for span in self._unguarded)

    def recorded(self, at: float, instance: Instance, words: list[str]) -> None:
        """A program has written something down."""
        past = self._slots[instance.slot]
        if words[0] == "exit":
            past.codes[instance] = int(words[1])
            while len(past.codes) > CODES:
                del past.codes[next(iter(past.codes))]
        elif words[0] == "double":
            self._complain(at, f"{instance} has met another one: {' '.join(words[1:])}")
        elif words[0] == "eof":
            if not any(span.meets(instance.born, at) for span in self._deserted):
                self._complain(at, f"the standard input of {instance} was closed")
        else:
            assert words[0] == "start", words

    def refused(self, at: float, name: str) -> None:
        """Somebody could not connect to the socket of a slot that has one."""
        if any(span.meets(at, at) for span in self._deserted):
            # Whether the program was up is known after the next look.
            self._refusals.append((at, name))
        else:
            self._complain_of_refusal(at, name)

    def _judge_refusals(self, begin: float) -> None:
        for at, name in [each for each in self._refusals if each[0] < begin]:
            self._refusals.remove((at, name))
            known = self._slots[name].alive
            if known is not None and known.first <= at:
                self._complain_of_refusal(at, name)

    def _complain_of_refusal(self, at: float, name: str) -> None:
        self._complain(at, f"the socket of {name} has refused a connection")

    # What is told.

    def told(self, begin: float, end: float, rows: Mapping[str, Told]) -> None:
        """`status` was asked at ``begin`` and had answered at ``end``; there was a look after that."""
        for name, past in self._slots.items():
            row = rows.get(name)
            if row is not None:
                self._check_process(past, row, begin, end)
                self._check_detail(past, row.detail, begin, end)
                self._check_before(past, row, end)
            past.told = row

    def _check_process(self, past: _Past, row: Told, begin: float, end: float) -> None:
        known = past.alive
        if known is None or known.first > begin:
            return  # it may have been another one
        instance = known.instance
        if row.pid != instance.pid:
            self._complain(end, f"status tells pid {row.pid} of {instance}")
        elif not begin - instance.born - LATE <= row.uptime <= end - instance.born + LATE:
            age = f"{begin - instance.born:.1f} s to {end - instance.born:.1f} s"
            self._complain(end, f"status tells {row.uptime:g} s of {instance}, which is {age} old")

    def _check_before(self, past: _Past, row: Told, at: float) -> None:
        before, name = past.told, past.slot.name
        if before is None:
            return
        same = row.pid == before.pid != 0
        if same and row.uptime < before.uptime - ROUNDED:
            text = f"uptime of {name} went back from {before.uptime:g} s to {row.uptime:g} s"
            self._complain(at, text)
        if row.restarts < before.restarts and (same or not past.slot.renewed):
            text = f"restarts of {name} went back from {before.restarts} to {row.restarts}"
            self._complain(at, text)

    def _check_detail(self, past: _Past, detail: str, begin: float, end: float) -> None:
        code = CODE.search(detail)
        if code is not None:
            self._check_code(past, int(code[1]), end, f"status tells {detail!r}")
            # Nobody of that slot has lived while the question was on its way.
            last = past.ended if past.alive is None and past.ended_at < begin else None
            if last is not None and past.codes.get(last, int(code[1])) != int(code[1]):
                text = f"status tells {detail!r}, but {last} wrote {past.codes[last]}"
                self._complain(end, text)
        elif UNKNOWN in detail:
            self._check_unknown(past, end, f"status tells {detail!r}")

    def logged(self, at: float, name: str, detail: str) -> None:
        """The log has a new line on a slot, with this at its end."""
        past = self._slots[name]
        code = CODE.search(detail)
        if code is not None:
            self._check_code(past, int(code[1]), at, f"the log tells {detail!r}")
        elif UNKNOWN in detail:
            self.unknown_ends += 1
            self._check_unknown(past, at, f"the log tells {detail!r}")

    def _check_code(self, past: _Past, code: int, at: float, what: str) -> None:
        if code not in past.codes.values():
            text = f"{what} of {past.slot.name}, which has never exited with that code"
            self._complain(at, text)

    def _check_unknown(self, past: _Past, at: float, what: str) -> None:
        last = past.ended
        # Up to now: a holder that has died since may have been the only one who knew how it ended.
        unsure = past.ended_unsure or (last is not None and self._is_unsure(last, at))
        if not unsure:
            self._complain(
                at, f"{what} of {past.slot.name}, though the holder was there all the time"
            )

    # When all is quiet.

    def awaited(self, since: float, rows: Mapping[str, Told]) -> list[str]:
        """Return what is not yet as it has to be in the end.

        Who is wanted up must have been seen after ``since``, and nobody of whom it is unknown may be
        on their way by the ``rows`` of a status.
        """
        late = []
        for name, past in self._slots.items():
            was_up = past.alive is not None or (past.ended is not None and past.ended_at > since)
            if past.wish is Wish.UP and not was_up and not past.slot.once:
                late.append(f"{name} is not up")
            row = rows.get(name)
            if past.wish is Wish.UNKNOWN and row is not None and row.state not in STILL:
                late.append(f"{name} is still {row.state}")
        return late

    def settled(self, at: float, rows: Mapping[str, Told]) -> None:
        """Nobody asks for anything, and a status that was asked after the last request tells this."""
        for name, past in self._slots.items():
            row = rows.get(name)
            state = "STOPPED" if row is None else row.state
            if past.wish is Wish.UNKNOWN:
                self._resolve(past, state, at)
            elif past.wish is Wish.DOWN and not self._is_down(past, state):
                self._complain(at, f"{name} was stopped, and is {state}")
            elif past.wish is Wish.UP and not self._is_coming(past, state):
                there = "not there any more" if row is None else state
                self._complain(at, f"{name} was started, and is {there}")
            past.ended_unsure = False
        self._settled = at

    def _is_coming(self, past: _Past, state: str) -> bool:
        return state in COMING or (past.slot.once and state == "EXITED")

    def _is_down(self, past: _Past, state: str) -> bool:
        # Who has ended for good and is stopped then stays EXITED.
        return state == "STOPPED" or (past.slot.once and state == "EXITED")

    def _resolve(self, past: _Past, state: str, at: float) -> None:
        past.wish = Wish.UP if self._is_coming(past, state) else Wish.DOWN
        past.over = past.slot.once and state == "EXITED"
        past.since = at
        for span in past.asked:
            if span.end is None:
                span.end = at
