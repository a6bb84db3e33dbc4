"""Noticing that processes have ended; no reactor, so the test says when to look."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from fakes.signals import handled_signals
from fakes.watcher import FakeWatcher
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import exits
from supervisortw.daemon.exits import (
    ANYBODY,
    PidfdWatcher,
    SigchldWatcher,
    bury,
    ended_child,
)


@pytest.mark.needs_linux
class TestPidfdWatcher:
    def test_it_looks_once_when_the_process_has_ended(self) -> None:
        readers, looks = FakeReaders(), []
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        PidfdWatcher(readers).watch(child.pid, lambda: looks.append(1))
        assert readers.turn() == 0
        child.communicate()
        readers.read()
        assert looks == [1]
        assert readers.readers == []

    def test_it_can_be_told_to_stop_and_told_again(self) -> None:
        readers = FakeReaders()
        stop = PidfdWatcher(readers).watch(os.getpid(), lambda: None)
        [reader] = readers.readers
        number = reader.fileno()
        assert reader.logPrefix() == "pidfd"
        stop()
        stop()
        assert readers.readers == []
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    def test_a_lost_descriptor_is_let_go(self) -> None:
        readers = FakeReaders()
        PidfdWatcher(readers).watch(os.getpid(), lambda: None)
        [reader] = readers.readers
        reader.connectionLost(Failure(OSError()))
        assert readers.readers == []

    def test_a_process_that_is_not_there(self) -> None:
        child = subprocess.Popen(["true"])
        child.wait()
        readers = FakeReaders()
        with pytest.raises(ProcessLookupError):
            PidfdWatcher(readers).watch(child.pid, lambda: None)
        assert readers.readers == []


class Reactor(Clock, FakeReaders):
    """As much of a reactor as SIGCHLD needs."""

    def __init__(self) -> None:
        Clock.__init__(self)
        FakeReaders.__init__(self)
        self.at_the_start: list[Callable[[], None]] = []

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.at_the_start.append(function)

    def run(self) -> None:
        """Let a turn pass."""
        self.advance(0)
        self.read()


class Children:
    """A SigchldWatcher, and children that end when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exits, "ended_child", lambda: next(iter(self.zombies), None))
        self.zombies: list[int] = []
        self.reaped: list[int] = []
        self.looked: list[int] = []
        self.rounds: list[list[int]] = []  # who was collected within each context
        self.takes = 0.0
        self.reactor = Reactor()
        self.watcher = SigchldWatcher(self.reactor, self._together)
        [install] = self.reactor.at_the_start
        install()
        self.reactor.run()

    @contextmanager
    def _together(self) -> Iterator[None]:
        before = len(self.reaped)
        yield
        self.rounds.append(self.reaped[before:])

    def watch(self, pid: int) -> None:
        """Watch a child, and collect it when it has ended."""

        def look() -> None:
            self.reactor.rightNow += self.takes
            self.looked.append(pid)
            if pid in self.zombies:
                self.zombies.remove(pid)
                self.reaped.append(pid)
                stop()

        stop = self.watcher.watch(pid, look)

    def end(self, *pids: int) -> None:
        self.zombies += pids
        for _ in pids or (0,):
            signal.raise_signal(signal.SIGCHLD)


