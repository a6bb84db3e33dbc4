"""Why a process is in the state that it is in: one sentence, which begins with its name."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from supervisortw.core.exits import NOT_READY, RELOAD, SHUTDOWN, WATCHDOG, Exit, is_right
from supervisortw.core.memory import Memory
from supervisortw.core.model import AutoRestart, Process
from supervisortw.core.restart import (
    MOST_DOUBLINGS,
    restarts_left,
    too_many_restarts,
    tries_left,
)
from supervisortw.core.signals import signal_name
from supervisortw.core.states import State
from supervisortw.core.status import ProgramStatus, WaitsFor, Why
from supervisortw.core.text import seconds

_ITSELF = frozenset({NOT_READY, WATCHDOG})  # supervisord has ended it, for a fault of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a process beside its definition; ``now`` is by the clock of ``memory``.

    ``exits`` are its last ends, the oldest first, and ``waits_for`` are processes, of which each waits
    for the next one.
    """

    status: ProgramStatus
    memory: Memory
    now: float
    exits: Sequence[Exit] = ()
    waits_for: Sequence[WaitsFor] = ()


def why(process: Process, known: Known, log: str) -> Why:
    """Return why a process is as it is; ``log`` has its errors."""
    memory = known.memory
    tally, up = memory.life.tally, memory.pid != 0
    waits = memory.life.state is State.BACKOFF
    return Why(
        status=known.status,
        cause=cause(process, known),
        waits_for=tuple(known.waits_for),
        next_try=max(0.0, memory.due - known.now) if waits else None,
        tries_left=tries_left(process, tally, known.now - memory.started if up else None),
        restarts_left=restarts_left(process, tally, known.now),
        exits=tuple(known.exits),
        log=log,
    )


def cause(process: Process, known: Known) -> str:
    """Return the sentence."""
    state = known.memory.life.state
    return f"{process.name} is {state.value}{_REASONS[state](process, known)}"


def roughly(duration: float) -> str:
    """Return a duration as people say it who do not look at the seconds."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration >= unit:
            return f"{int(duration / unit)} {name}"
    return seconds(duration)


def _running(process: Process, known: Known) -> str:
    says = f"; it says: {known.status.detail}" if known.status.detail else ""
    return f": up for {roughly(known.status.since)}{says}{_last_end(known)}"


def _starting(process: Process, known: Known) -> str:
    if not known.memory.life.spawned:
        return f": its process is being made{_last_end(known)}"
    left = seconds(max(0.0, known.memory.due - known.now))
    what = f"it has to say that it is ready, within {left}" if process.notify else f"up in {left}"
    says = f"; it says: {known.status.detail}" if known.status.detail else ""
    return f": {what}{says}{_last_end(known)}"


def _waiting(process: Process, known: Known) -> str:
    if not known.waits_for:
        return f" {known.status.detail.removeprefix('waiting ')}{_last_end(known)}"
    chain = "".join(f" for {each.name}, which is {each.state.value}" for each in known.waits_for)
    last = known.waits_for[-1]
    return f"{chain}: {last.detail}" if last.detail else chain


def _backoff(process: Process, known: Known) -> str:
    left = tries_left(process, known.memory.life.tally, None)
    again = f"next try in {seconds(max(0.0, known.memory.due - known.now))}"
    if left == 1:
        again += ", the last one"
    elif left is not None:
        again += f", and {left - 1} more after that"
    return f": {_failure(process, known)}; {again}"


def _fatal(process: Process, known: Known) -> str:
    tally, end = known.memory.life.tally, "it stays down until somebody starts it"
    if too_many_restarts(process, tally):
        most = f"{process.restart_limit} restarts in {seconds(process.restart_period)}"
        return f": more than {most}, and then {_end(known)}; {end}"
    return f": {_failure(process, known)}; {end}"


def _failure(process: Process, known: Known) -> str:
    """Return what has kept it from coming up, and how often in a row."""
    memory, count = known.memory, known.memory.life.tally.quick_deaths
    at_least = "at least " if process.forever and count == MOST_DOUBLINGS else ""
    often = f", {at_least}{count} times in a row" if count > 1 else ""
    if memory.spawn_error:
        return f"it could not be started{often}: {memory.spawn_error}"
    if memory.fault:
        return f"it was ended{often}: {memory.fault}"
    return f"{_end(known)}, too quickly{often}"


def _exited(process: Process, known: Known) -> str:
    ended = known.memory.last
    if process.auto_restart is AutoRestart.NEVER:
        rule = "auto-restart is false"
        if not is_right(process, ended.code if ended else None):
            rule = f"a failure, but {rule}"
    elif process.exit_codes:
        rule = "exit-codes has that code"
    else:
        rule = "auto-restart is unexpected"
    return f": {_end(known)}, {_ago(known)}; {rule}"


def _stopped(process: Process, known: Known) -> str:
    before = known.memory.before
    if before is None:
        return ": it was not started yet" + ("" if process.auto_start else " (auto-start is false)")
    stopped = f": {_who(known.memory.stopped_by)} stopped it {_ago(known)}"
    if before in {State.BACKOFF, State.WAITING}:
        return f"{stopped}, when it was {before.value}"
    return f"{stopped}; {_end(known)}"


def _stopping(process: Process, known: Known) -> str:
    memory = known.memory
    if not memory.pid:
        return f": {_end(known)}; what it left behind is being ended"
    if memory.fault and memory.stopped_by in _ITSELF:
        what = f"it is being ended: {memory.fault}"
    else:
        what = f"{_who(memory.stopped_by)} has asked for that, {_ago(known)}"
        if memory.life.next is State.WAITING:
            what += ", and it is to be started again"
    return f": {what}; {_next_step(process, known)}"


def _next_step(process: Process, known: Known) -> str:
    """Return what is done if it does not end by itself."""
    steps, step = process.stop_steps, known.memory.life.stop_step + 1
    if step > len(steps):
        return "it does not even end by SIGKILL"
    number = steps[step].signal if step < len(steps) else int(signal.SIGKILL)
    what = "the stop command" if number is None else signal_name(number)
    return f"{what} follows in {seconds(max(0.0, known.memory.due - known.now))}"


def _last_end(known: Known) -> str:
    return f"; last end: {known.exits[-1]}" if known.exits else ""


def _end(known: Known) -> str:
    """Return how the last process has ended; who stopped it, is said elsewhere."""
    if known.exits:
        return f"it {known.exits[-1].how}"
    return f"it {known.memory.last}" if known.memory.last else "it had no process"


def _ago(known: Known) -> str:
    return f"{roughly(known.now - known.memory.since)} ago"


def _who(stopped_by: str) -> str:
    words = {"": "somebody", RELOAD: "a reload", SHUTDOWN: "the shutdown of supervisord"}
    return words.get(stopped_by, stopped_by)


_REASONS = {
    State.RUNNING: _running,
    State.STARTING: _starting,
    State.WAITING: _waiting,
    State.BACKOFF: _backoff,
    State.FATAL: _fatal,
    State.EXITED: _exited,
    State.STOPPED: _stopped,
    State.STOPPING: _stopping,
}
