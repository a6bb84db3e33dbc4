"""The spawner with real children, by each way of noticing their end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from supervisortw.daemon.spawn import PidfdWatcher, PosixSpawner, SigchldWatcher
from supervisortw.errors import SpawnError
from supervisortw.interfaces import SpawnRequest

MakeWatcher = Callable[[Any], Any]
pidfd_missing = pytest.mark.skipif(not PidfdWatcher.works(), reason="this kernel has no pidfds")
each_watcher = pytest.mark.parametrize(
    "make_watcher", [pytest.param(PidfdWatcher, marks=pidfd_missing), SigchldWatcher]
)


class Ending(ProcessProtocol):
    """Remembers in which order it was told what."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended: Deferred[Failure] = Deferred()
        self.ended.addTimeout(20, reactor)

    def connectionMade(self) -> None:
        self.told.append("connected")

    def processExited(self, reason: Failure) -> None:
        self.told.append("exited")

    def processEnded(self, reason: Failure) -> None:
        self.told.append("ended")
        self.ended.callback(reason.value)


def request(*command: str, **keys: Any) -> SpawnRequest:
    environment = {"PATH": "/usr/bin:/bin", "MARK": "here"}
    keys.setdefault("output", 2)
    return SpawnRequest(command=command, environment=environment, **keys)


@each_watcher
@pytest_twisted.ensureDeferred
async def test_a_child_runs_and_its_end_is_told_once(make_watcher: MakeWatcher) -> None:
    ending = Ending()
    transport = PosixSpawner(make_watcher(reactor)).spawn(ending, request("sh", "-c", "exit 0"))
    assert ending.told == ["connected"]
    assert transport.pid is not None
    assert isinstance(await ending.ended, ProcessDone)
    assert ending.told == ["connected", "exited", "ended"]
    assert transport.pid is None


@each_watcher
@pytest.mark.parametrize(
    ("command", "code", "number"),
    [("exit 3", 3, None), ("kill -TERM $$", None, signal.SIGTERM)],
)
@pytest_twisted.ensureDeferred
async def test_how_it_ended(
    make_watcher: MakeWatcher, command: str, code: int | None, number: int | None
) -> None:
    ending = Ending()
    PosixSpawner(make_watcher(reactor)).spawn(ending, request("sh", "-c", command))
    reason = await ending.ended
    assert isinstance(reason, ProcessTerminated)
    assert (reason.exitCode, reason.signal) == (code, number)


@each_watcher
@pytest_twisted.ensureDeferred
async def test_many_that_end_together_are_all_noticed(make_watcher: MakeWatcher) -> None:
    spawner = PosixSpawner(make_watcher(reactor))
    endings = [Ending() for _ in range(20)]
    children = [spawner.spawn(each, request("sleep", "60")) for each in endings]
    for child in children:
        child.signalProcess("KILL")
    for each in endings:
        assert (await each.ended).signal == signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_after_the_end_there_is_nothing_to_signal() -> None:
    ending = Ending()
    transport = PosixSpawner(SigchldWatcher(reactor)).spawn(ending, request("true"))
    await ending.ended
    with pytest.raises(ProcessExitedAlready):
        transport.signalProcess("TERM")


@pytest_twisted.ensureDeferred
async def test_what_a_child_is_given(tmp_path: Path) -> None:
    script = (
        "import os; os.umask(m := os.umask(0));"
        "print(os.getsid(0) == os.getpid(), os.getcwd(), oct(m), os.environ['MARK'],"
        " sorted(map(int, os.listdir('/proc/self/fd')))[:3], os.readlink('/proc/self/fd/0'))"
    )
    path = tmp_path / "out"
    with path.open("w") as output:
        ending = Ending()
        given = request(
            sys.executable,
            "-I",
            "-c",
            script,
            output=output.fileno(),
            umask=0o027,
            directory=str(tmp_path),
        )
        PosixSpawner(SigchldWatcher(reactor)).spawn(ending, given)
        await ending.ended
    assert path.read_text() == f"True {tmp_path} 0o27 here [0, 1, 2] /dev/null\n"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "command not found: "),
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("#!/no/such/interpreter\n", 0o755, "the interpreter in its first line is missing"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_started_says_why(
    tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    path = tmp_path / "program"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(SpawnError, match=reason) as caught:
        PosixSpawner(SigchldWatcher(reactor)).spawn(ProcessProtocol(), request(str(path)))
    assert caught.value.permanent
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
