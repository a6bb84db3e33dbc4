"""The life-cycle table, searched exhaustively."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace

import pytest

from supervisortw.core.lifecycle import TABLE, Life, step
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
from supervisortw.core.model import AutoRestart, Program, StopStep
from supervisortw.core.restart import MOST_DOUBLINGS, Moment, Tally
from supervisortw.core.states import ALIVE, State
from supervisortw.errors import InvalidTransition

PROGRAM = Program(name="web", command=("web",))
ASKING = (StopStep(signal=None, wait=5.0), StopStep(signal=15, wait=10.0))

POLICIES = [
    replace(PROGRAM, **changes)
    for changes in (
        {},
        {"forever": True},
        {"backoff_limit": 1},
        {"start_seconds": 0.0},
        {"start_retries": 0},
        {"start_retries": 2},
        {"exit_codes": frozenset({0, 2})},
        {"auto_restart": AutoRestart.UNEXPECTED},
        {"auto_restart": AutoRestart.NEVER},
        {"auto_restart": AutoRestart.NEVER, "forever": True},
        {"stop_steps": (StopStep(signal=2, wait=5.0), StopStep(signal=15, wait=10.0))},
        {"restart_limit": 2},
        {"restart_limit": 1, "restart_delay": 0.0},
        {"stable_seconds": 60.0},
        {"notify": True},
        {"notify": True, "watchdog_seconds": 5.0},
        {"notify": True, "watchdog_seconds": 5.0, "auto_restart": AutoRestart.NEVER},
        {"stop_steps": ASKING, "stop_command": ("quit",)},
        {"stop_steps": ASKING, "notify": True, "watchdog_seconds": 5.0},
    )
]


@dataclass(frozen=True)
class World:
    """A life together with what is really there, as the daemon's edge would see it."""

    life: Life = Life()
    awaiting: bool = False
    asked_to_spawn: bool = False
    leader: bool = False
    others: bool = False
    timer: bool = False
    asking: bool = False

    @property
    def anything_alive(self) -> bool:
        return self.leader or self.others

    def possible_events(self) -> list[Event]:
        events: list[Event] = [StartAsked(), StopAsked(), RestartAsked()]
        if self.awaiting:
            events.append(Admitted())
        if self.life.state in ALIVE:
            events += [Ready(), Pinged(), Extended(5.0)]
        if self.asking and self.life.state is State.STOPPING:
            events += [StopCommandEnded(good) for good in (True, False)]
        events.append(Adopted(0.5))
        if self.asked_to_spawn:
            events += [Spawned(), SpawnFailed(permanent=True), SpawnFailed(permanent=False)]
        if self.leader:
            codes_and_uptimes = itertools.product((0, 1, 2, None), (0.5, 10.0), (False, True))
            events += [Exited(code, uptime, left) for code, uptime, left in codes_and_uptimes]
            events += [Exited(None, 0.5, left, again=True) for left in (False, True)]
        elif self.others:
            events.append(SessionEmptied())
        if self.timer:
            events += [TimedOut(0.5), TimedOut(100.0)]
        return events

    def after(self, event: Event, program: Program) -> World:
        life, effects = step(self.life, program, event)
        world = replace(self, life=life, **HAPPENED.get(type(event), {}))
        if isinstance(event, Exited):
            world = replace(world, leader=False, others=event.others_left)
        for effect in effects:
            world = world.with_effect(effect)
        return world if life.state is State.STOPPING else replace(world, asking=False)

    def with_effect(self, effect: Effect) -> World:
        """Check that it makes sense here to do that, and return the world with it done."""
        if isinstance(effect, (Await, Spawn)):
            assert not self.anything_alive, f"second copy: {self}"
            assert not self.asked_to_spawn
            assert not self.awaiting
        elif isinstance(effect, CancelAwait):
            assert self.awaiting
        elif isinstance(effect, SetTimer):
            assert effect.seconds >= 0
        elif isinstance(effect, RunStopCommand):
            assert self.leader, "nobody is there to be asked"
        elif isinstance(effect, ExtendTimer):
            assert self.timer or self.asked_to_spawn
        elif isinstance(effect, Signal):
            assert self.anything_alive
        return replace(self, **DONE.get(type(effect), {}))


