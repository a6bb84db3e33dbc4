"""How a process ended, and what it left behind, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twisted.internet.error import ProcessDone, ProcessTerminated

from supervisortw.core.ended import Ended
from supervisortw.core.model import StopScope
from supervisortw.interfaces import Ending, Escaped

_WHY_ALIVE = {StopScope.SESSION: "left its session", StopScope.LEADER: "outlived it"}
NAMED = 5  # of processes that have escaped; the rest is counted


def ended_by(reason: BaseException, uptime: float) -> Ended:
    """Return what the reason says that Twisted gives a process protocol at the end."""
    if not isinstance(reason, (ProcessDone, ProcessTerminated)):
        return Ended(code=None, signal=None, core=False, uptime=uptime)
    dumped = reason.status is not None and os.WCOREDUMP(reason.status)
    code = None if reason.signal is not None else reason.exitCode
    return Ended(code=code, signal=reason.signal, core=dumped, uptime=uptime)


def told_escaped(escaped: Sequence[Escaped], scope: StopScope) -> list[str]:
    """Return what an operator should know of processes that a stop of that scope has not ended."""
    if not escaped:
        return []
    who = f"{_count(escaped)} {_WHY_ALIVE[scope]}"
    return [f"{who}: {_named(escaped)} (stop --all-of-it ends them)"]


def told_ending(ending: Ending, scope: StopScope) -> list[str]:
    """Return what came of ending those that a stop of that scope had not ended."""
    told = []
    if ending.ended:
        who = f"{_count(ending.ended)} that {_WHY_ALIVE[scope]}"
        told.append(f"ended {who}: {_named(ending.ended)}")
    for each in ending.left[:NAMED]:
        told.append(f"{each.escaped.pid} ({each.escaped.command}) is still there: {each.reason}")
    return told


def _count(processes: Sequence[Escaped]) -> str:
    return "1 process" if len(processes) == 1 else f"{len(processes)} processes"


def _named(processes: Sequence[Escaped]) -> str:
    named = ", ".join(f"{each.pid} ({each.command})" for each in processes[:NAMED])
    return named + (f" and {len(processes) - NAMED} more" if len(processes) > NAMED else "")
