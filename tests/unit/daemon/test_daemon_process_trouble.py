"""One program: what goes wrong with it, and what is told about it."""

from __future__ import annotations

from signal import SIGHUP, SIGKILL, SIGSEGV, SIGTERM

import pytest
from fakes.asking import Asked
from fakes.bench import Bench

from supervisortw.core import lifeevents
from supervisortw.core.model import AutoRestart
from supervisortw.core.states import State
from supervisortw.core.status import Result
from supervisortw.errors import InvalidTransition, SpawnError


def told(asked: Asked) -> tuple[Result, str]:
    return asked.answer.result, asked.answer.text


class TestFailedSpawns:
    def test_a_permanent_one_is_fatal_and_says_why(self) -> None:
        bench = Bench()
        bench.fail("command not found: web", permanent=True)
        assert told(bench.start()) == (Result.FAILED, "command not found: web")
        assert bench.state is State.FATAL
        assert bench.detail == "command not found: web"
        assert bench.timers() == []
        assert bench.process.pid == 0

    def test_a_passing_one_is_tried_again(self) -> None:
        bench = Bench()
        bench.fail("no memory")
        assert told(bench.start()) == (Result.FAILED, "no memory; next try in 1 s")
        assert bench.state is State.BACKOFF
        assert bench.timers() == [1]
        bench.pass_time(2)
        assert bench.state is State.RUNNING

    def test_too_many_passing_ones_are_fatal(self) -> None:
        bench = Bench()
        for _ in range(3):
            bench.fail("no memory")
        bench.start()
        bench.pass_time(100)
        assert bench.state is State.FATAL
        assert bench.detail == "no memory"
        assert len(bench.spawner.requests) == 3

    def test_forever_means_a_permanent_one_too(self) -> None:
        bench = Bench(forever=True)
        for _ in range(10):
            bench.fail("command not found: web", permanent=True)
        assert told(bench.start()) == (
            Result.FAILED,
            "command not found: web; next try in 1 s",
        )
        bench.pass_time(400)
        assert bench.state is State.RUNNING
        assert len(bench.spawner.requests) == 11

    def test_one_that_could_not_be_prepared(self) -> None:
        bench = Bench()
        bench.not_prepared.append(SpawnError("log not writable: /x", permanent=True))
        assert told(bench.start()) == (Result.FAILED, "log not writable: /x")
        assert bench.spawner.requests == []

    def test_after_it_worked_the_old_reason_is_forgotten(self) -> None:
        bench = Bench(backoff_limit=2)
        bench.fail("no memory")
        bench.start()
        bench.pass_time(1)
        bench.exit(1)
        assert bench.state is State.FATAL
        assert bench.detail == "given up after 2 quick deaths; exited with code 1 after 0.0 s"


class TestGivenUp:
    def test_after_too_many_quick_deaths(self) -> None:
        bench = Bench(start_retries=1)
        bench.start()
        for _ in range(2):
            bench.exit(signal=SIGSEGV)
            bench.pass_time(1)
        assert bench.state is State.FATAL
        assert bench.detail == ("given up after 2 quick deaths; ended by SIGSEGV after 0.0 s")

    def test_after_too_many_restarts_however_long_it_lived(self) -> None:
        bench = Bench(restart_limit=2, restart_period=100.0)
        bench.start()
        for _ in range(3):
            bench.pass_time(20)
            bench.exit(7)
        assert bench.state is State.FATAL
        expected = "given up after 2 restarts in 1:40; exited with code 7 after 20 s"
        assert bench.detail == expected

    def test_restarts_that_are_far_apart_do_not_count(self) -> None:
        bench = Bench(restart_limit=2, restart_period=100.0)
        bench.start()
        for _ in range(10):
            bench.pass_time(60)
            bench.exit(7)
        assert bench.state is State.STARTING

    def test_the_waits_get_longer_and_chance_moves_them(self) -> None:
        bench = Bench(restart_delay=2.0, restart_jitter=0.5, start_retries=9)
        bench.start()
        waits = []
        for chance in (0.5, 0.5, 0.0, 0.75):
            bench.chance = chance
            bench.exit(1)
            [wait] = bench.timers()
            waits.append(wait)
            bench.pass_time(wait)
        assert waits == pytest.approx([2.0, 4.0, 4.0, 20.0])