class TestSigchldWatcher:
    @pytest.fixture
    def children(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
        with handled_signals():
            children = Children(monkeypatch)
            yield children
            children.watcher.close()

    def test_only_those_who_have_ended_are_looked_at(self, children: Children) -> None:
        for pid in (1, 2, 3):
            children.watch(pid)
        children.end(3, 1)
        assert children.looked == [], "nothing is done inside the handler"
        children.reactor.run()
        children.reactor.run()
        assert children.reaped == children.looked == [3, 1]
        children.end(2)
        children.reactor.run()
        assert children.reaped == [3, 1, 2]

    def test_the_first_is_alone_and_there_is_a_context_for_the_others(
        self, children: Children
    ) -> None:
        for pid in (1, 2, 3):
            children.watch(pid)
        children.rounds.clear()
        children.end(1, 2, 3)
        children.reactor.run()
        assert children.rounds == [[1]]
        children.reactor.run()
        assert children.rounds == [[1], [2, 3]]

    def test_as_many_in_a_turn_as_there_is_time_for(self, children: Children) -> None:
        children.takes = LIMITS.turn_seconds / 2
        for pid in range(1, 7):
            children.watch(pid)
        children.rounds.clear()
        children.end(1, 2, 3, 4, 5, 6)
        for _ in range(4):
            children.reactor.run()
        assert children.rounds == [[1], [2, 3], [4, 5], [6]]

    def test_a_signal_while_others_are_to_be_looked_at_changes_nothing(
        self, children: Children
    ) -> None:
        for pid in (1, 2, 3):
            children.watch(pid)
        children.end(1, 2)
        children.reactor.run()
        children.end(3)
        children.reactor.read()
        assert children.reaped == [1]
        children.reactor.run()
        assert children.reaped == [1, 2, 3]

    def test_who_is_not_watched_hides_nobody(self, children: Children) -> None:
        children.watch(1)
        children.watch(2)
        children.end(77, 2)
        children.reactor.run()
        assert children.reaped == [2]
        assert not children.reactor.getDelayedCalls()
        children.end(1)
        children.reactor.run()
        assert children.reaped == [2, 1]

    def test_one_that_has_ended_before_it_was_watched(self, children: Children) -> None:
        children.end(5)
        children.reactor.run()
        children.watch(5)
        children.reactor.run()
        assert children.reaped == [5]
        children.watch(6)
        assert not children.reactor.getDelayedCalls()

    def test_one_that_ends_before_the_reactor_runs(self, children: Children) -> None:
        children.watch(1)
        children.zombies = [1]  # whose signal nobody heard
        [begin] = children.reactor.at_the_start
        children.watcher.close()
        begin()
        children.reactor.run()
        assert children.reaped == [1]

    def test_one_whom_nobody_collects_does_not_keep_it_busy(self, children: Children) -> None:
        children.watcher.watch(1, lambda: children.looked.append(1))
        children.end(1)
        children.reactor.run()
        assert children.looked[0] == 1
        assert len(children.looked) <= 2
        assert not children.reactor.getDelayedCalls()

    def test_where_the_system_tells_no_pid_all_are_looked_at(
        self, children: Children, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exits, "ended_child", lambda: ANYBODY)
        for pid in (1, 2, 3):
            children.watch(pid)
        children.end(2)
        children.reactor.run()
        assert children.looked == [1, 2, 3]
        assert children.reaped == [2]
        children.watch(4)  # which may have ended by now
        children.end()
        children.reactor.run()
        assert children.looked[3:6] == [1, 3, 4]

    def test_one_look_may_end_the_watch_of_another(
        self, children: Children, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exits, "ended_child", lambda: ANYBODY)
        children.watcher.watch(1, lambda: stop())  # noqa: PLW0108  # which is made below
        stop = children.watcher.watch(2, lambda: children.looked.append(2))
        children.end(1)
        children.reactor.run()
        assert children.looked == []
        stop()

    def test_a_look_that_fails_harms_nobody_else(self, children: Children) -> None:
        def fail() -> None:
            raise RuntimeError("oh")

        children.watcher.watch(1, fail)
        children.watch(2)
        with log_lines() as lines:
            children.end(1, 2)
            children.reactor.run()
        assert children.reaped == [2]
        assert "the end of pid 1 came to nothing" in "".join(lines)

    def test_others_can_be_told_of_each_signal(self, children: Children) -> None:
        told: list[list[int]] = []
        children.watcher.tell_also(lambda: told.append(list(children.reaped)))
        children.watch(1)
        children.watch(2)
        children.end(1, 2)
        children.reactor.run()
        assert told == [[1]]
        children.end()
        children.reactor.read()
        assert told == [[1], [1]], "also while the others wait for their turn"

    def test_it_hears_nothing_when_it_is_closed(self, children: Children) -> None:
        children.watch(1)
        children.watcher.close()
        children.watcher.close()
        children.end(1)
        children.reactor.run()
        assert children.looked == []
        assert children.reactor.readers == []


def test_which_child_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = child("cat"), child("cat")
    assert ended_child() is None
    os.kill(second, signal.SIGKILL)
    os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
    assert ended_child() == ended_child() == second, "it is not collected"
    os.waitpid(second, 0)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert ended_child() is None, "there are no children at all"
    monkeypatch.setattr("supervisortw.daemon.exits.TELLS_WHO", False)
    assert ended_child() == ANYBODY


def test_whether_there_are_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", lambda pid: os.open(os.devnull, 0), raising=False)
    assert PidfdWatcher.works()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert not PidfdWatcher.works()
    monkeypatch.delattr(os, "pidfd_open")
    assert not exits.PidfdWatcher.works()


class TestBurying:
    """A child of which nobody is told is collected all the same."""

    def test_at_once_if_it_has_ended(self) -> None:
        watcher, pid = FakeWatcher(), child("true")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        bury(pid, watcher)
        assert watcher.looks == {}
        self.is_gone(pid)

    def test_later_if_it_has_not(self) -> None:
        watcher, pid = FakeWatcher(), child("cat")
        bury(pid, watcher)
        watcher.looks[pid]()
        assert list(watcher.looks) == [pid]
        os.kill(pid, signal.SIGKILL)
        watcher.wait(pid)
        assert watcher.looks == {}
        self.is_gone(pid)

    def test_here_if_it_cannot_be_watched(self) -> None:
        watcher, pid = FakeWatcher(), child("true")
        watcher.refuses = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        bury(pid, watcher)
        self.is_gone(pid)

    @staticmethod
    def is_gone(pid: int) -> None:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def child(program: str) -> int:
    """Start a program that sees no end of its input; return its pid."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    actions = [(os.POSIX_SPAWN_DUP2, read_end, 0)]
    pid = os.posix_spawnp(program, [program], os.environ, file_actions=actions)
    os.close(read_end)
    os.close(write_end)
    return pid
