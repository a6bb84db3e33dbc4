"""Why a process is in the state that it is in, as the end of a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.core.ended import Ended
from supervisortw.core.lifecycle import Life
from supervisortw.core.model import Process
from supervisortw.core.restart import too_many_restarts
from supervisortw.core.states import State
from supervisortw.core.text import seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is remembered of a process beside its life.

    ``before`` is the state before this one, ``last`` how its last process ended, ``spawn_error`` why
    the last start made none, and ``fault`` for what we end it ourselves.
    """

    before: State
    last: Ended | None
    alive: bool
    spawn_error: str = ""
    fault: str = ""


def detail(process: Process, life: Life, history: History) -> str:
    """Return why it is in that state; nothing where the state says it all."""
    if life.state in {State.STARTING, State.RUNNING}:
        return ""
    last = str(history.last) if history.last else "not started"
    if life.state is State.BACKOFF:
        again = f"next try in {round(life.delay, 1):g} s"
        return f"{history.spawn_error or history.fault or last + ', too quickly'}; {again}"
    if life.state is State.FATAL:
        if history.spawn_error:
            return history.spawn_error
        return f"given up after {_too_many(process, life)}; {history.fault or last}"
    if life.state is State.STOPPED:
        never_up = {State.BACKOFF, State.WAITING}
        return "stopped" if history.before in never_up else f"stopped; {last}"
    if life.state is State.STOPPING:
        if not history.alive:
            return f"{last}; ending what it left behind"
        return f"{history.fault}; ending it" if history.fault else "waiting for it to end"
    return last if life.state is State.EXITED else ""


def _too_many(process: Process, life: Life) -> str:
    if too_many_restarts(process, life.tally):
        return f"{process.restart_limit} restarts in {seconds(process.restart_period)}"
    count = life.tally.quick_deaths
    return "1 quick death" if count == 1 else f"{count} quick deaths"


def end_before(last: Ended) -> str:
    """Return how the process ended that another one has just followed on."""
    return f"the one before {last}"


def not_ready(uptime: float) -> str:
    """Return the fault of who did not say in time that it is ready."""
    return f"not ready after {seconds(uptime)}"


def silent(process: Process) -> str:
    """Return the fault of who gave no sign of life."""
    return f"silent for {seconds(process.watchdog_seconds)} (watchdog)"