# What an event, or what was done, makes of the world.
HAPPENED: dict[type[Event], dict[str, bool]] = {
    Admitted: {"awaiting": False},
    StopCommandEnded: {"asking": False},
    Spawned: {"asked_to_spawn": False, "leader": True},
    SpawnFailed: {"asked_to_spawn": False},
    SessionEmptied: {"others": False},
    TimedOut: {"timer": False},
    Adopted: {"timer": False, "awaiting": False, "asking": False, "asked_to_spawn": False},
}
DONE: dict[type[Effect], dict[str, bool]] = {
    Await: {"awaiting": True},
    CancelAwait: {"awaiting": False},
    Spawn: {"asked_to_spawn": True},
    RunStopCommand: {"asking": True},
    SetTimer: {"timer": True},
    CancelTimer: {"timer": False},
}


@functools.cache
def reachable(program: Program) -> dict[World, set[World]]:
    """Return every world that can be reached, with the worlds that can follow it."""
    follows: dict[World, set[World]] = {}
    todo = [World()]
    while todo:
        world = todo.pop()
        if world not in follows:
            follows[world] = {world.after(event, program) for event in world.possible_events()}
            todo.extend(follows[world])
    return follows


@pytest.mark.parametrize("program", POLICIES, ids=str)
def test_every_reachable_world_is_consistent(program: Program) -> None:
    worlds = reachable(program)
    assert len(worlds) < 2000
    for world in worlds:
        life = world.life
        assert (life.state in ALIVE) == (world.anything_alive or world.asked_to_spawn), world
        assert (life.state is State.WAITING) == world.awaiting
        most = (program.start_retries or 0) + 1
        assert life.tally.quick_deaths <= max(program.backoff_limit, most, MOST_DOUBLINGS)
        assert len(life.tally.restarts) <= (program.restart_limit or 0) + 1
        if life.state is State.BACKOFF:
            assert world.timer, "a back-off that nobody ends"
        if life.state is State.STOPPING:
            assert world.timer, "a stop that never gets to KILL"
        if life.state is State.STARTING and world.leader:
            assert world.timer, "a start that never gets to RUNNING"
        if life.state in {State.STOPPED, State.EXITED, State.FATAL, State.WAITING}:
            assert not world.timer
        if life.state is State.RUNNING:
            assert world.timer == (program.watchdog_seconds > 0)


@pytest.mark.parametrize("program", POLICIES, ids=str)
def test_an_operator_gets_his_way_from_everywhere(program: Program) -> None:
    for world in reachable(program):
        stopped = world.after(StopAsked(), program)
        if stopped.asked_to_spawn:
            stopped = stopped.after(Spawned(), program)
        if stopped.leader:
            stopped = stopped.after(Exited(0, 0.1, others_left=True), program)
        if stopped.others:
            stopped = stopped.after(SessionEmptied(), program)
        assert not stopped.life.wanted
        assert stopped.life.state in {State.STOPPED, State.EXITED, State.FATAL}

        restarted = world.after(RestartAsked(), program)
        if restarted.leader:
            restarted = restarted.after(Exited(0, 0.1), program)
        elif restarted.others:
            restarted = restarted.after(SessionEmptied(), program)
        if restarted.awaiting:
            restarted = restarted.after(Admitted(), program)
        assert restarted.asked_to_spawn, world
        assert restarted.life.wanted
        assert restarted.life.tally == Tally()


@pytest.mark.parametrize("program", POLICIES, ids=str)
def test_a_later_daemon_changes_nothing_in_a_life(program: Program) -> None:
    for world in reachable(program):
        if not world.asked_to_spawn:
            adopted = world.after(Adopted(0.5), program)
            assert adopted.life == world.life
            assert replace(adopted, asking=world.asking) == world


def test_every_cell_of_the_table_is_reached() -> None:
    seen = {
        (world.life.state, type(event))
        for program in POLICIES
        for world in reachable(program)
        for event in world.possible_events()
    }
    assert seen == set(TABLE)


