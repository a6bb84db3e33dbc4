"""The life of one program, as a table.

`step` looks up ``(state, type of event)`` and returns the next life and what is to be done about it.
It knows no clock, no process and no file: events tell what has happened (past participles), effects
say what to do (imperatives), and times are differences in seconds that events carry.

What is wanted is a field of its own, apart from what is. So a restart is one event: the program is
stopped, and what follows the stop is already written down. A client that dies in between leaves
nothing behind that somebody would have to remember.

The states::

    STOPPED --StartAsked--> STARTING --start-seconds--> RUNNING
       ^                      |  ^                         |
       |          too quick   v  | delay           ends    v
       |                    BACKOFF          EXITED, or STARTING again
       |                      |
       |                      v  too often
    STOPPING <--StopAsked   FATAL

STOPPING lasts until every process of the program's session is gone, whoever ended it: also after a
leader that died by itself and left others behind. `Life.next` says what follows.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Program
from supervisortw.core.restart import Moment, Tally, Verdict, after_death, after_failed_spawn
from supervisortw.core.states import State
from supervisortw.errors import InvalidTransition


@dataclass(frozen=True, slots=True)
class Life:
    """One program's life so far.

    ``tally`` is what the restart policy remembers of deaths. ``next`` is what follows once STOPPING
    is over, ``stop_step`` how far the stop has got, and ``delay`` how many seconds BACKOFF lasts;
    ``spawned`` is whether a STARTING program has its process yet. They mean nothing in other states.
    """

    state: State = State.STOPPED
    wanted: bool = False
    tally: Tally = Tally()
    next: State = State.STOPPED
    delay: float = 0.0
    stop_step: int = 0
    spawned: bool = False


# Events.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """Somebody wants the program up (an operator, or the daemon at its start)."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the program down."""


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """Somebody wants the program up, in a new process."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process that a Spawn asked for exists."""


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be made; ``permanent`` if trying again cannot help."""

    permanent: bool
    moment: Moment = Moment()


@dataclass(frozen=True, slots=True)
class Exited:
    """The main process was reaped.

    ``code`` is None after a signal or if it is unknown; ``uptime`` is how long it lived, in seconds;
    ``others_left`` is true if processes of its session are still there.
    """

    code: int | None
    uptime: float
    others_left: bool = False
    moment: Moment = Moment()


@dataclass(frozen=True, slots=True)
class SessionEmptied:
    """The last of the processes that outlived their leader is gone."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time of the last SetTimer is over."""


Event = (
    StartAsked
    | StopAsked
    | RestartAsked
    | Spawned
    | SpawnFailed
    | Exited
    | SessionEmptied
    | TimedOut
)


