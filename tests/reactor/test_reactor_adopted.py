"""Processes that are somebody else's children, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from supervisortw.core.born import Born
from supervisortw.daemon import adopted, living, proc
from supervisortw.daemon.adopted import AdoptedProcesses, UnknownEnd
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.daemon.living import NO_PIDFD, LivingProcesses

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc"),
    pytest.mark.skipif(not PidfdWatcher.works(), reason="this kernel has no pidfds"),
]

# Starts a process, tells its pid, and reaps it.
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=sys.stdin, start_new_session=True)
print(child.pid, flush=True)
child.wait()
sys.stdin.read()
"""


class Ending(ProcessProtocol):
    def __init__(self) -> None:
        self.over: Deferred[BaseException] = Deferred()

    def processExited(self, reason: Failure) -> None:
        self.over.callback(reason.value)


class Foreign:
    """A process that is a child of another one; it ends with the code that is written to it."""

    def __init__(self) -> None:
        code = "import sys; sys.exit(int(sys.stdin.readline()))"
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdout is not None
        self.pid = int(self.parent.stdout.readline())
        start = proc.start(self.pid)
        assert start is not None
        self.born = Born(start, start)

    def exit(self, code: int) -> None:
        assert self.parent.stdin is not None
        self.parent.stdin.write(f"{code}\n")
        self.parent.stdin.flush()

    def close(self) -> None:
        self.parent.kill()
        self.parent.communicate()
        if self.born.agrees_with(proc.start(self.pid)):
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    made = Foreign()
    yield made
    made.close()


def adopt(
    foreign: Foreign, ending: Ending, *, held: bool = False, pidfds: bool = True
) -> tuple[AdoptedProcesses, adopted.AdoptedTransport]:
    watcher = PidfdWatcher(reactor) if pidfds else None
    processes = AdoptedProcesses(reactor, Departures(reactor, watcher), watcher)
    pidfd = os.pidfd_open(foreign.pid) if pidfds else NO_PIDFD
    return processes, processes.adopt(foreign.pid, pidfd, foreign.born, ending, held=held)


def knows_statuses() -> bool:
    """True if this kernel tells how processes ended that are nobody's of ours."""
    made, ending = Foreign(), Ending()
    _, transport = adopt(made, ending, held=True)
    try:
        made.exit(0)
        made.parent.communicate()
        return transport.known_status() == 0
    finally:
        transport.end(ProcessDone(0))
        made.close()


@pytest_twisted.ensureDeferred
async def test_without_a_holder_the_end_is_seen_and_how_it_was_if_the_kernel_tells(
    foreign: Foreign,
) -> None:
    known = knows_statuses()
    ending = Ending()
    adopt(foreign, ending)
    foreign.exit(7)
    reason = await ending.over
    if known:
        assert isinstance(reason, ProcessTerminated)
        assert reason.exitCode == 7
    else:
        assert isinstance(reason, UnknownEnd)


@pytest_twisted.ensureDeferred
async def test_signals_reach_it(foreign: Foreign) -> None:
    ending = Ending()
    _, transport = adopt(foreign, ending)
    transport.signalProcess("KILL")
    await ending.over
    with pytest.raises(ProcessExitedAlready):
        transport.signalProcess(signal.SIGTERM)


@pytest_twisted.ensureDeferred
async def test_without_pidfds_it_is_looked_at_again(foreign: Foreign) -> None:
    ending = Ending()
    _, transport = adopt(foreign, ending, pidfds=False)
    transport.signalProcess(signal.SIGKILL)
    assert isinstance(await ending.over, UnknownEnd)


@pytest_twisted.ensureDeferred
async def test_nobody_knows_how_it_ended_whose_parent_does_not_reap_it(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopted, "REAPED_SECONDS", 0.01)
    foreign.parent.send_signal(signal.SIGSTOP)
    ending = Ending()
    adopt(foreign, ending)
    foreign.exit(7)
    assert isinstance(await ending.over, UnknownEnd)


def test_the_holder_tells_how_it_ended(foreign: Foreign) -> None:
    ending = Ending()
    processes, transport = adopt(foreign, ending, held=True)
    processes.ended(foreign.pid + 1, 3 << 8)
    assert transport.pid == foreign.pid
    processes.ended(foreign.pid, 3 << 8)
    found = []
    ending.over.addCallback(found.append)
    [reason] = found
    assert reason.exitCode == 3
    processes.ended(foreign.pid, 4 << 8)  # told twice


@pytest_twisted.ensureDeferred
async def test_when_the_holder_is_gone_it_is_watched_here(foreign: Foreign) -> None:
    ending = Ending()
    processes, _ = adopt(foreign, ending, held=True)
    processes.holder_is_gone()
    foreign.exit(0)
    assert isinstance(await ending.over, (ProcessDone, UnknownEnd))


class TestLiving:
    """What is found of processes that may still be there."""

    def test_pid_and_start_make_a_process(self, foreign: Foreign) -> None:
        found = LivingProcesses()
        pidfd = found.find(foreign.pid, foreign.born)
        assert pidfd is not None
        os.close(pidfd)
        later = Born(foreign.born.latest + 1, foreign.born.latest + 2)
        assert found.find(foreign.pid, later) is None
        assert found.find(foreign.pid, None) is None
        foreign.exit(0)
        foreign.parent.communicate(timeout=60)
        assert found.find(foreign.pid, foreign.born) is None

    def test_marks_are_found(self) -> None:
        mark = "0123456789abcdef:marked:4"
        process = subprocess.Popen(
            ["sleep", "60"], env={"SUPERVISOR_SPAWN_ID": mark}, start_new_session=True
        )
        inside = subprocess.Popen(["sleep", "60"], env={"SUPERVISOR_SPAWN_ID": mark})
        try:
            while (
                not proc.arguments(process.pid)[:1] == proc.arguments(inside.pid)[:1] == ["sleep"]
            ):
                pass
            found = {pid: str(spawn) for pid, spawn in LivingProcesses().marked()}
            assert found[process.pid] == mark
            assert inside.pid not in found  # it leads no session
        finally:
            for each in (process, inside):
                each.kill()
                each.wait()

    def test_who_is_just_being_made_is_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "forker.py"
        script.write_text("import sys; sys.stdin.read()")
        monkeypatch.setattr(living, "FORKER", str(script))
        half_born = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", str(script)], stdin=subprocess.PIPE
        )
        other = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", str(script)],
            stdin=subprocess.PIPE,
        )
        known = subprocess.Popen(["sleep", "60"])
        try:
            LivingProcesses().end_half_born(os.getpid(), {known.pid})
            assert half_born.wait(60) == -signal.SIGKILL
            assert other.poll() is None
            assert known.poll() is None
        finally:
            for each in (half_born, other, known):
                each.kill()
                each.communicate()
