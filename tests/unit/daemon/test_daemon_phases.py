"""What is done for many processes in phases, and in which order it reaches the disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.daemon import FakeDaemon, program

from supervisortw.core.limits import LIMITS
from supervisortw.core.states import State
from supervisortw.daemon.phases import ending

NAMES = [f"p{number:02}" for number in range(LIMITS.spawns_under_way + 3)]


@pytest.fixture
def daemon() -> FakeDaemon:
    daemon = FakeDaemon(*(program(name, backoff_limit=1) for name in NAMES))
    daemon.supervisor.boot()
    daemon.pass_time(60)
    return daemon


def kill_all(daemon: FakeDaemon) -> list[int]:
    """Kill all of them in one turn; return their pids."""
    pids = [daemon.pid(name) for name in NAMES]
    with ending(daemon.journal, daemon.supervisor.admission):
        for pid in pids:
            daemon.spawner.exit(pid, signal=9)
        assert not daemon.spawner.alive, "first all ends are seen, then somebody is started"
    return pids


def test_all_are_back(daemon: FakeDaemon) -> None:
    old = kill_all(daemon)
    daemon.pass_time()
    assert daemon.up() == NAMES
    assert not {daemon.pid(name) for name in NAMES} & set(old)
    left = daemon.journal.left
    assert [left.processes[name].pid for name in NAMES] == [daemon.pid(name) for name in NAMES]
    assert all(len(left.exits[name]) == 1 for name in NAMES)


def test_each_mark_is_written_before_anybody_is_started(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = daemon.spawner._run
    seen: list[str] = []

    def look(*arguments: object) -> object:
        left = daemon.journal.left
        mark = daemon.supervisor.roster[NAMES[len(seen)]].memory.spawn
        assert mark.number > len(NAMES)
        assert left.processes[mark.name].spawn == mark
        assert is_being_made(left.processes[mark.name].life)
        seen.append(mark.name)
        return run(*arguments)

    monkeypatch.setattr(daemon.spawner, "_run", look)
    kill_all(daemon)
    assert seen == NAMES
    assert not daemon.journal.left.exits, "that can wait"
    daemon.pass_time()
    assert set(daemon.journal.left.exits) == set(NAMES)


def is_being_made(life: object) -> bool:
    return life.state is State.STARTING and not life.spawned


def test_what_fails_in_between_leaves_nothing_unwritten(daemon: FakeDaemon) -> None:
    def fail() -> Iterator[None]:
        with ending(daemon.journal, daemon.supervisor.admission):
            daemon.spawner.exit(daemon.pid("p00"), code=7)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    daemon.pass_time()
    assert daemon.pid("p00") == daemon.journal.left.processes["p00"].pid
    assert len(daemon.journal.left.exits["p00"]) == 1