class TestTheWholeTree:
    """A leader that ends by itself and leaves others behind."""

    def test_what_is_left_is_ended_before_the_next_start(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        bench.pass_time(60)
        bench.sessions.others.add(pid)
        bench.exit(1)
        assert bench.state is State.STOPPING
        assert bench.detail == "exited with code 1 after 1:01; ending what it left behind"
        assert bench.sessions.signals == [(pid, SIGTERM)]
        assert bench.process.pid == 0
        bench.pass_time(10)
        assert bench.sessions.signals[1:] == [(pid, SIGKILL)]
        assert bench.state is State.STARTING
        assert len(bench.spawner.requests) == 2

    def test_what_is_left_of_one_that_may_end_is_ended_too(self) -> None:
        bench = Bench(exit_codes=frozenset({0}))
        pid = bench.come_up()
        bench.sessions.others.add(pid)
        bench.exit(0)
        bench.pass_time(100)
        assert bench.state is State.EXITED
        assert bench.sessions.signals == [(pid, SIGTERM), (pid, SIGKILL)]
        assert bench.timers() == []

    def test_nobody_left_means_no_signal_and_no_search(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.exit(1)
        assert bench.sessions.signals == []
        assert bench.sessions.waited_for == set()

    def test_a_stop_meanwhile_keeps_it_down(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        bench.sessions.others.add(pid)
        bench.exit(1)
        stopping = bench.stop()
        bench.pass_time(100)
        assert stopping.answer.result is Result.STOPPED
        assert bench.state is State.STOPPED
        assert len(bench.spawner.requests) == 1


class TestRestartsCounter:
    def test_what_operators_ask_for_does_not_count(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        bench.restart()
        bench.pass_time(1)
        bench.stop()
        bench.pass_time(1)
        bench.come_up()
        bench.stop()
        bench.start()
        bench.pass_time(1)
        assert len(bench.spawner.requests) == 4
        assert bench.restarts == 0

    def test_what_the_policy_does_counts(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.pass_time(60)
        bench.exit(1)
        assert bench.restarts == 1
        bench.exit(1)
        bench.pass_time(1)
        assert bench.restarts == 2

    def test_every_try_of_a_passing_failure_counts_but_the_first(self) -> None:
        bench = Bench()
        bench.fail()
        bench.start()
        assert bench.restarts == 0
        bench.fail()
        bench.pass_time(1)
        assert bench.restarts == 1

    def test_a_start_out_of_back_off_is_an_operators(self) -> None:
        bench = Bench()
        bench.start()
        bench.exit(1)
        bench.start()
        assert bench.restarts == 0

    def test_a_start_of_what_is_up_does_not_hide_the_next_restart(self) -> None:
        bench = Bench()
        bench.start()
        bench.start()
        bench.pass_time(60)
        bench.start()
        bench.exit(1)
        assert bench.restarts == 1


class TestSignal:
    def test_it_goes_to_the_main_process_alone(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        outcome = bench.process.signal(SIGHUP)
        assert (outcome.result, outcome.text) == (Result.SIGNALLED, f"sent SIGHUP to pid {pid}")
        assert bench.spawner.alive[pid].signals == [SIGHUP]
        assert bench.sessions.signals == []

    def test_what_is_down_gets_none(self) -> None:
        outcome = Bench().process.signal(SIGHUP)
        assert (outcome.result, outcome.text) == (Result.FAILED, "not up, SIGHUP not sent")

    def test_one_that_has_ended_meanwhile_gets_none(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        bench.spawner.alive[pid].pid = None
        assert bench.process.signal(10).text == "not up, SIGUSR1 not sent"

    def test_one_that_may_not_be_signalled(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        bench.spawner.alive[pid].forbidden = True
        outcome = bench.process.signal(SIGHUP)
        assert outcome.result is Result.FAILED
        assert outcome.text == f"no permission to send SIGHUP to pid {pid}"

    def test_a_signal_without_a_name_is_a_number(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        assert bench.process.signal(40).text == f"sent signal 40 to pid {pid}"


class TestHowItEnded:
    @pytest.mark.parametrize(
        ("how", "told"),
        [
            ({"code": 0}, "exited with code 0 after 2.0 s"),
            ({"code": 77}, "exited with code 77 after 2.0 s"),
            ({"signal": SIGKILL}, "ended by SIGKILL after 2.0 s"),
            ({"signal": SIGSEGV, "core": True}, "ended by SIGSEGV, core dumped after 2.0 s"),
            ({"signal": 40}, "ended by signal 40 after 2.0 s"),
        ],
    )
    def test_in_words(self, how: dict[str, int], told: str) -> None:
        bench = Bench(auto_restart=AutoRestart.NEVER)
        bench.come_up()
        bench.pass_time(1)
        bench.exit(**how)
        assert bench.detail == told

    def test_nobody_knows(self) -> None:
        bench = Bench(auto_restart=AutoRestart.NEVER)
        bench.come_up()
        bench.spawner.lose(bench.process.pid)
        assert bench.detail == "ended for an unknown reason after 1.0 s"

    def test_an_unknown_end_is_not_an_expected_one(self) -> None:
        bench = Bench(exit_codes=frozenset({0}), backoff_limit=1)
        bench.come_up()
        bench.spawner.lose(bench.process.pid)
        assert bench.state is State.STARTING


class TestWhatIsPublished:
    def test_each_change_with_pid_and_reason(self) -> None:
        bench = Bench(backoff_limit=1)
        bench.start()
        pid = bench.process.pid
        bench.exit(1)
        told = [(each.before, each.after, each.pid) for each in bench.listener.changes]
        assert told == [
            (State.STOPPED, State.STARTING, pid),
            (State.STARTING, State.FATAL, 0),
        ]
        assert bench.listener.changes[-1].detail == bench.detail

    def test_a_restart_by_the_policy_is_a_change_though_the_state_stays(self) -> None:
        bench = Bench(start_seconds=0.0)
        bench.come_up()
        bench.pass_time(60)
        bench.listener.changes.clear()
        bench.exit(1)
        assert bench.listener.states() == [State.RUNNING]
        assert bench.listener.changes[0].before is State.RUNNING
        told = bench.listener.changes[0].detail
        assert told == "the one before exited with code 1 after 1:00"
        assert bench.process.status().since == 0

    def test_a_restart_tells_how_the_one_before_has_ended(self) -> None:
        bench = Bench(backoff_limit=1)
        bench.come_up()
        bench.pass_time(60)
        bench.listener.changes.clear()
        bench.exit(signal=9)
        bench.pass_time(5)
        told = [(each.after, each.detail) for each in bench.listener.changes]
        ended = "the one before ended by SIGKILL after 1:01"
        assert told == [(State.STARTING, ended), (State.RUNNING, "")]
        assert bench.detail == "", "it says nothing of the process that is there"

    def test_a_failed_start_says_why_not(self) -> None:
        bench = Bench()
        bench.fail("no such command", permanent=True)
        bench.start()
        assert bench.listener.states() == [State.FATAL]

    def test_nothing_is_told_when_nothing_changes(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.listener.changes.clear()
        bench.start()
        bench.process.handle(lifeevents.StartAsked())
        assert bench.listener.changes == []


class TestGoingUp:
    def test_what_is_being_restarted_is(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.restart()
        assert bench.state is State.STOPPING
        assert bench.process.going_up

    def test_what_waits_for_its_next_try_is(self) -> None:
        bench = Bench()
        bench.start()
        bench.exit(1)
        assert bench.state is State.BACKOFF
        assert bench.process.going_up

    def test_what_has_ended_and_leaves_others_behind_is_not(self) -> None:
        bench = Bench(exit_codes=frozenset({0}))
        bench.sessions.others.add(bench.come_up())
        bench.exit(0)
        assert (bench.state, bench.process.life.wanted) == (State.STOPPING, True)
        assert not bench.process.going_up


class TestTrouble:
    """What must not happen, and what becomes of the program if it does."""

    def test_an_event_that_cannot_happen_changes_nothing(self) -> None:
        bench = Bench()
        with pytest.raises(InvalidTransition):
            bench.process.handle(lifeevents.Spawned())
        assert bench.state is State.STOPPED
        bench.come_up()

    def test_a_failure_while_an_event_is_handled_does_not_stop_the_next_ones(self) -> None:
        bench = Bench()
        bench.not_prepared.append(KeyError("a mistake of ours"))
        with pytest.raises(KeyError):
            bench.process.handle(lifeevents.StartAsked())
        bench.process.handle(lifeevents.SpawnFailed(permanent=True))
        assert bench.state is State.FATAL
        bench.come_up()

    def test_one_who_waits_may_ask_for_the_next_thing_at_once(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()

        async def stop_and_start() -> Result:
            await bench.process.stop()
            return (await bench.process.start()).result

        both = Asked(stop_and_start())
        bench.pass_time(1)
        assert both.answer is Result.STARTED
