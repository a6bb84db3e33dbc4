"""Who has asked for what becomes of a process: an operator, or we ourselves, and for what fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisortw.core import telling
from supervisortw.core.exits import NOT_READY, WATCHDOG
from supervisortw.core.lifecycle import Life
from supervisortw.core.lifeevents import Event, RestartAsked, StartAsked, StopAsked, TimedOut
from supervisortw.core.memory import Memory
from supervisortw.core.model import Process
from supervisortw.core.states import State

_UP = frozenset({State.STARTING, State.RUNNING})
_STOPPABLE = frozenset(State) - {State.STOPPED, State.EXITED, State.FATAL}


def note_who_asked(memory: Memory, process: Process, event: Event, before: Life) -> None:
    """Remember who is behind ``event``, which has led on from ``before``; see `Memory`."""
    note = _NOTES.get(type(event))
    if note is not None:
        note(memory, process, event, before)


def _restart_asked(memory: Memory, process: Process, event: RestartAsked, before: Life) -> None:
    memory.asked = True
    if before.state in _UP:
        memory.stopped_by = event.by


def _start_asked(memory: Memory, process: Process, event: StartAsked, before: Life) -> None:
    memory.asked = before.state not in _UP


def _stop_asked(memory: Memory, process: Process, event: StopAsked, before: Life) -> None:
    memory.asked = False
    is_stopped = before.state is State.STOPPING and before.next is State.STOPPED
    if before.state in _STOPPABLE and not is_stopped:
        memory.stopped_by = event.by


def _timed_out(memory: Memory, process: Process, event: TimedOut, before: Life) -> None:
    if memory.life.state is not State.STOPPING:
        return
    if before.state is State.STARTING:
        memory.fault, memory.stopped_by = telling.not_ready(event.uptime), NOT_READY
    elif before.state is State.RUNNING:
        memory.fault, memory.stopped_by = telling.silent(process), WATCHDOG


_NOTES: dict[type[Event], Callable[[Memory, Process, Any, Life], None]] = {
    RestartAsked: _restart_asked,
    StartAsked: _start_asked,
    StopAsked: _stop_asked,
    TimedOut: _timed_out,
}
