"""Whole sessions of real processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator

import pytest
import pytest_twisted
from leaving_out import leave_out
from twisted.internet import reactor, threads
from twisted.internet.defer import Deferred

from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.daemon.sessions import PosixSessions, find_members, posix_sessions
from supervisortw.interfaces import Ending, Escaped

pytestmark = pytest.mark.needs_linux

DAEMON = secrets.token_hex(8)

# A leader with a child in its group and one in a group of its own (job control makes groups).
TREE = "sleep 60 & set -m; sleep 60 & echo ready; wait"


@pytest.fixture(params=["pidfds", "time"])
def sessions(request: pytest.FixtureRequest) -> PosixSessions:
    watcher = PidfdWatcher(reactor) if request.param == "pidfds" else None
    return posix_sessions(reactor, threads.deferToThread, watcher, Cgroups(DAEMON, None))


def tree() -> subprocess.Popen[bytes]:
    leader = subprocess.Popen(["bash", "-c", TREE], stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    assert leader.stdout.readline() == b"ready\n"
    leader.stdout.close()
    return leader


async def members(sid: int) -> list[int]:
    """Return who lives in a session; what nobody has reaped yet does not live."""
    found = await find_members(threads.deferToThread)({sid})
    return found.get(sid, [])


def empty(sessions: PosixSessions, sid: int) -> Deferred[None]:
    emptied: Deferred[None] = Deferred()
    sessions.when_empty(sid, lambda: emptied.callback(None))
    return emptied.addTimeout(20, reactor)


@pytest_twisted.ensureDeferred
async def test_a_signal_reaches_every_group_of_the_session(sessions: PosixSessions) -> None:
    leader = tree()
    sessions.signal(leader.pid, signal.SIGKILL)
    leader.wait(20)
    await empty(sessions, leader.pid)
    assert await members(leader.pid) == []


@pytest_twisted.ensureDeferred
async def test_what_a_dead_leader_left_is_seen_and_waited_for(sessions: PosixSessions) -> None:
    leader = tree()
    leader.kill()
    leader.wait(20)
    assert sessions.has_others(leader.pid)
    emptied = empty(sessions, leader.pid)
    sessions.signal(leader.pid, signal.SIGTERM)
    await emptied
    assert await members(leader.pid) == []


@pytest_twisted.ensureDeferred
async def test_a_session_that_is_empty_already_is_told_later(sessions: PosixSessions) -> None:
    leader = subprocess.Popen(["true"], start_new_session=True)
    leader.wait(20)
    emptied = empty(sessions, leader.pid)
    assert not emptied.called
    await emptied


class Runaways:
    """Processes that lead sessions of their own, with the mark of a program in their environment."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, number: int = 1, *, deaf: bool = False, mark: str = "") -> Escaped:
        mark = mark or str(SpawnId(daemon=DAEMON, name=name, number=number))
        trap = "trap '' TERM; " if deaf else ""
        process = subprocess.Popen(
            ["sh", "-c", f"{trap}echo ready; exec sleep 60"],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], VARIABLE: mark},
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
        return Escaped(pid=process.pid, command="sleep")

    def alive(self) -> list[int]:
        return [process.pid for process in self.processes if process.poll() is None]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(20)


@pytest.fixture
def runaways() -> Iterator[Runaways]:
    started = Runaways()
    yield started
    started.end()


def spawn(name: str, number: int = 1) -> SpawnId:
    return SpawnId(daemon=DAEMON, name=name, number=number)


@pytest_twisted.ensureDeferred
async def test_who_has_escaped_is_found_by_its_mark(
    sessions: PosixSessions, runaways: Runaways
) -> None:
    first, second = runaways.start("g:web", 1), runaways.start("g:web", 2)
    later = runaways.start("g:web", 3)
    runaways.start("web")
    runaways.start("", mark=f"{secrets.token_hex(8)}:g:web:1")
    runaways.start("", mark=f"x{spawn('g:web')}")
    found = await sessions.find_escaped(spawn("g:web", 2), 0)
    assert {each.pid for each in found} == {first.pid, second.pid}
    found = await sessions.find_escaped(spawn("g:web", 3), later.pid)
    assert {each.pid for each in found} == {first.pid, second.pid}
    assert all(each.command in {"sh", "sleep"} for each in found)


@pytest_twisted.ensureDeferred
async def test_who_has_escaped_is_ended_and_nobody_else(
    sessions: PosixSessions, runaways: Runaways
) -> None:
    meant = [runaways.start("web").pid, runaways.start("web", deaf=True).pid]
    spared = [runaways.start("web", 3).pid, runaways.start("web", 2).pid, runaways.start("db").pid]
    ending = await sessions.end_escaped(spawn("web", 2), spared[1], 0.3)
    assert sorted(each.pid for each in ending.ended) == sorted(meant)
    assert ending.left == ()
    assert sorted(runaways.alive()) == sorted(spared)


@pytest_twisted.ensureDeferred
async def test_nobody_has_escaped(sessions: PosixSessions) -> None:
    assert await sessions.find_escaped(spawn("web"), 0) == ()
    assert await sessions.end_escaped(spawn("web"), 0, 5) == Ending()


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    found = Cgroups.find(DAEMON)
    if found.why_not() is not None:
        leave_out(f"needs a cgroup2 of our own: {found.why_not()}")
    yield found
    assert found.remove("g:web")


@pytest.mark.needs_root
@pytest_twisted.ensureDeferred
async def test_who_has_wiped_its_mark_is_found_by_its_cgroup(
    cgroups: Cgroups, runaways: Runaways
) -> None:
    wiped = runaways.start("", mark="none").pid
    deaf = runaways.start("", mark="none", deaf=True).pid
    outside = runaways.start("", mark="none").pid
    leaf = cgroups.directory_for("g:web")
    for pid in (wiped, deaf):
        with open(f"{leaf}/cgroup.procs", "w", encoding="utf-8") as file:
            file.write(str(pid))
    assert sorted(cgroups.members("g:web")) == sorted([wiped, deaf])
    assert cgroups.has("g:web", wiped)
    assert not cgroups.has("g:web", outside)
    assert not cgroups.remove("g:web")
    sessions = posix_sessions(reactor, threads.deferToThread, PidfdWatcher(reactor), cgroups)
    found = await sessions.find_escaped(spawn("g:web"), 0)
    assert sorted(each.pid for each in found) == sorted([wiped, deaf])
    ending = await sessions.end_escaped(spawn("g:web"), 0, 0.3)
    assert sorted(each.pid for each in ending.ended) == sorted([wiped, deaf])
    assert runaways.alive() == [outside]


@pytest.mark.needs_root
def test_a_cgroup_is_killed_at_once(cgroups: Cgroups, runaways: Runaways) -> None:
    meant = [runaways.start("", mark="none").pid for _ in range(3)]
    leaf = cgroups.directory_for("g:web")
    for pid in meant:
        with open(f"{leaf}/cgroup.procs", "w", encoding="utf-8") as file:
            file.write(str(pid))
    if not cgroups.kill("g:web"):
        leave_out("needs Linux 5.14")
    for process in runaways.processes:
        assert process.wait(20) == -signal.SIGKILL
