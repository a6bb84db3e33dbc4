"""What happens in a daemon: numbered records, and the answer that tells of some of them.

Both turn into plain values and back, as the records of `supervisortw.core.status` do. What comes
from a file or a peer is checked.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST
from supervisortw.core.states import State

_LATEST = 253_402_000_000.0  # still in the year 9999: calendars go no further
_EPOCH_CHARACTERS = 64


class Kind(enum.Enum):
    """What kind of thing has happened."""

    STATE = "state"  # a process went from one state to another
    ASKED = "asked"  # somebody asked for something to be done
    RELOADED = "reloaded"  # a configuration came into force
    DAEMON = "daemon"  # it was started, or took over, or shuts down
    LOG = "log"  # output could not be written as it should be


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that has happened.

    ``number`` begins at 1, and ``time`` is in seconds since 1970, as the clock on the wall was. ``name``
    is that of the process; where somebody has asked for something, of what. ``before``, ``after`` and
    ``pid`` (0: none) tell of a change of state, and ``text`` why; otherwise it is what happened.
    """

    number: int
    time: float
    kind: Kind
    name: str = ""
    text: str = ""
    before: State | None = None
    after: State | None = None
    pid: int = 0

    @property
    def sentence(self) -> str:
        """What happened, for people. It may hold what a peer has written."""
        if self.before is not None and self.after is not None:
            return change(self.name, self.before, self.after, self.pid, self.text)
        if self.kind is Kind.ASKED:
            return f"{self.text} {self.name}".rstrip()
        return f"{self.name}: {self.text}" if self.name else self.text

    def to_plain(self) -> dict[str, object]:
        """Return what `from_plain` makes the same record of. What says nothing is left out."""
        plain: dict[str, object] = {
            "number": self.number,
            "time": self.time,
            "kind": self.kind.value,
        }
        if self.name:
            plain["name"] = self.name
        if self.text:
            plain["text"] = self.text
        if self.before is not None and self.after is not None:
            plain["before"] = self.before.value
            plain["after"] = self.after.value
        if self.pid:
            plain["pid"] = self.pid
        return plain

    @classmethod
    def from_plain(cls, plain: Any) -> Happening:
        """Return the record that ``plain`` tells of. Raises ValueError if it makes no sense."""
        told = _mapping(plain)
        return cls(
            number=_whole(told, "number", least=1),
            time=_time(told),
            kind=Kind(told.get("kind")),
            name=_text(told, "name", LIMITS.event_characters),
            text=_text(told, "text", LIMITS.event_characters),
            before=State(told["before"]) if "before" in told else None,
            after=State(told["after"]) if "after" in told else None,
            pid=_whole(told, "pid", default=0),
        )


def change(name: str, before: State, after: State, pid: int, detail: str) -> str:
    """Return how people are told that a process went from one state to another."""
    with_pid = f" (pid {pid})" if pid else ""
    why = f": {detail}" if detail else ""
    return f"{name}: {before.value} -> {after.value}{with_pid}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsAnswer:
    """Some of what has happened after a number that was asked for, without a hole in it.

    Numbers mean something within one ``epoch`` only: with another one, they have begun anew. All
    that is known lies from ``first`` to ``last``; if nothing is, ``first`` is one more than ``last``.
    ``events`` follow on the number that was asked for, or on ``lost_to``: then those from ``lost_from``
    to ``lost_to`` are not known, or not any more. Both are 0 otherwise.
    """

    epoch: str
    first: int
    last: int
    events: tuple[Happening, ...] = ()
    lost_from: int = 0
    lost_to: int = 0

    @property
    def end(self) -> int:
        """The number after which to go on; 0 if this tells of nothing."""
        return self.events[-1].number if self.events else self.lost_to

    def to_plain(self) -> dict[str, object]:
        """Return what `from_plain` makes the same answer of."""
        return {
            "epoch": self.epoch,
            "first": self.first,
            "last": self.last,
            "lost_from": self.lost_from,
            "lost_to": self.lost_to,
            "events": [event.to_plain() for event in self.events],
        }

    @classmethod
    def from_plain(cls, plain: Any) -> EventsAnswer:
        """Return the answer that ``plain`` tells of. Raises ValueError if it makes no sense."""
        told = _mapping(plain)
        events = told.get("events", [])
        if not isinstance(events, list) or len(events) > LIMITS.events:
            raise ValueError("no list of events")
        answer = cls(
            epoch=_text(told, "epoch", _EPOCH_CHARACTERS),
            first=_whole(told, "first", least=1),
            last=_whole(told, "last"),
            events=tuple(map(Happening.from_plain, events)),
            lost_from=_whole(told, "lost_from", default=0),
            lost_to=_whole(told, "lost_to", default=0),
        )
        if not answer._is_without_holes():
            raise ValueError("its numbers do not belong together")
        return answer

    def _is_without_holes(self) -> bool:
        if self.first > self.last + 1 or bool(self.lost_from) != bool(self.lost_to):
            return False
        if self.lost_from > self.lost_to or self.end > self.last:
            return False
        numbers = [event.number for event in self.events]
        if numbers and self.lost_to and numbers[0] != self.lost_to + 1:
            return False
        return not numbers or numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _mapping(plain: Any) -> Mapping[str, Any]:
    if not isinstance(plain, Mapping):
        raise ValueError("no object")  # noqa: TRY004  # it is what a value is, not what type
    return plain


def _whole(told: Mapping[str, Any], name: str, least: int = 0, default: int | None = None) -> int:
    value = told.get(name, default)
    if type(value) is not int or not least <= value <= LARGEST:
        raise ValueError(f"no sensible value of {name}")
    return value


def _time(told: Mapping[str, Any]) -> float:
    value = told.get("time")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= _LATEST:
        raise ValueError("no sensible time")
    return float(value)


def _text(told: Mapping[str, Any], name: str, longest: int) -> str:
    value = told.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"no sensible value of {name}")
    return value