def test_an_event_that_cannot_happen_is_a_typed_error() -> None:
    with pytest.raises(InvalidTransition, match="Spawned cannot happen in STOPPED"):
        step(Life(), PROGRAM, Spawned())


def live(program: Program, *events: Event) -> tuple[list[State], list[float]]:
    """Send events to a new life; return the states it went through and the timers it set.

    Nothing ever stands in the way of a start.
    """
    life, states, timers = Life(), [], []
    for event in events:
        life, effects = step(life, program, event)
        timers += [effect.seconds for effect in effects if isinstance(effect, SetTimer)]
        if Await() in effects:
            life, effects = step(life, program, Admitted())
            assert effects == (Spawn(),)
        states.append(life.state)
    return states, timers


QUICK = (Spawned(), Exited(1, 0.1))


def test_it_is_given_up_at_the_third_quick_death_after_growing_delays() -> None:
    states, timers = live(PROGRAM, StartAsked(), *QUICK, TimedOut(), *QUICK, TimedOut(), *QUICK)
    assert states[-1] is State.FATAL
    assert states.count(State.BACKOFF) == 2
    assert [seconds for seconds in timers if seconds != PROGRAM.start_seconds] == [2.0]
    assert timers == [1.0, 1.0, 1.0, 2.0, 1.0]


def test_start_retries_counts_retries_as_supervisor_does() -> None:
    program = replace(PROGRAM, start_retries=1)
    states, _ = live(program, StartAsked(), *QUICK, TimedOut(), *QUICK)
    assert states[-1] is State.FATAL
    states, _ = live(replace(PROGRAM, start_retries=0), StartAsked(), *QUICK)
    assert states[-1] is State.FATAL


def test_forever_doubles_the_delay_up_to_its_limit_and_never_gives_up() -> None:
    program = replace(PROGRAM, forever=True, restart_delay=0.5, restart_delay_max=10.0)
    states, timers = live(program, StartAsked(), *[*QUICK, TimedOut()] * 100)
    assert State.FATAL not in states
    delays = [seconds for seconds in timers if seconds != PROGRAM.start_seconds or seconds == 1.0]
    assert timers[1::2][:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert max(delays) == 10.0


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 0.8), (0.5, 1.0), (0.75, 1.1)])
def test_a_delay_is_made_longer_or_shorter_by_chance(chance: float, delay: float) -> None:
    program = replace(PROGRAM, restart_jitter=0.2)
    moment = Moment(chance=chance)
    _, timers = live(program, StartAsked(), Spawned(), Exited(1, 0.1, moment=moment))
    assert timers[-1] == pytest.approx(delay)


def stable_run(at: float) -> tuple[Event, ...]:
    """A run that was long enough, and ended at a moment."""
    return (Spawned(), TimedOut(), Exited(1, 10.0, moment=Moment(at=at)))


def test_too_many_restarts_in_a_period_give_a_program_up_that_lives_long_each_time() -> None:
    program = replace(PROGRAM, restart_limit=2, restart_period=60.0)
    runs = [event for at in (10.0, 20.0, 30.0) for event in stable_run(at)]
    states, _ = live(program, StartAsked(), *runs)
    assert states[-1] is State.FATAL
    assert states.count(State.FATAL) == 1


def test_restarts_that_are_long_ago_do_not_count() -> None:
    program = replace(PROGRAM, restart_limit=2, restart_period=60.0)
    runs = [event for at in (10.0, 50.0, 100.0, 130.0, 200.0) for event in stable_run(at)]
    states, _ = live(program, StartAsked(), *runs)
    assert State.FATAL not in states


def test_an_operator_begins_with_a_clean_tally() -> None:
    program = replace(PROGRAM, restart_limit=1, restart_period=60.0)
    runs = [event for at in (1.0, 2.0) for event in stable_run(at)]
    states, _ = live(program, StartAsked(), *runs, StartAsked(), *stable_run(3.0))
    assert states[-1] is State.STARTING


def test_a_stable_run_is_restarted_at_once_and_forgets_the_quick_deaths() -> None:
    program = replace(PROGRAM, backoff_limit=2)
    stable = (Spawned(), TimedOut(), Exited(0, 10.0))
    states, _ = live(program, StartAsked(), *QUICK, TimedOut(), *stable, *QUICK)
    assert State.FATAL not in states
    assert states[-1] is State.BACKOFF


