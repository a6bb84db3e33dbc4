"""How a process ended, and what it left behind, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.error import ProcessDone, ProcessTerminated

from supervisortw.core.signals import signal_name
from supervisortw.core.text import seconds
from supervisortw.interfaces import Ending, Escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and after how many seconds; neither code nor signal means unknown."""

    code: int | None
    signal: int | None
    core: bool
    uptime: float

    @classmethod
    def told_by(cls, reason: BaseException, uptime: float) -> Ended:
        """Return what the reason that Twisted gives a process protocol says."""
        if not isinstance(reason, (ProcessDone, ProcessTerminated)):
            return cls(code=None, signal=None, core=False, uptime=uptime)
        dumped = reason.status is not None and os.WCOREDUMP(reason.status)
        code = None if reason.signal is not None else reason.exitCode
        return cls(code=code, signal=reason.signal, core=dumped, uptime=uptime)

    @property
    def exit_code(self) -> int:
        """The code as a shell would tell it; 1 where it is unknown."""
        if self.code is not None:
            return self.code
        return 1 if self.signal is None else 128 + self.signal

    def __str__(self) -> str:
        after = f"after {seconds(self.uptime)}"
        if self.code is not None:
            return f"exited with code {self.code} {after}"
        if self.signal is not None:
            core = ", core dumped" if self.core else ""
            return f"ended by {signal_name(self.signal)}{core} {after}"
        return f"ended for an unknown reason {after}"


NAMED = 5  # of processes that have escaped; the rest is counted


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
