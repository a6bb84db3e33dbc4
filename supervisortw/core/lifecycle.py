"""The life of one program, as a table.

`step` looks up ``(state, type of event)`` and returns the next life and what is to be done about it.
It knows no clock, no process and no file: events tell what has happened (past participles), effects
say what to do (imperatives), and times are differences in seconds that events carry.

What is wanted is a field of its own, apart from what is. So a restart is one event: the program is
stopped, and what follows the stop is already written down. A client that dies in between leaves
nothing behind that somebody would have to remember.

The states::

    STOPPED --StartAsked--> WAITING --Admitted--> STARTING --ready--> RUNNING
       ^                     ^   ^                   |                   |
       |             delay   |   |       too quick   v            ends   v
       |                    BACKOFF <--------------- EXITED, or WAITING again
       |                      |
       |                      v  too often
    STOPPING <--StopAsked   FATAL

WAITING lasts until what the program depends on is ready and it is its turn; no process exists yet.
STARTING lasts for start-seconds, or until the program says that it is ready (``notify``).
STOPPING lasts until every process of the program's session is gone, whoever ended it: also after a
leader that died by itself and left others behind. `Life.next` says what follows.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

from supervisortw.core.lifeevents import (
    Admitted,
    Adopted,
    Await,
    CancelAwait,
    CancelTimer,
    Effect,
    Event,
    Exited,
    Extended,
    ExtendTimer,
    Pinged,
    Ready,
    RestartAsked,
    RunStopCommand,
    SessionEmptied,
    SetTimer,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    StartAsked,
    StopAsked,
    StopCommandEnded,
    TimedOut,
)
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Program
from supervisortw.core.restart import Tally, Verdict, after_death, after_failed_spawn
from supervisortw.core.states import State
from supervisortw.errors import InvalidTransition


class Life(NamedTuple):
    """One program's life so far.

    ``tally`` is what the restart policy remembers of deaths. ``next`` is what follows once STOPPING
    is over, ``stop_step`` how far the stop has got, and ``delay`` how many seconds BACKOFF lasts;
    ``spawned`` is whether a STARTING program has its process yet, and ``ready`` whether it has said
    that it is ready before we knew of it. They mean nothing in other states.
    """

    state: State = State.STOPPED
    wanted: bool = False
    tally: Tally = Tally()
    next: State = State.STOPPED
    delay: float = 0.0
    stop_step: int = 0
    spawned: bool = False
    ready: bool = False


Step = tuple[Life, tuple[Effect, ...]]

# Made once: each restart has both.
_ANEW = (CancelTimer(), Await())
_SPAWN = (Spawn(),)


def step(life: Life, program: Program, event: Event) -> Step:
    """Return the life after ``event``, and what to do.

    Raises InvalidTransition if the event cannot happen in that state.
    """
    cell = TABLE.get((life.state, type(event)))
    if cell is None:
        raise InvalidTransition(f"{type(event).__name__} cannot happen in {life.state.value}")
    return cell(life, program, event)


Cell = Callable[[Life, Program, "Event"], Step]


def _start(life: Life, program: Program, event: Event) -> Step:
    wanted = life._replace(state=State.WAITING, wanted=True, tally=Tally())
    return wanted, _ANEW


def _again(life: Life, program: Program, event: Event) -> Step:
    return life._replace(state=State.WAITING), (Await(),)


def _wait_anew(life: Life, program: Program, event: Event) -> Step:
    return life._replace(wanted=True, tally=Tally()), ()


def _admitted(life: Life, program: Program, event: Event) -> Step:
    return life._replace(state=State.STARTING, spawned=False, ready=False), _SPAWN


def _want_up(life: Life, program: Program, event: Event) -> Step:
    return life._replace(wanted=True), ()


def _want_down(life: Life, program: Program, event: Event) -> Step:
    return life._replace(wanted=False), ()


def _nothing(life: Life, program: Program, event: Event) -> Step:
    return life, ()


def _wait_no_more(life: Life, program: Program, event: Event) -> Step:
    stopped = life._replace(state=State.STOPPED, wanted=False, tally=Tally())
    return stopped, (CancelAwait(),)


def _give_back(life: Life, program: Program, event: Event) -> Step:
    stopped = life._replace(state=State.STOPPED, wanted=False, tally=Tally())
    return stopped, (CancelTimer(),)


def _stop(life: Life, program: Program, event: Event) -> Step:
    return _clear(life._replace(wanted=False, tally=Tally(), next=State.STOPPED), program)


def _stop_to_start(life: Life, program: Program, event: Event) -> Step:
    wanted = life._replace(wanted=True, tally=Tally(), next=State.WAITING)
    return _clear(wanted, program)


def _start_next(life: Life, program: Program, event: Event) -> Step:
    return life._replace(wanted=True, tally=Tally(), next=State.WAITING), ()


def _stop_next(life: Life, program: Program, event: Event) -> Step:
    return life._replace(wanted=False, tally=Tally(), next=State.STOPPED), ()


def _escalate(life: Life, program: Program, event: Event) -> Step:
    return _stop_by(life._replace(stop_step=life.stop_step + 1), program)


def _spawned(life: Life, program: Program, event: Event) -> Step:
    life = life._replace(spawned=True)
    if not life.wanted:  # it was stopped while its process was being made
        return _stop(life, program, event)
    if program.notify:
        return _up(life, program) if life.ready else (life, (SetTimer(program.ready_seconds),))
    if program.start_seconds <= 0:
        return _up(life, program)
    return life, (SetTimer(program.start_seconds),)


def _stop_starting(life: Life, program: Program, event: Event) -> Step:
    if life.spawned:
        return _stop(life, program, event)
    return life._replace(wanted=False, tally=Tally()), ()


def _restart_starting(life: Life, program: Program, event: Event) -> Step:
    if life.spawned:
        return _stop_to_start(life, program, event)
    return life._replace(wanted=True, tally=Tally()), ()


def _said_ready(life: Life, program: Program, event: Event) -> Step:
    if not program.notify or not life.spawned:
        return life._replace(ready=True), ()
    return _up(life, program)


def _up(life: Life, program: Program) -> Step:
    up = life._replace(state=State.RUNNING)
    return up, (SetTimer(program.watchdog_seconds) if _watched(program) else CancelTimer(),)


def _watched(program: Program) -> bool:
    return program.notify and program.watchdog_seconds > 0


def _time_to_start_is_over(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, TimedOut)
    if not program.notify:
        return _up(life, program)
    return _fail(life, program, event)


def _pinged(life: Life, program: Program, event: Event) -> Step:
    return life, (SetTimer(program.watchdog_seconds),) if _watched(program) else ()


def _fail(life: Life, program: Program, event: Event) -> Step:
    """End a process that does not do what it promised, as if it had died by a signal."""
    assert isinstance(event, TimedOut)
    early = life.state is State.STARTING
    uptime, moment = event.uptime, event.moment
    verdict = after_death(program, life.tally, None, uptime, moment, early=early)
    return _clear(_judged(life, verdict), program)


def _extended(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Extended)
    if life.state is State.STOPPING and life.stop_step >= len(program.stop_steps):
        return life, ()  # nobody puts off SIGKILL
    return life, (ExtendTimer(event.seconds),)


def _spawn_failed(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, SpawnFailed)
    if not life.wanted:
        return life._replace(state=State.STOPPED), ()
    verdict = after_failed_spawn(program, life.tally, event.moment, permanent=event.permanent)
    return _go_on(life, verdict)


def _died(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Exited)
    if not life.wanted:  # it was stopped while its process was being made
        verdict = Verdict(State.STOPPED, Tally())
    elif event.again:
        verdict = Verdict(State.WAITING, Tally())
    else:
        early = life.state is State.STARTING
        uptime, moment = event.uptime, event.moment
        verdict = after_death(program, life.tally, event.code, uptime, moment, early=early)
    if not event.others_left:
        return _go_on(life, verdict)
    return _clear(_judged(life, verdict), program, leader_is_gone=True)


def _died_stopping(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Exited)
    if not event.others_left:
        return _emptied(life, program, event)
    # There is nobody left whom the stop command could have asked.
    return _escalate(life, program, event) if _is_asking(life, program) else (life, ())


def _asked(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, StopCommandEnded)
    if event.good or not _is_asking(life, program):
        return life, ()
    return _escalate(life, program, event)


def _emptied(life: Life, program: Program, event: Event) -> Step:
    return _go_on(life, Verdict(life.next, life.tally, life.delay))


def _wait_again(life: Life, program: Program, event: Event) -> Step:
    return life, (Await(),)


def _time_again(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Adopted)
    return life, (SetTimer(event.remaining),)


def _go_on_starting(life: Life, program: Program, event: Event) -> Step:
    """Wait for the time that is left; or start anew what has no process."""
    if life.spawned:
        return _time_again(life, program, event)
    if not life.wanted:
        return life._replace(state=State.STOPPED), ()
    return _again(life, program, event)


def _judged(life: Life, verdict: Verdict) -> Life:
    return life._replace(tally=verdict.tally, next=verdict.next, delay=verdict.delay)


def _clear(life: Life, program: Program, *, leader_is_gone: bool = False) -> Step:
    """Begin to end every process that is left; ``life.next`` says what follows."""
    stopping = life._replace(state=State.STOPPING, stop_step=0)
    if leader_is_gone and _is_asking(stopping, program):
        stopping = stopping._replace(stop_step=1)
    return _stop_by(stopping, program)


def _is_asking(life: Life, program: Program) -> bool:
    """True if the stop has come to the step that runs the stop command."""
    steps = program.stop_steps
    return life.stop_step < len(steps) and steps[life.stop_step].signal is None


def _stop_by(life: Life, program: Program) -> Step:
    """Do the step of the stop that ``life`` has come to; after the last comes SIGKILL, repeatedly."""
    if life.stop_step < len(program.stop_steps):
        step = program.stop_steps[life.stop_step]
        act = RunStopCommand() if step.signal is None else Signal(step.signal)
        return life, (act, SetTimer(step.wait))
    stuck = life._replace(stop_step=len(program.stop_steps))
    return stuck, (Signal(signal.SIGKILL), SetTimer(LIMITS.kill_repeat_seconds))


def _go_on(life: Life, verdict: Verdict) -> Step:
    """Nothing is left of the last process: do what was judged to follow."""
    state, tally, delay = verdict
    after = life._replace(state=state, tally=tally, next=state, delay=delay, spawned=False)
    if state is State.WAITING:
        return after, _ANEW
    if state is State.BACKOFF:
        return after, (SetTimer(delay),)
    return after, (CancelTimer(),)


TABLE: dict[tuple[State, type[Event]], Cell] = {
    (State.STOPPED, StartAsked): _start,
    (State.STOPPED, RestartAsked): _start,
    (State.STOPPED, StopAsked): _want_down,
    (State.STOPPED, Adopted): _nothing,
    (State.WAITING, Admitted): _admitted,
    (State.WAITING, StartAsked): _wait_anew,
    (State.WAITING, RestartAsked): _wait_anew,
    (State.WAITING, StopAsked): _wait_no_more,
    (State.WAITING, Adopted): _wait_again,
    (State.STARTING, Spawned): _spawned,
    (State.STARTING, SpawnFailed): _spawn_failed,
    (State.STARTING, Ready): _said_ready,
    (State.STARTING, Extended): _extended,
    (State.STARTING, Pinged): _nothing,
    (State.STARTING, TimedOut): _time_to_start_is_over,
    (State.STARTING, Exited): _died,
    (State.STARTING, StartAsked): _want_up,
    (State.STARTING, RestartAsked): _restart_starting,
    (State.STARTING, StopAsked): _stop_starting,
    (State.STARTING, Adopted): _go_on_starting,
    (State.RUNNING, Exited): _died,
    (State.RUNNING, Ready): _nothing,
    (State.RUNNING, Extended): _nothing,
    (State.RUNNING, Pinged): _pinged,
    (State.RUNNING, TimedOut): _fail,
    (State.RUNNING, StartAsked): _want_up,
    (State.RUNNING, RestartAsked): _stop_to_start,
    (State.RUNNING, StopAsked): _stop,
    (State.RUNNING, Adopted): _pinged,
    (State.BACKOFF, TimedOut): _again,
    (State.BACKOFF, StartAsked): _start,
    (State.BACKOFF, RestartAsked): _start,
    (State.BACKOFF, StopAsked): _give_back,
    (State.BACKOFF, Adopted): _time_again,
    (State.STOPPING, Exited): _died_stopping,
    (State.STOPPING, SessionEmptied): _emptied,
    (State.STOPPING, StopCommandEnded): _asked,
    (State.STOPPING, Ready): _nothing,
    (State.STOPPING, Extended): _extended,
    (State.STOPPING, Pinged): _nothing,
    (State.STOPPING, TimedOut): _escalate,
    (State.STOPPING, StartAsked): _start_next,
    (State.STOPPING, RestartAsked): _start_next,
    (State.STOPPING, StopAsked): _stop_next,
    (State.STOPPING, Adopted): _time_again,
    (State.EXITED, StartAsked): _start,
    (State.EXITED, RestartAsked): _start,
    (State.EXITED, StopAsked): _want_down,
    (State.EXITED, Adopted): _nothing,
    (State.FATAL, StartAsked): _start,
    (State.FATAL, RestartAsked): _start,
    (State.FATAL, StopAsked): _want_down,
    (State.FATAL, Adopted): _nothing,
}
