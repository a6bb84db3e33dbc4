"""Whole sessions of real processes."""

from __future__ import annotations

import signal
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor, threads
from twisted.internet.defer import Deferred

from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.daemon.sessions import PosixSessions, find_members

pytestmark = pytest.mark.needs_linux

# A leader with a child in its group and one in a group of its own (job control makes groups).
TREE = "sleep 60 & set -m; sleep 60 & echo ready; wait"


@pytest.fixture(params=["pidfds", "time"])
def sessions(request: pytest.FixtureRequest) -> PosixSessions:
    watcher = PidfdWatcher(reactor) if request.param == "pidfds" else None
    return PosixSessions(reactor, find_members(threads.deferToThread), watcher)


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
