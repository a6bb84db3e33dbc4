"""One program: its process, its timer, and what those who wait for it are told."""

from __future__ import annotations

from dataclasses import replace
from signal import SIGHUP, SIGKILL, SIGTERM

from fakes.asking import Asked
from fakes.bench import Bench

from supervisortw.core.model import AutoRestart, StopScope, StopStep
from supervisortw.core.states import State
from supervisortw.core.status import Result
from supervisortw.daemon.admission import Prospect


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


class TestHowToStop:
    STEPS = (StopStep(signal=SIGHUP, wait=1.0), StopStep(signal=SIGTERM, wait=2.0))

    def test_step_by_step_and_then_kill(self) -> None:
        bench = Bench(stop_steps=self.STEPS)
        pid = bench.come_up()
        bench.sessions.immortal.add(pid)
        bench.stop()
        sent = []
        for _ in range(5):
            sent.append(bench.sessions.signals[-1])
            [wait] = bench.timers()
            bench.pass_time(wait)
            sent.append(wait)
        assert sent == [
            *[(pid, SIGHUP), 1.0, (pid, SIGTERM), 2.0],
            *[(pid, SIGKILL), 1.0, (pid, SIGKILL), 1.0, (pid, SIGKILL), 1.0],
        ]

    def test_every_stop_begins_with_the_first_step(self) -> None:
        bench = Bench(stop_steps=self.STEPS)
        for _ in range(2):
            pid = bench.come_up()
            bench.stop()
            assert bench.sessions.signals[-1] == (pid, SIGHUP)
            bench.pass_time(100)
            assert bench.state is State.STOPPED

    def test_no_steps_mean_kill(self) -> None:
        bench = Bench(stop_steps=())
        pid = bench.come_up()
        stopping = bench.stop()
        bench.pass_time()
        assert bench.sessions.signals == [(pid, SIGKILL)]
        assert stopping.answer.result is Result.STOPPED

    def test_steps_that_were_taken_away_meanwhile(self) -> None:
        bench = Bench(stop_steps=self.STEPS)
        pid = bench.come_up()
        bench.sessions.immortal.add(pid)
        bench.stop()
        bench.pass_time(1)
        bench.process.program = replace(bench.process.program, stop_steps=())
        bench.pass_time(2)
        assert bench.sessions.signals[-1] == (pid, SIGKILL)

    def test_the_leader_alone(self) -> None:
        bench = Bench(stop_scope=StopScope.LEADER)
        pid = bench.come_up()
        bench.sessions.others.add(pid)
        stopping = bench.stop()
        assert bench.spawner.alive[pid].signals == [SIGTERM]
        assert bench.sessions.signals == []
        bench.exit(0)
        assert stopping.answer.result is Result.STOPPED
        assert bench.timers() == []

    def test_who_outlives_a_leader_alone_is_left_alone(self) -> None:
        bench = Bench(stop_scope=StopScope.LEADER, exit_codes=frozenset({0}))
        bench.sessions.others.add(bench.come_up())
        bench.exit(0)
        assert bench.state is State.EXITED
        assert bench.sessions.signals == []


READY = Prospect(ready=True, coming=True, text="db (RUNNING)")
COMING = Prospect(ready=False, coming=True, text="db (STARTING)")
HOPELESS = Prospect(ready=False, coming=False, text="db (FATAL)")


class TestWaiting:
    """A start that has to wait for what the program depends on."""

    def waiting(self, prospect: Prospect = COMING, **keys: object) -> Bench:
        bench = Bench(depends_on=("db",), **keys)
        bench.prospects["db"] = prospect
        return bench

    def become(self, bench: Bench, prospect: Prospect) -> None:
        bench.prospects["db"] = prospect
        bench.admission.look_again("db")

    def test_it_waits_without_a_process_and_says_for_what(self) -> None:
        bench = self.waiting()
        starting = bench.start()
        assert (bench.state, bench.process.pid) == (State.WAITING, 0)
        assert bench.detail == "waiting for db (STARTING)"
        assert bench.listener.states() == [State.WAITING]
        self.become(bench, READY)
        bench.pass_time(1)
        assert told(starting) == (Result.STARTED, f"started, pid {bench.process.pid}")

    def test_a_stop_calls_it_off(self) -> None:
        bench = self.waiting()
        starting, stopping = bench.start(), bench.stop()
        assert starting.answer.result is Result.SUPERSEDED
        assert told(stopping) == (Result.STOPPED, "stopped")
        self.become(bench, READY)
        bench.pass_time(10)
        assert bench.spawner.requests == []

    def test_a_restart_is_what_it_was_going_to_be(self) -> None:
        bench = self.waiting()
        bench.start()
        restarting = bench.restart()
        self.become(bench, READY)
        bench.pass_time(1)
        assert restarting.answer.result is Result.RESTARTED
        assert len(bench.spawner.requests) == 1

    def test_off_and_on_again_is_one_start(self) -> None:
        bench = self.waiting()
        bench.start()
        bench.stop()
        starting = bench.start()
        self.become(bench, READY)
        bench.pass_time(1)
        assert starting.answer.result is Result.STARTED
        assert len(bench.spawner.requests) == 1

    def test_a_failure_then_is_told_all_the_same(self) -> None:
        bench = self.waiting()
        bench.fail("command not found: web", permanent=True)
        starting = bench.start()
        self.become(bench, READY)
        bench.pass_time()
        assert told(starting) == (Result.FAILED, "command not found: web")

    def test_who_asks_does_not_wait_for_what_will_not_come(self) -> None:
        bench = self.waiting(HOPELESS)
        starting = bench.start()
        assert told(starting) == (Result.FAILED, "waiting for db (FATAL)")
        assert bench.state is State.WAITING

    def test_who_asks_is_told_when_hope_ends_and_it_starts_all_the_same_when_it_can(self) -> None:
        bench = self.waiting()
        starting = bench.start()
        self.become(bench, HOPELESS)
        assert told(starting) == (Result.FAILED, "waiting for db (FATAL)")
        self.become(bench, COMING)
        self.become(bench, READY)
        assert bench.state is State.STARTING

    def test_a_restart_by_the_policy_waits_as_well(self) -> None:
        bench = self.waiting(READY)
        bench.come_up()
        bench.pass_time(60)
        bench.prospects["db"] = COMING
        bench.exit(1)
        assert (bench.state, bench.restarts) == (State.WAITING, 0)
        self.become(bench, READY)
        assert (bench.state, bench.restarts) == (State.STARTING, 1)


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
