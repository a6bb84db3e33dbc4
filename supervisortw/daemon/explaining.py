"""Why a process is as it is, from what its slot remembers and from those that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from supervisortw.core.exits import Exit
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, STDERR, Process
from supervisortw.core.status import WaitsFor, Why
from supervisortw.core.why import Known, why
from supervisortw.daemon.roster import Roster
from supervisortw.errors import Refused


def explain_all(
    roster: Roster, names: Sequence[str], exits: Callable[[str], Sequence[Exit]], now: float
) -> tuple[Why, ...]:
    """Return why each of these processes is as it is; ``exits(name)`` are the last ends of one.

    Raises Refused if they are too many.
    """
    if len(names) > LIMITS.explained_at_once:
        most = LIMITS.explained_at_once
        raise Refused(f"at most {most} processes can be explained at once, not {len(names)}")
    for name in names:
        roster[name].attend()  # how the last process has ended may not be written down yet
    return tuple(_explain(roster, name, exits(name), now) for name in names)


def _explain(roster: Roster, name: str, exits: Sequence[Exit], now: float) -> Why:
    process = roster[name]
    known = Known(
        status=process.status(),
        memory=process.memory,
        now=now,
        exits=exits,
        waits_for=tuple(_waits_for(roster, name)),
    )
    return why(process.program, known, _log_of_errors(process.program))


def _waits_for(roster: Roster, name: str) -> Iterator[WaitsFor]:
    """Give the process that this one waits for, then the one that that one waits for, and so on."""
    for _ in range(LIMITS.waits_told):
        name = roster[name].waits_for
        if name not in roster:
            return
        status = roster[name].status()
        yield WaitsFor(name=name, state=status.state, detail=status.detail)


def _log_of_errors(process: Process) -> str:
    """Return the name of the log that has what a process complains of, empty if it has none."""
    if process.stderr_logfile is not None and process.stderr_logfile != DISCARD:
        return process.name + STDERR
    return "" if process.logfile == DISCARD else process.name
