"""What a slot leaves for later: to see to a new process, and to write down how the last one has ended."""

from __future__ import annotations

from signal import SIGTERM

import pytest
from fakes.asking import Asked, answer
from fakes.bench import Bench
from fakes.daemon import DAYBREAK, FakeDaemon, program

from supervisortw.core.model import StopStep
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.core.status import Result

ASKING = (StopStep(signal=None, wait=2.0), StopStep(signal=SIGTERM, wait=5.0))


@pytest.fixture
def bench() -> Bench:
    """A program that has just died and come back, in a storm."""
    bench = Bench(start_seconds=1.0, backoff_limit=0)
    bench.come_up()
    bench.pass_time(60)
    bench.listener.changes.clear()
    bench.is_calm = False
    bench.exit(3)
    return bench


def last_recorded(bench: Bench) -> object:
    return bench.recorded[-1].get("pid"), bench.recorded[-1]["state"]


def test_the_process_is_there_and_can_be_steered(bench: Bench) -> None:
    assert bench.state is State.STARTING
    assert bench.process.up
    assert bench.process.status().pid == bench.process.pid
    outcome = bench.process.signal(10)
    assert outcome.result is Result.SIGNALLED


def test_its_mark_was_written_down_and_the_rest_was_not(bench: Bench) -> None:
    assert last_recorded(bench) == (0, "STARTING")
    assert bench.recorded[-1]["spawn"] == "abc:web:2"
    assert bench.made[-1] == bench.process.pid, "but for what it is known by"
    assert not bench.exits
    assert not bench.listener.changes
    assert bench.timers() == []


def test_it_is_seen_to_once_it_is_calm(bench: Bench) -> None:
    bench.calm_down()
    assert last_recorded(bench) == (bench.process.pid, "STARTING")
    assert [exit.ended.code for exit in bench.exits] == [3]
    assert bench.timers() == [1.0]
    assert len(bench.recorded) == len({str(each) for each in bench.recorded})
    [change] = bench.listener.changes
    assert change.detail == "the one before exited with code 3 after 1:01"


def test_the_time_that_is_told_is_that_of_its_start(bench: Bench) -> None:
    made = bench.clock.seconds()
    bench.clock.advance(0.5)
    bench.calm_down()
    [change] = bench.listener.changes
    assert change.time == DAYBREAK + made
    assert bench.process.memory.started == made
    bench.pass_time(1)
    assert bench.listener.changes[-1].time == DAYBREAK + made + 1.5


def test_it_is_seen_to_before_anything_else_happens_to_it(bench: Bench) -> None:
    bench.stop()
    assert bench.state is State.STOPPING
    assert [each.after for each in bench.listener.changes] == [State.STARTING, State.STOPPING]
    bench.calm_down()
    bench.exit(0)
    bench.pass_time()
    assert bench.state is State.STOPPED
    assert len(bench.exits) == 2


def test_what_it_says_counts(bench: Bench) -> None:
    bench = Bench(notify=True, ready_seconds=9.0)
    bench.is_calm = False
    started = bench.start()
    bench.process.heard(Notice(ready=True))
    assert bench.state is State.RUNNING
    assert started.done


def test_one_that_ends_meanwhile_was_there(bench: Bench) -> None:
    first = bench.process.pid
    bench.exit(4)
    bench.calm_down()
    assert [exit.ended.code for exit in bench.exits] == [3, 4]
    change = bench.listener.changes[0]
    assert (change.after, change.pid) == (State.STARTING, first)


def test_an_end_is_written_down_though_the_next_process_takes_long() -> None:
    bench = Bench()
    bench.come_up()
    bench.pass_time(60)
    bench.is_calm = False
    bench.spawner.hold = True
    bench.exit(3)
    assert not bench.exits
    bench.calm_down()
    assert len(bench.exits) == 1
    assert bench.state is State.STARTING
    bench.spawner.release()
    bench.calm_down()
    assert len(bench.exits) == 1
    assert bench.process.up


def test_an_end_that_nothing_follows_at_once_is_written_down_at_once() -> None:
    bench = Bench(restart_delay=5.0)
    bench.come_up()
    bench.is_calm = False
    bench.exit(3)
    assert bench.state is State.BACKOFF
    assert len(bench.exits) == 1


def test_who_asks_why_hears_of_the_last_end() -> None:
    daemon = FakeDaemon(program("web", backoff_limit=0))
    daemon.supervisor.boot()
    daemon.pass_time(60)
    daemon.spawner.exit(daemon.pid("web"), code=3)
    assert not daemon.journal.left.exits
    [why] = answer(daemon.supervisor.why(["web"])).programs
    assert [exit.ended.code for exit in why.exits] == [3]
    daemon.pass_time()
    assert len(daemon.journal.left.exits["web"]) == 1


def test_what_a_reload_has_changed_meanwhile_is_made_anew() -> None:
    bench = Bench(start_seconds=1.0)
    bench.spawner.hold = True
    bench.start()
    bench.process.outdate()
    bench.restart()
    bench.spawner.hold = False
    bench.spawner.release()
    first = bench.process.pid
    assert bench.state is State.STOPPING
    bench.exit(0)
    bench.pass_time(1)
    assert bench.state is State.RUNNING
    assert bench.process.pid != first
    assert len(bench.prepared) == 2


def test_nobody_is_asked_to_stop_who_has_ended(bench: Bench) -> None:
    bench = Bench(stop_command=("quit",), stop_steps=ASKING)
    bench.spawner.hold = True
    bench.start()
    bench.stop()
    bench.is_calm = False
    bench.spawner.hold = False
    bench.spawner.release()
    bench.exit(3)
    assert bench.asked_to_stop == []
    bench.calm_down()
    bench.pass_time(100)
    assert bench.state is State.STOPPED


def test_what_follows_on_a_process_that_was_seen_to_is_written_down_before_it_is_there() -> None:
    numbered = {"process_name": "p%(process_num)d", "logfile": "/%(process_num)d"}
    daemon = FakeDaemon(program("web", start_seconds=0.0, processes=1, **numbered))
    daemon.supervisor.boot()
    daemon.pass_time(60)
    [process] = daemon.supervisor.roster.of_program("web")
    daemon.spawner.exit(process.pid, code=3)
    scaled = [Asked(daemon.supervisor.scale("web", count)) for count in (2, 3)]
    daemon.pass_time(60)  # where FakeDaemon looks at the journal whenever a process is made
    assert all(each.done for each in scaled)
    assert len(daemon.spawner.alive) == 3
    assert len(daemon.journal.left.processes) == 3
