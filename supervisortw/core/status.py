"""What the daemon tells about itself and its programs: the records of every answer.

Each record turns into a dictionary of plain values for the wire and back (`to_plain`,
`from_plain`); a field that an older or newer peer does not know is left out, never guessed.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from supervisortw.core.ended import Ended
from supervisortw.core.exits import Exit, Oom
from supervisortw.core.states import State

Record = TypeVar("Record")


class Result(enum.Enum):
    """What came of one request for one program."""

    STARTED = "started"
    ALREADY_UP = "already up"
    STOPPED = "stopped"
    ALREADY_DOWN = "already down"
    RESTARTED = "restarted"
    ENDED = "ended"  # it ran and ended as its configuration allows
    SIGNALLED = "signalled"
    CLEARED = "cleared"
    WRITTEN = "written"
    FAILED = "failed"
    SUPERSEDED = "superseded"  # somebody else asked for the contrary meanwhile
    UNKNOWN = "unknown"  # no program of that name


GOOD_RESULTS = frozenset(
    {
        Result.STARTED,
        Result.ALREADY_UP,
        Result.STOPPED,
        Result.ALREADY_DOWN,
        Result.RESTARTED,
        Result.ENDED,
        Result.SIGNALLED,
        Result.CLEARED,
        Result.WRITTEN,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request for one program; ``text`` is the rest of the sentence after the name."""

    name: str
    result: Result
    text: str

    @property
    def good(self) -> bool:
        """True if the program is now as it was asked to be."""
        return self.result in GOOD_RESULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStatus:
    """One process of a program as it stands now; ``name`` is its full name.

    ``pid`` is 0 when nothing runs. ``since`` is how many seconds the process has lived or, without one,
    the program has been in its state.
    ``restarts`` counts starts that nobody asked for. ``detail`` says why it is in that state.
    """

    name: str
    program: str
    group: str
    state: State
    wanted: bool
    pid: int
    since: float
    restarts: int
    detail: str

    @property
    def up(self) -> bool:
        """True if a process of the program is alive."""
        return self.pid != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon and the programs that were asked for; ``notes`` is what an operator should know."""

    version: str
    pid: int
    sockets: tuple[str, ...]
    source: str
    uptime: float
    shutting_down: bool
    notes: tuple[str, ...]
    programs: tuple[ProgramStatus, ...]
    unknown: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Bytes of a log from position ``offset`` on; ``size`` is the position where it ended then.

    Positions count all that was ever written to the log. What is at lower ones than where older files
    begin is gone. They can be compared as long as ``epoch`` is the same.
    """

    offset: int
    size: int
    data: bytes
    epoch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAnswer:
    """What `reload` did, or `reread` would do: one line for each change, and what came of it."""

    source: str
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()

    @property
    def changed(self) -> bool:
        """True if the file differs from what runs."""
        return bool(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsFor:
    """A process that another one waits for, and how it stands."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a process is as it is; ``cause`` is a whole sentence.

    ``waits_for`` are processes, of which each waits for the next one. ``next_try`` is in how many seconds
    it is started again, None if that is not a question of time. ``tries_left`` is after how many ends
    that are too quick it is given up, ``restarts_left`` how many restarts are allowed now; None means
    that there is no bound. ``exits`` are its last ends, the oldest first. ``log`` names the log that
    has its errors, and is empty if there is none.
    """

    status: ProgramStatus
    cause: str
    waits_for: tuple[WaitsFor, ...]
    next_try: float | None
    tries_left: int | None
    restarts_left: int | None
    exits: tuple[Exit, ...]
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What `why` answers."""

    programs: tuple[Why, ...]
    unknown: tuple[Outcome, ...] = ()


_PLAIN = frozenset({str, int, float, bool, type(None)})


def to_plain(record: object) -> Any:
    """Return ``record`` as dictionaries, lists, strings and numbers. Log data is not told this way."""
    kind = type(record)
    if kind in _PLAIN:  # most values are, of a hundred programs
        return record
    if isinstance(record, enum.Enum):
        return record.value
    if dataclasses.is_dataclass(kind):
        return {name: to_plain(getattr(record, name)) for name in _names_of(kind)}
    if isinstance(record, (tuple, list)):
        return [to_plain(item) for item in record]
    return record


@cache
def _names_of(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def from_plain(kind: type[Record], plain: Mapping[str, Any]) -> Record:
    """Return the record of type ``kind`` that ``plain`` tells of.

    Raises ValueError or TypeError if a value cannot be what the record says it is.
    """
    if not isinstance(plain, Mapping):
        raise TypeError(f"no {kind.__name__}")
    assert dataclasses.is_dataclass(kind)
    told = (field for field in dataclasses.fields(kind) if field.name in plain)
    return kind(**{field.name: _READERS[str(field.type)](plain[field.name]) for field in told})


def _exactly(kind: type[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"no {kind.__name__}: {value!r:.40}")
        return value

    return read


def _number(value: Any) -> float:
    return float(value) if type(value) is int else float(_exactly(float)(value))


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _all(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda value: tuple(map(read, _exactly(list)(value)))


# How each kind of field is read, by its annotation.
_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _exactly(str),
    "int": _exactly(int),
    "bool": _exactly(bool),
    "float": _number,
    "State": State,
    "Result": Result,
    "Oom": Oom,
    "int | None": _or_none(_exactly(int)),
    "float | None": _or_none(_number),
    "Ended": lambda value: from_plain(Ended, value),
    "ProgramStatus": lambda value: from_plain(ProgramStatus, value),
    "tuple[str, ...]": _all(_exactly(str)),
    "tuple[Outcome, ...]": _all(lambda value: from_plain(Outcome, value)),
    "tuple[ProgramStatus, ...]": _all(lambda value: from_plain(ProgramStatus, value)),
    "tuple[Exit, ...]": _all(lambda value: from_plain(Exit, value)),
    "tuple[WaitsFor, ...]": _all(lambda value: from_plain(WaitsFor, value)),
    "tuple[Why, ...]": _all(lambda value: from_plain(Why, value)),
}
