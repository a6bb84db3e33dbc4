"""How a process ended, and what it left behind, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twisted.internet.error import ProcessDone, ProcessTerminated

from supervisortw.core.ended import Ended
from supervisortw.interfaces import Ending, Escaped

NAMED = 5  # of processes that have escaped; the rest is counted


def ended_by(reason: BaseException, uptime: float) -> Ended:
    """Return what the reason says that Twisted gives a process protocol at the end."""
    if not isinstance(reason, (ProcessDone, ProcessTerminated)):
        return Ended(code=None, signal=None, core=False, uptime=uptime)
    dumped = reason.status is not None and os.WCOREDUMP(reason.status)
    code = None if reason.signal is not None else reason.exitCode
    return Ended(code=code, signal=reason.signal, core=dumped, uptime=uptime)


def told_escaped(escaped: Sequence[Escaped]) -> list[str]:
    """Return what an operator should know of processes that have left a program's session."""
    if not escaped:
        return []
    return [f"{_count(escaped)} left its session: {_named(escaped)} (stop --all-of-it ends them)"]


def told_ending(ending: Ending) -> list[str]:
    """Return what came of ending processes that had left a program's session."""
    told = []
    if ending.ended:
        told.append(f"ended {_count(ending.ended)} that left its session: {_named(ending.ended)}")
    for each in ending.left[:NAMED]:
        told.append(f"{each.escaped.pid} ({each.escaped.command}) is still there: {each.reason}")
    return told


def _count(processes: Sequence[Escaped]) -> str:
    return "1 process" if len(processes) == 1 else f"{len(processes)} processes"


def _named(processes: Sequence[Escaped]) -> str:
    named = ", ".join(f"{each.pid} ({each.command})" for each in processes[:NAMED])
    return named + (f" and {len(processes) - NAMED} more" if len(processes) > NAMED else "")