def test_a_death_in_running_within_the_backoff_limit_is_too_quick() -> None:
    states, _ = live(PROGRAM, StartAsked(), Spawned(), TimedOut(), Exited(0, 2.9))
    assert states[-1] is State.BACKOFF


@pytest.mark.parametrize(
    ("changes", "code", "state"),
    [
        ({}, 0, State.STARTING),
        ({"exit_codes": frozenset({3})}, 3, State.EXITED),
        ({"exit_codes": frozenset({3})}, 0, State.STARTING),
        ({"auto_restart": AutoRestart.UNEXPECTED}, 0, State.EXITED),
        ({"auto_restart": AutoRestart.UNEXPECTED}, 1, State.STARTING),
        ({"auto_restart": AutoRestart.UNEXPECTED}, None, State.STARTING),
        ({"auto_restart": AutoRestart.UNEXPECTED, "exit_codes": frozenset({1})}, 0, State.STARTING),
        ({"auto_restart": AutoRestart.NEVER}, 1, State.EXITED),
        ({"auto_restart": AutoRestart.NEVER}, None, State.EXITED),
    ],
)
def test_exit_codes_and_auto_restart(changes: dict[str, object], code: int, state: State) -> None:
    program = replace(PROGRAM, **changes)
    states, _ = live(program, StartAsked(), Spawned(), TimedOut(), Exited(code, 60.0))
    assert states[-1] is state


def test_a_listed_code_ends_supervision_however_soon_it_comes() -> None:
    program = replace(PROGRAM, exit_codes=frozenset({0}), forever=True)
    states, _ = live(program, StartAsked(), Spawned(), Exited(0, 0.01))
    assert states[-1] is State.EXITED


def test_what_a_dead_leader_leaves_behind_is_stopped_before_the_next_start() -> None:
    events = (StartAsked(), Spawned(), TimedOut(), Exited(1, 60.0, others_left=True))
    states, timers = live(PROGRAM, *events, TimedOut(), SessionEmptied())
    assert states[-3:] == [State.STOPPING, State.STOPPING, State.STARTING]
    assert timers == [1.0, PROGRAM.stop_steps[0].wait, 1.0]


def test_a_stop_takes_its_steps_and_ends_with_kill_again_and_again() -> None:
    steps = (StopStep(signal=2, wait=5.0), StopStep(signal=15, wait=7.0))
    program = replace(PROGRAM, stop_steps=steps)
    life, _ = step(Life(state=State.RUNNING, wanted=True), program, StopAsked())
    _, first = step(Life(state=State.RUNNING, wanted=True), program, StopAsked())
    taken = [first]
    for _ in range(4):
        life, effects = step(life, program, TimedOut())
        taken.append(effects)
    repeat = LIMITS.kill_repeat_seconds
    assert taken == [
        (Signal(2), SetTimer(5.0)),
        (Signal(15), SetTimer(7.0)),
        (Signal(9), SetTimer(repeat)),
        (Signal(9), SetTimer(repeat)),
        (Signal(9), SetTimer(repeat)),
    ]
    assert life.state is State.STOPPING


READY = replace(PROGRAM, notify=True, ready_seconds=20.0)


def test_a_program_that_notifies_is_up_when_it_says_so_and_not_before() -> None:
    states, timers = live(READY, StartAsked(), Spawned(), Ready())
    assert states == [State.STARTING, State.STARTING, State.RUNNING]
    assert timers == [20.0]


def test_what_was_said_before_the_process_was_known_is_not_forgotten() -> None:
    states, _ = live(READY, StartAsked(), Ready(), Spawned())
    assert states == [State.STARTING, State.STARTING, State.RUNNING]


def test_ready_means_nothing_to_a_program_that_does_not_notify() -> None:
    states, _ = live(PROGRAM, StartAsked(), Spawned(), Ready())
    assert states[-1] is State.STARTING