# Effects.


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process as soon as there is time; the answer is Spawned or SpawnFailed."""


@dataclass(frozen=True, slots=True)
class CancelSpawn:
    """Do not start the process that a Spawn asked for; there is none yet."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to every process that the stop is for."""

    number: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send TimedOut after ``seconds``, in place of any timer that was set before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer."""


Effect = Spawn | CancelSpawn | Signal | SetTimer | CancelTimer
Step = tuple[Life, tuple[Effect, ...]]


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
    wanted = replace(life, state=State.STARTING, wanted=True, tally=Tally(), spawned=False)
    return wanted, (CancelTimer(), Spawn())


def _again(life: Life, program: Program, event: Event) -> Step:
    return replace(life, state=State.STARTING, spawned=False), (Spawn(),)


def _want_up(life: Life, program: Program, event: Event) -> Step:
    return replace(life, wanted=True), ()


def _want_down(life: Life, program: Program, event: Event) -> Step:
    return replace(life, wanted=False), ()


def _give_back(life: Life, program: Program, event: Event) -> Step:
    stopped = replace(life, state=State.STOPPED, wanted=False, tally=Tally())
    return stopped, (CancelTimer(),)


def _stop(life: Life, program: Program, event: Event) -> Step:
    return _clear(replace(life, wanted=False, next=State.STOPPED), program)


def _stop_to_start(life: Life, program: Program, event: Event) -> Step:
    wanted = replace(life, wanted=True, tally=Tally(), next=State.STARTING)
    return _clear(wanted, program)


def _start_next(life: Life, program: Program, event: Event) -> Step:
    return replace(life, wanted=True, tally=Tally(), next=State.STARTING), ()


def _stop_next(life: Life, program: Program, event: Event) -> Step:
    return replace(life, wanted=False, tally=Tally(), next=State.STOPPED), ()


def _escalate(life: Life, program: Program, event: Event) -> Step:
    return _stop_by(replace(life, stop_step=life.stop_step + 1), program)


def _spawned(life: Life, program: Program, event: Event) -> Step:
    life = replace(life, spawned=True)
    if program.start_seconds <= 0:
        return replace(life, state=State.RUNNING), ()
    return life, (SetTimer(program.start_seconds),)


def _stop_starting(life: Life, program: Program, event: Event) -> Step:
    if life.spawned:
        return _stop(life, program, event)
    stopped = replace(life, state=State.STOPPED, wanted=False, tally=Tally())
    return stopped, (CancelSpawn(),)


def _restart_starting(life: Life, program: Program, event: Event) -> Step:
    if life.spawned:
        return _stop_to_start(life, program, event)
    return replace(life, wanted=True, tally=Tally()), ()


def _up(life: Life, program: Program, event: Event) -> Step:
    return replace(life, state=State.RUNNING), ()


def _spawn_failed(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, SpawnFailed)
    verdict = after_failed_spawn(program, life.tally, event.moment, permanent=event.permanent)
    return _go_on(_judged(life, verdict))


def _died(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Exited)
    early = life.state is State.STARTING
    verdict = after_death(program, life.tally, event.code, event.uptime, event.moment, early=early)
    judged = _judged(life, verdict)
    return _clear(judged, program) if event.others_left else _go_on(judged)


def _died_stopping(life: Life, program: Program, event: Event) -> Step:
    assert isinstance(event, Exited)
    return (life, ()) if event.others_left else _go_on(life)


def _emptied(life: Life, program: Program, event: Event) -> Step:
    return _go_on(life)


def _judged(life: Life, verdict: Verdict) -> Life:
    return replace(life, tally=verdict.tally, next=verdict.next, delay=verdict.delay)


def _clear(life: Life, program: Program) -> Step:
    """Begin to end every process that is left; ``life.next`` says what follows."""
    return _stop_by(replace(life, state=State.STOPPING, stop_step=0), program)


def _stop_by(life: Life, program: Program) -> Step:
    """Do the step of the stop that ``life`` has come to; after the last comes SIGKILL, repeatedly."""
    if life.stop_step < len(program.stop_steps):
        step = program.stop_steps[life.stop_step]
        return life, (Signal(step.signal), SetTimer(step.wait))
    stuck = replace(life, stop_step=len(program.stop_steps))
    return stuck, (Signal(signal.SIGKILL), SetTimer(LIMITS.kill_repeat_seconds))


def _go_on(life: Life) -> Step:
    """Nothing is left of the last process: do what ``life.next`` says."""
    after = replace(life, state=life.next, spawned=False)
    if after.state is State.STARTING:
        return after, (CancelTimer(), Spawn())
    if after.state is State.BACKOFF:
        return after, (SetTimer(life.delay),)
    return after, (CancelTimer(),)


TABLE: dict[tuple[State, type[Event]], Cell] = {
    (State.STOPPED, StartAsked): _start,
    (State.STOPPED, RestartAsked): _start,
    (State.STOPPED, StopAsked): _want_down,
    (State.STARTING, Spawned): _spawned,
    (State.STARTING, SpawnFailed): _spawn_failed,
    (State.STARTING, TimedOut): _up,
    (State.STARTING, Exited): _died,
    (State.STARTING, StartAsked): _want_up,
    (State.STARTING, RestartAsked): _restart_starting,
    (State.STARTING, StopAsked): _stop_starting,
    (State.RUNNING, Exited): _died,
    (State.RUNNING, StartAsked): _want_up,
    (State.RUNNING, RestartAsked): _stop_to_start,
    (State.RUNNING, StopAsked): _stop,
    (State.BACKOFF, TimedOut): _again,
    (State.BACKOFF, StartAsked): _start,
    (State.BACKOFF, RestartAsked): _start,
    (State.BACKOFF, StopAsked): _give_back,
    (State.STOPPING, Exited): _died_stopping,
    (State.STOPPING, SessionEmptied): _emptied,
    (State.STOPPING, TimedOut): _escalate,
    (State.STOPPING, StartAsked): _start_next,
    (State.STOPPING, RestartAsked): _start_next,
    (State.STOPPING, StopAsked): _stop_next,
    (State.EXITED, StartAsked): _start,
    (State.EXITED, RestartAsked): _start,
    (State.EXITED, StopAsked): _want_down,
    (State.FATAL, StartAsked): _start,
    (State.FATAL, RestartAsked): _start,
    (State.FATAL, StopAsked): _want_down,
}
