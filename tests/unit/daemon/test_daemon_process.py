"""One program: its process, its timer, and what those who wait for it are told."""

from __future__ import annotations

from dataclasses import replace
from signal import SIGHUP, SIGKILL, SIGSEGV, SIGTERM

import pytest
from fakes.asking import Asked
from fakes.bench import Bench

from supervisortw.core import lifecycle
from supervisortw.core.model import AutoRestart, StopStep
from supervisortw.core.states import State
from supervisortw.core.status import Result
from supervisortw.errors import InvalidTransition, SpawnError


def told(asked: Asked) -> tuple[Result, str]:
    return asked.answer.result, asked.answer.text


class TestStart:
    def test_before_the_first_start(self) -> None:
        bench = Bench()
        bench.clock.advance(7)
        status = bench.process.status()
        assert (status.name, status.state, status.wanted) == ("web", State.STOPPED, False)
        assert (status.pid, status.since, status.restarts) == (0, 7, 0)
        assert status.detail == "not started"
        assert not bench.process.up
        assert not bench.process.going_up

    def test_it_is_up_after_start_seconds(self) -> None:
        bench = Bench(start_seconds=2.5)
        started = bench.start()
        assert bench.state is State.STARTING
        assert (bench.process.up, bench.process.going_up) == (True, True)
        assert bench.timers() == [2.5]
        bench.pass_time(2.4)
        assert not started.done
        bench.pass_time(0.1)
        assert told(started) == (Result.STARTED, f"started, pid {bench.process.pid}")
        assert bench.state is State.RUNNING
        assert bench.timers() == []
        assert bench.detail == ""

    def test_since_is_the_age_of_the_process_or_of_the_state(self) -> None:
        bench = Bench()
        bench.pass_time(5)
        assert bench.process.status().since == 5
        bench.come_up()
        bench.pass_time(1)
        assert bench.process.status().since == 2
        bench.exit(1)
        assert bench.state is State.BACKOFF
        bench.clock.advance(0.5)
        assert bench.process.status().since == 0.5

    def test_without_start_seconds_it_is_up_at_once(self) -> None:
        bench = Bench(start_seconds=0.0)
        assert told(bench.start()) == (Result.STARTED, f"started, pid {bench.process.pid}")
        assert bench.timers() == []

    def test_what_is_up_is_left_alone(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        assert told(bench.start()) == (Result.ALREADY_UP, f"already up, pid {pid}")
        assert len(bench.spawner.requests) == 1

    def test_two_at_once_start_one_process_and_are_both_told(self) -> None:
        bench = Bench()
        first, second = bench.start(), bench.start()
        bench.pass_time(1)
        assert told(first) == told(second)
        assert len(bench.spawner.requests) == 1

    def test_what_was_prepared_is_closed_after_the_spawn(self) -> None:
        bench = Bench()
        bench.come_up()
        assert [each.name for each in bench.prepared] == ["web"]
        assert bench.preparing == 0

    def test_the_next_process_is_of_the_program_as_it_is_then(self) -> None:
        bench = Bench()
        bench.come_up()
        changed = replace(bench.process.program, command=("web2",))
        bench.process.program = changed
        bench.exit(1)
        bench.pass_time(1)
        assert bench.prepared[-1] is changed

    def test_ending_while_starting_fails_the_start_with_the_reason(self) -> None:
        bench = Bench()
        started = bench.start()
        bench.clock.advance(0.4)
        bench.exit(3)
        reason = "exited with code 3 after 0.4 s, too quickly; next try in 1 s"
        assert told(started) == (Result.FAILED, reason)
        assert bench.state is State.BACKOFF

    def test_ending_as_the_configuration_allows_is_no_failure(self) -> None:
        bench = Bench(exit_codes=frozenset({3}))
        started = bench.start()
        bench.exit(3)
        assert told(started) == (Result.ENDED, "exited with code 3 after 0.0 s")
        assert bench.state is State.EXITED

    def test_ending_unexpectedly_fails_even_without_a_restart(self) -> None:
        bench = Bench(auto_restart=AutoRestart.NEVER)
        started = bench.start()
        bench.exit(1)
        assert told(started) == (Result.FAILED, "exited with code 1 after 0.0 s")
        assert bench.state is State.EXITED

    def test_what_was_given_up_can_be_started_again(self) -> None:
        bench = Bench(backoff_limit=1)
        bench.start()
        bench.exit(1)
        assert bench.state is State.FATAL
        bench.come_up()
        assert bench.state is State.RUNNING

    def test_in_back_off_it_starts_at_once(self) -> None:
        bench = Bench()
        bench.start()
        bench.exit(1)
        assert bench.state is State.BACKOFF
        started = bench.start()
        assert len(bench.spawner.alive) == 1
        bench.pass_time(1)
        assert started.answer.result is Result.STARTED
        assert bench.timers() == []


class TestStop:
    def test_it_waits_until_the_whole_session_is_gone(self) -> None:
        bench = Bench()
        pid = bench.come_up()
        stopping = bench.stop()
        assert bench.state is State.STOPPING
        assert bench.detail == "waiting for it to end"
        assert bench.sessions.signals == [(pid, SIGTERM)]
        assert bench.timers() == [10.0]
        bench.pass_time(2)
        bench.sessions.others.add(pid)
        bench.exit(signal=SIGTERM)
        assert bench.sessions.waited_for == {pid}
        bench.pass_time(1)
        assert not stopping.done
        assert (bench.process.up, bench.process.going_up) == (False, False)
        bench.sessions.end_others(pid)
        bench.pass_time()
        assert told(stopping) == (Result.STOPPED, "stopped; ended by SIGTERM after 3.0 s")
        assert bench.state is State.STOPPED
        assert bench.timers() == []

    def test_after_stop_wait_seconds_it_is_killed_again_and_again(self) -> None:
        bench = Bench(stop_steps=(StopStep(signal=SIGTERM, wait=4.0),))
        pid = bench.come_up()
        bench.sessions.immortal.add(pid)
        stopping = bench.stop()
        bench.pass_time(3.9)
        assert bench.sessions.signals == [(pid, SIGTERM)]
        bench.pass_time(0.1)
        assert bench.sessions.signals == [(pid, SIGTERM), (pid, SIGKILL)]
        bench.pass_time(3)
        assert bench.sessions.signals[2:] == [(pid, SIGKILL)] * 3
        bench.sessions.immortal.clear()
        bench.pass_time(1)
        assert told(stopping) == (Result.STOPPED, "stopped; ended by SIGKILL after 9.0 s")
        assert bench.timers() == []

    def test_what_is_down_stays_down(self) -> None:
        bench = Bench()
        assert told(bench.stop()) == (Result.ALREADY_DOWN, "already down")
        bench.fail("no such file", permanent=True)
        bench.start()
        assert told(bench.stop()) == (Result.ALREADY_DOWN, "already down")
        assert (bench.state, bench.process.life.wanted) == (State.FATAL, False)

    def test_in_back_off_it_is_over_at_once(self) -> None:
        bench = Bench()
        bench.start()
        bench.exit(1)
        assert told(bench.stop()) == (Result.STOPPED, "stopped")
        assert bench.state is State.STOPPED
        assert bench.timers() == []

    def test_two_at_once_send_one_signal_and_are_both_told(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        first, second = bench.stop(), bench.stop()
        bench.pass_time()
        assert told(first) == told(second) == (Result.STOPPED, bench.detail)
        assert len(bench.sessions.signals) == 1

    def test_what_was_stopped_does_not_come_back(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        bench.stop()
        bench.pass_time(1000)
        assert bench.state is State.STOPPED
        assert len(bench.spawner.requests) == 1


class TestRestart:
    def test_a_new_process_takes_the_place_of_the_old(self) -> None:
        bench = Bench(obedient=True)
        old = bench.come_up()
        restarting = bench.restart()
        assert bench.state is State.STOPPING
        bench.pass_time(1)
        new = bench.process.pid
        assert new != old
        assert told(restarting) == (Result.RESTARTED, f"restarted, pid {new} (was {old})")
        assert bench.spawner.most_alive == 1

    def test_what_is_down_is_started(self) -> None:
        bench = Bench()
        restarting = bench.restart()
        bench.pass_time(1)
        assert told(restarting) == (Result.RESTARTED, f"restarted, pid {bench.process.pid}")

    def test_while_it_is_being_stopped_it_comes_back_afterwards(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        stopping, restarting = bench.stop(), bench.restart()
        bench.pass_time(1)
        assert told(stopping) == (Result.SUPERSEDED, "somebody else started it meanwhile")
        assert restarting.answer.result is Result.RESTARTED
        assert len(bench.spawner.requests) == 2

    def test_while_it_starts_it_is_started_anew(self) -> None:
        bench = Bench(obedient=True)
        starting, restarting = bench.start(), bench.restart()
        bench.pass_time(2)
        assert starting.answer.result is Result.STARTED
        assert restarting.answer.result is Result.RESTARTED
        assert len(bench.spawner.requests) == 2

    def test_a_restart_that_fails_tells_the_reason(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        bench.fail("command not found: web", permanent=True)
        restarting = bench.restart()
        bench.pass_time(1)
        assert told(restarting) == (Result.FAILED, "command not found: web")
        assert bench.state is State.FATAL

    def test_it_is_one_event_from_the_first_state_to_the_last(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        bench.listener.changes.clear()
        bench.restart().cancel()
        bench.pass_time(1)
        expected = [State.STOPPING, State.STARTING, State.RUNNING]
        assert bench.listener.states() == expected


class TestContradictions:
    def test_a_stop_during_a_start(self) -> None:
        bench = Bench(obedient=True)
        starting, stopping = bench.start(), bench.stop()
        bench.pass_time(5)
        assert told(starting) == (Result.SUPERSEDED, "somebody else stopped it meanwhile")
        assert stopping.answer.result is Result.STOPPED
        assert bench.state is State.STOPPED

    def test_a_start_during_a_stop(self) -> None:
        bench = Bench(obedient=True)
        old = bench.come_up()
        stopping, starting = bench.stop(), bench.start()
        bench.pass_time(5)
        assert told(stopping) == (Result.SUPERSEDED, "somebody else started it meanwhile")
        assert told(starting) == (Result.STARTED, f"started, pid {bench.process.pid}")
        assert bench.process.pid != old

    def test_the_last_word_counts(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        asked = [bench.stop(), bench.start(), bench.restart(), bench.stop()]
        bench.pass_time(5)
        assert bench.state is State.STOPPED
        assert [each.answer.result for each in asked] == [
            Result.STOPPED,
            Result.SUPERSEDED,
            Result.SUPERSEDED,
            Result.STOPPED,
        ]


class TestThoseWhoGoAway:
    """A client that stops waiting changes nothing for the program, nor for others who wait."""

    def test_a_start_that_nobody_waits_for_any_more(self) -> None:
        bench = Bench()
        gone, other = bench.start(), bench.start()
        gone.cancel()
        bench.pass_time(1)
        assert other.answer.result is Result.STARTED
        assert bench.state is State.RUNNING

    def test_a_restart_that_nobody_waits_for_any_more(self) -> None:
        bench = Bench(obedient=True)
        old = bench.come_up()
        bench.restart().cancel()
        bench.pass_time(1)
        assert bench.state is State.RUNNING
        assert bench.process.pid != old

    def test_a_stop_that_nobody_waits_for_any_more(self) -> None:
        bench = Bench(obedient=True)
        bench.come_up()
        bench.stop().cancel()
        bench.pass_time(1)
        assert bench.state is State.STOPPED


class TestFailedSpawns:
    def test_a_permanent_one_is_fatal_and_says_why(self) -> None:
        bench = Bench()
        bench.fail("command not found: web", permanent=True)
        assert told(bench.start()) == (Result.FAILED, "command not found: web")
        assert bench.state is State.FATAL
        assert bench.detail == "command not found: web"
        assert bench.timers() == []
        assert (bench.process.pid, bench.preparing) == (0, 0)

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
        assert bench.detail == "given up after 2 deaths too quickly; exited with code 1 after 0.0 s"


class TestGivenUp:
    def test_after_too_many_quick_deaths(self) -> None:
        bench = Bench(start_retries=1)
        bench.start()
        for _ in range(2):
            bench.exit(signal=SIGSEGV)
            bench.pass_time(1)
        assert bench.state is State.FATAL
        assert bench.detail == ("given up after 2 deaths too quickly; ended by SIGSEGV after 0.0 s")

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
        chances = iter([0.5, 0.5, 0.0, 0.75])
        bench.process._random = lambda: next(chances)
        bench.start()
        waits = []
        for _ in range(4):
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
        assert bench.listener.states() == [State.STARTING, State.RUNNING]
        assert bench.process.status().since == 0

    def test_a_failed_start_says_starting_and_then_why_not(self) -> None:
        bench = Bench()
        bench.fail("no such command", permanent=True)
        bench.start()
        assert bench.listener.states() == [State.STARTING, State.FATAL]

    def test_nothing_is_told_when_nothing_changes(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.listener.changes.clear()
        bench.start()
        bench.process.handle(lifecycle.StartAsked())
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
            bench.process.handle(lifecycle.Spawned())
        assert bench.state is State.STOPPED
        bench.come_up()

    def test_a_failure_while_an_event_is_handled_does_not_stop_the_next_ones(self) -> None:
        bench = Bench()
        bench.not_prepared.append(KeyError("a mistake of ours"))
        with pytest.raises(KeyError):
            bench.process.handle(lifecycle.StartAsked())
        bench.process.handle(lifecycle.SpawnFailed(permanent=True))
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