def test_a_ready_of_the_process_before_does_not_count_for_the_next() -> None:
    states, _ = live(READY, StartAsked(), Ready(), Spawned(), Exited(1, 60.0), Spawned())
    assert states[-1] is State.STARTING


def test_who_is_not_ready_in_time_is_ended_and_tried_again_later() -> None:
    events = (StartAsked(), Spawned(), TimedOut(20.0), Exited(None, 20.1))
    states, timers = live(READY, *events)
    assert states == [State.STARTING, State.STARTING, State.STOPPING, State.BACKOFF]
    assert timers == [20.0, READY.stop_steps[0].wait, READY.restart_delay]


def test_more_time_is_given_where_it_is_asked_for() -> None:
    life, _ = step(Life(state=State.STARTING, wanted=True, spawned=True), READY, Extended(90.0))
    assert step(life, READY, Extended(90.0)) == (life, (ExtendTimer(90.0),))
    running = Life(state=State.RUNNING, wanted=True)
    assert step(running, READY, Extended(90.0)) == (running, ())
    stopping = Life(state=State.STOPPING, stop_step=0)
    assert step(stopping, READY, Extended(90.0)) == (stopping, (ExtendTimer(90.0),))
    killed = Life(state=State.STOPPING, stop_step=len(READY.stop_steps))
    assert step(killed, READY, Extended(90.0)) == (killed, ()), "SIGKILL is put off"


def test_a_watched_program_that_falls_silent_is_ended_and_started_again() -> None:
    program = replace(READY, watchdog_seconds=5.0)
    up = (StartAsked(), Spawned(), Ready(), Pinged())
    states, timers = live(program, *up, TimedOut(60.0), Exited(None, 61.0))
    assert states[-3:] == [State.RUNNING, State.STOPPING, State.STARTING]
    assert timers == [20.0, 5.0, 5.0, program.stop_steps[0].wait]


def test_a_stop_that_comes_while_the_process_is_being_made_ends_it_at_once() -> None:
    states, _ = live(PROGRAM, StartAsked(), StopAsked(), Spawned(), Exited(None, 0.1))
    assert states == [State.STARTING, State.STARTING, State.STOPPING, State.STOPPED]
    states, _ = live(PROGRAM, StartAsked(), StopAsked(), SpawnFailed(permanent=False))
    assert states[-1] is State.STOPPED


ASKED = replace(PROGRAM, stop_steps=ASKING, stop_command=("quit",))


def stopping(*events: Event) -> list[object]:
    """Stop a program that is up; return what is done at each event."""
    life, done = Life(state=State.RUNNING, wanted=True), []
    for event in (StopAsked(), *events):
        life, effects = step(life, ASKED, event)
        done.append(effects)
    return done


def test_a_stop_command_comes_before_the_signals() -> None:
    term = (Signal(15), SetTimer(10.0))
    assert stopping(TimedOut()) == [(RunStopCommand(), SetTimer(5.0)), term]
    assert stopping(StopCommandEnded(good=False))[-1] == term
    assert stopping(StopCommandEnded(good=True)) == [(RunStopCommand(), SetTimer(5.0)), ()]


def test_whom_the_stop_command_left_behind_gets_the_signals_at_once() -> None:
    assert stopping(Exited(0, 9.0, others_left=True))[-1] == (Signal(15), SetTimer(10.0))


def test_nobody_is_asked_where_only_leftovers_are_there() -> None:
    life = Life(state=State.RUNNING, wanted=True)
    _, effects = step(life, ASKED, Exited(0, 9.0, others_left=True))
    assert effects == (Signal(15), SetTimer(10.0))


def test_the_count_of_quick_deaths_lasts_until_a_stable_run() -> None:
    program = replace(PROGRAM, stable_seconds=60.0)
    short_run = (Spawned(), TimedOut(), Exited(1, 10.0))
    events = (StartAsked(), *QUICK, TimedOut(), *short_run, *QUICK, TimedOut(), *short_run)
    states, _ = live(program, *events, *QUICK)
    assert states[-1] is State.FATAL
    long_run = (Spawned(), TimedOut(), Exited(1, 60.0))
    states, _ = live(program, *events, *long_run, *QUICK)
    assert states[-1] is State.BACKOFF
