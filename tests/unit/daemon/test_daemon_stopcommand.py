"""Asking a program to end by a command of its own."""

from __future__ import annotations

from signal import SIGKILL

from fakes.bench import Bench
from fakes.logged import log_lines

from supervisortw.core.model import StopStep
from supervisortw.core.states import State
from supervisortw.core.status import Result
from supervisortw.errors import SpawnError

STEPS = (StopStep(signal=None, wait=5.0), StopStep(signal=15, wait=10.0))


def stopping(**keys: object) -> Bench:
    """Return a bench whose program is asked to end."""
    bench = Bench(stop_steps=STEPS, stop_command=("quit", "-f"), **keys)
    bench.pid_before = bench.come_up()
    bench.stop_asked = bench.stop()
    return bench


def command(bench: Bench) -> int:
    [pid] = bench.stop_spawner.alive
    return pid


def test_it_is_run_with_the_pid_of_the_main_process() -> None:
    bench = stopping()
    assert bench.asked_to_stop == [bench.pid_before]
    assert bench.stop_spawner.started == ["quit"]
    assert bench.sessions.signals == []


def test_a_program_that_obeys_is_not_signalled_and_what_it_left_is() -> None:
    bench = stopping()
    bench.pass_time(1)
    assert bench.sessions.signals == []
    bench.exit(0)
    assert bench.sessions.signals == [(bench.pid_before, 15)]
    bench.stop_spawner.exit(command(bench))
    bench.pass_time(0)
    assert bench.stop_asked.answer.result is Result.STOPPED
    assert bench.timers() == []


def test_signals_follow_when_its_time_is_over() -> None:
    bench = stopping()
    bench.stop_spawner.exit(command(bench))
    bench.pass_time(4.9)
    assert bench.sessions.signals == []
    bench.pass_time(0.2)
    assert bench.sessions.signals == [(bench.pid_before, 15)]


def test_signals_follow_at_once_when_it_fails() -> None:
    bench = stopping()
    with log_lines() as lines:
        bench.stop_spawner.exit(command(bench), code=3)
    assert bench.sessions.signals == [(bench.pid_before, 15)]
    assert lines == ["web: its stop-command exited with code 3 after 0.0 s"]


def test_signals_follow_at_once_when_it_cannot_be_run() -> None:
    bench = Bench(stop_steps=STEPS, stop_command=("quit",))
    pid = bench.come_up()
    bench.stop_spawner.failures.append(SpawnError("command not found: quit", permanent=True))
    with log_lines() as lines:
        bench.stop()
    assert bench.sessions.signals == [(pid, 15)]
    assert lines == ["web: stop-command: command not found: quit"]


def test_one_that_hangs_is_killed() -> None:
    bench = stopping()
    pid = command(bench)
    bench.pass_time(5.1)
    assert (pid, SIGKILL) in bench.sessions.signals
    bench.stop_spawner.exit(pid, signal=SIGKILL)
    assert bench.state is State.STOPPING


def test_what_a_late_one_says_means_nothing_to_the_next_process() -> None:
    bench = stopping()
    bench.exit(0)
    bench.pass_time(0)
    up = bench.come_up()
    bench.stop_spawner.exit(command(bench), code=3)
    assert (bench.state, bench.process.pid) == (State.RUNNING, up)
