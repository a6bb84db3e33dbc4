"""Noticing that processes have ended; no reactor, so the test says when to look."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from fakes.readers import FakeReaders
from fakes.watcher import FakeWatcher
from twisted.python.failure import Failure

from supervisortw.daemon import exits
from supervisortw.daemon.exits import PidfdWatcher, SigchldWatcher, bury, exit_watcher


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


class Reactor:
    """As much of a reactor as SIGCHLD needs."""

    def __init__(self) -> None:
        self.later: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.at_the_start: list[Callable[[], None]] = []

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.at_the_start.append(function)

    def callLater(self, delay: float, function: Callable[..., None], *args: object) -> None:
        self.later.append((function, args))

    def callFromThread(self, function: Callable[..., None], *args: object) -> None:
        self.later.append((function, args))

    def run(self) -> None:
        later, self.later = self.later, []
        for function, args in later:
            function(*args)


class TestSigchldWatcher:
    def test_each_signal_looks_at_every_child(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handlers: dict[int, Any] = {}
        before: list[int] = []
        monkeypatch.setattr(signal, "getsignal", lambda number: lambda *_: before.append(number))
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        reactor, looks = Reactor(), []
        watcher = SigchldWatcher(reactor)
        assert handlers == {}
        [install] = reactor.at_the_start
        install()
        watcher.watch(1, lambda: looks.append(1))
        stop = watcher.watch(2, lambda: looks.append(2))
        reactor.run()
        assert looks == [1, 2], "they may have ended before they were watched"
        handlers[signal.SIGCHLD](signal.SIGCHLD, None)
        assert looks == [1, 2], "nothing is done inside the handler"
        assert before == [signal.SIGCHLD]
        reactor.run()
        assert looks == [1, 2, 1, 2]
        stop()
        stop()
        handlers[signal.SIGCHLD](signal.SIGCHLD, None)
        reactor.run()
        assert looks == [1, 2, 1, 2, 1]

    def test_one_look_may_end_the_watch_of_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reactor, looks = Reactor(), []
        watcher = SigchldWatcher(reactor)

        def end_the_other() -> None:
            stop()

        watcher.watch(1, end_the_other)
        stop = watcher.watch(2, lambda: looks.append(2))
        reactor.run()
        assert looks == []
        watcher._look_at_all()
        assert looks == []


def test_the_best_watcher_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PidfdWatcher, "works", staticmethod(lambda: True))
    assert isinstance(exit_watcher(Reactor()), PidfdWatcher)
    monkeypatch.setattr(PidfdWatcher, "works", staticmethod(lambda: False))
    assert isinstance(exit_watcher(Reactor()), SigchldWatcher)


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
