"""Anything may happen to a program, in any order: what must hold all the same."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

from fakes.asking import Asked
from fakes.bench import Bench
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisortw.core.model import AutoRestart, StopStep
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.core.status import Outcome
from supervisortw.daemon.admission import Prospect

UP = {State.STARTING, State.RUNNING}
ONE_STEP = (StopStep(signal=SIGTERM, wait=5.0),)
TWO_STEPS = (StopStep(signal=SIGINT, wait=1.0), StopStep(signal=SIGTERM, wait=5.0))
ASKING = (StopStep(signal=None, wait=2.0), *ONE_STEP)
READY = Prospect(ready=True, coming=True, text="")
COMING = Prospect(ready=False, coming=True, text="db (STARTING)")
HOPELESS = Prospect(ready=False, coming=False, text="db (FATAL)")
DOWN = {State.STOPPED, State.EXITED, State.FATAL}


class OneProgram(RuleBasedStateMachine):
    """Operators, the program and the machine it runs on, each doing what they like."""

    @initialize(
        auto_restart=st.sampled_from(AutoRestart),
        exit_codes=st.sampled_from([frozenset(), frozenset({0}), frozenset({1})]),
        forever=st.booleans(),
        start_seconds=st.sampled_from([0.0, 1.0]),
        start_retries=st.sampled_from([None, 0, 5]),
        restart_delay=st.sampled_from([1.0, 0.0]),
        restart_limit=st.sampled_from([None, 1]),
        stop_steps=st.sampled_from([ONE_STEP, TWO_STEPS, ASKING, ()]),
        notify=st.booleans(),
        watchdog_seconds=st.sampled_from([0.0, 10.0]),
        depends_on=st.sampled_from([(), ("db",)]),
    )
    def begin(self, **keys: object) -> None:
        self.bench = Bench(stop_command=("quit",), **keys)
        self.bench.prospects["db"] = READY
        self.asked: list[Asked[Outcome]] = []

    # Operators.

    @rule()
    def start(self) -> None:
        self.asked.append(self.bench.start())

    @rule()
    def stop(self) -> None:
        self.asked.append(self.bench.stop())
        assert not self.bench.process.life.wanted
        assert self.bench.state not in UP

    @rule()
    def restart(self) -> None:
        self.asked.append(self.bench.restart())

    @rule(data=st.data())
    @precondition(lambda self: any(not each.done for each in self.asked))
    def go_away(self, data: st.DataObject) -> None:
        waiting = [each for each in self.asked if not each.done]
        data.draw(st.sampled_from(waiting)).cancel()

    # The program.

    @rule(code=st.sampled_from([0, 1]))
    @precondition(lambda self: self.bench.stop_spawner.alive)
    def end_a_stop_command(self, code: int) -> None:
        self.bench.stop_spawner.exit(next(iter(self.bench.stop_spawner.alive)), code=code)

    @rule(code=st.sampled_from([0, 1, 2]), leaves_others=st.booleans())
    @precondition(lambda self: self.bench.process.up)
    def exit(self, code: int, leaves_others: bool) -> None:
        if leaves_others:
            self.bench.sessions.others.add(self.bench.process.pid)
        self.bench.exit(code)

    @rule()
    @precondition(lambda self: self.bench.process.up)
    def die(self) -> None:
        self.bench.exit(signal=11)

    @rule()
    @precondition(lambda self: self.bench.sessions.others - self.bench.spawner.alive.keys())
    def others_end(self) -> None:
        for sid in self.bench.sessions.others - self.bench.spawner.alive.keys():
            self.bench.sessions.end_others(sid)

    @rule(
        ready=st.booleans(),
        ping=st.booleans(),
        extend=st.sampled_from([None, 20.0]),
        text=st.text(),
    )
    def say(self, ready: bool, ping: bool, extend: float | None, text: str) -> None:
        notice = Notice(ready=ready, ping=ping, extend_seconds=extend, status=text)
        self.bench.process.heard(notice)

    @rule(obedient=st.booleans())
    def change_manners(self, obedient: bool) -> None:
        self.bench.sessions.obedient = obedient

    # The machine.

    @rule(permanent=st.booleans())
    def next_spawn_fails(self, permanent: bool) -> None:
        self.bench.fail(permanent=permanent)

    @rule(prospect=st.sampled_from([READY, COMING, HOPELESS]))
    def change_prospects(self, prospect: Prospect) -> None:
        self.bench.prospects["db"] = prospect
        self.bench.admission.look_again("db")

    @rule()
    def get_busy(self) -> None:
        self.bench.is_calm = False

    @rule()
    def calm_down(self) -> None:
        self.bench.calm_down()

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 30.0]))
    def pass_time(self, seconds: float) -> None:
        self.bench.pass_time(seconds)

    # What holds.

    @invariant()
    def at_most_one_is_alive(self) -> None:
        bench = self.bench
        assert bench.spawner.most_alive <= 1
        assert list(bench.spawner.alive) == ([bench.process.pid] if bench.process.up else [])

    @invariant()
    def nothing_runs_beside_what_another_one_left(self) -> None:
        if self.bench.process.up:
            assert self.bench.sessions.others <= {self.bench.process.pid}

    @invariant()
    def the_state_tells_the_truth(self) -> None:
        bench = self.bench
        left = bool(bench.sessions.others)
        if bench.state in UP:
            assert bench.process.up is (bench.process.life.spawned or bench.process._is_new)
        elif bench.state is not State.STOPPING:
            assert not bench.process.up
            assert not left

    @invariant()
    def exactly_the_timers_that_are_needed(self) -> None:
        bench = self.bench
        bench.pass_time()  # what happens in the same moment
        if bench.unattended:
            return
        program = bench.process.program
        watched = program.notify and program.watchdog_seconds > 0
        timed = {State.STARTING, State.STOPPING, State.BACKOFF}
        expected = 1 if bench.state in timed or (bench.state is State.RUNNING and watched) else 0
        asking = len(bench.stop_spawner.alive)  # each of which is killed if it takes too long
        assert expected <= len(bench.timers()) <= expected + asking

    @invariant()
    def nobody_waits_for_what_is_settled(self) -> None:
        if self.bench.process._is_settled():
            assert all(each.done for each in self.asked)

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        bench.calm_down()
        bench.spawner.failures.clear()
        bench.sessions.obedient = True
        self.change_prospects(READY)
        starting = bench.start()
        for _ in range(100):
            bench.pass_time(1)
            bench.process.heard(Notice(ready=True, ping=True))
        assert starting.done
        assert bench.state is State.RUNNING
        bench.stop()
        bench.pass_time(100)
        assert bench.state in DOWN
        assert not bench.spawner.alive
        assert not bench.sessions.waited_for
        for pid in list(bench.stop_spawner.alive):
            bench.stop_spawner.exit(pid)
        assert bench.timers() == []
        assert all(each.done for each in self.asked)


TestOneProgram = OneProgram.TestCase
TestOneProgram.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
