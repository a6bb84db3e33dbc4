"""Births: what is made of a report, and of its end; the test says what the child says."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from fakes.readers import FakeReaders
from fakes.watcher import FakeWatcher
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.daemon import birth as births
from supervisortw.daemon.birth import Birth, StepFailed, fork_here

MESSAGE = b"path /bin/x"


class Forks:
    """Somebody who forks: the test plays the child, with the end of the report pipe that it has."""

    def __init__(self) -> None:
        self.usable = True
        self.refuses: StepFailed | None = None
        self.births: list[Birth] = []
        self.worked_times = 0

    def take(self, birth: Birth) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.births.append(birth)

    def worked(self) -> None:
        self.worked_times += 1

    def give_up(self) -> None:
        self.usable = False


class Bench:
    def __init__(self) -> None:
        self.readers = FakeReaders()
        self.watcher = FakeWatcher()
        self.forks = Forks()
        self.results: list[Any] = []
        self.given: list[int] = []
        self.birth = Birth(MESSAGE, (0, 1, 1), self.readers, self.watcher, self.forks)
        self.birth.born.addBoth(self.results.append)

    def hand_over(self, message: bytes, descriptors: Sequence[int]) -> None:
        """Keep what a forker would get."""
        assert message == MESSAGE
        self.given = [os.dup(each) for each in descriptors]

    def begin(self) -> None:
        self.birth.begin(self.hand_over)

    def say(self, text: str) -> None:
        os.write(self.given[0], text.encode())
        self.readers.read()

    def end(self) -> None:
        self.drop()
        self.readers.read()

    def drop(self) -> None:
        while self.given:
            os.close(self.given.pop())

    @property
    def failure(self) -> tuple[int, str]:
        [failure] = self.results
        failure.trap(StepFailed)
        return failure.value.number, failure.value.step


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.drop()
    assert bench.readers.readers == []
    assert bench.watcher.looks == {}
    assert bench.birth.fileno() == -1
    assert bench.birth._copies == {}


def sleeping_child() -> int:
    return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)


def is_gone(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_it_is_a_descriptor_for_the_reactor(bench: Bench) -> None:
    assert verifyObject(IReadDescriptor, bench.birth)
    bench.begin()
    assert bench.birth.logPrefix() == "birth"
    bench.say("pid 7\n")
    bench.end()


def test_it_is_there_when_the_report_ends(bench: Bench) -> None:
    bench.birth.start()
    assert bench.forks.births == [bench.birth]
    bench.begin()
    assert [os.fstat(each).st_ino for each in bench.given[1:]] == [
        os.fstat(each).st_ino for each in (0, 1, 1)
    ]
    bench.say("pi")
    bench.say("d 12\n")
    assert bench.results == []
    assert bench.forks.worked_times == 1
    bench.end()
    assert bench.results == [12]


def test_the_reactor_may_tell_of_the_end_as_of_a_lost_connection(bench: Bench) -> None:
    bench.begin()
    os.write(bench.given[0], b"pid 12\n")
    bench.drop()
    bench.birth.connectionLost(Failure(ConnectionDone()))
    assert bench.results == [12]
    bench.birth.connectionLost(Failure(ConnectionDone()))


def test_when_the_reactor_stops_it_is_let_go(bench: Bench) -> None:
    bench.begin()
    bench.say("pid 12\n")
    bench.birth.connectionLost(Failure(ConnectionDone()))
    assert bench.results == []


def test_a_step_that_failed_ends_it_and_the_child_is_buried(bench: Bench) -> None:
    pid = sleeping_child()
    bench.begin()
    bench.say(f"pid {pid}\nerror {errno.EACCES} limit nofile\n")
    assert bench.results == []
    bench.end()
    assert bench.failure == (errno.EACCES, "limit nofile")
    os.kill(pid, signal.SIGKILL)
    bench.watcher.wait(pid)
    assert is_gone(pid)


def test_a_fork_that_failed_leaves_nobody_to_bury(bench: Bench) -> None:
    bench.begin()
    bench.say(f"error {errno.EAGAIN} clone\n")
    bench.end()
    assert bench.failure == (errno.EAGAIN, "clone")
    assert bench.forks.usable


def test_a_report_is_read_up_to_a_point(bench: Bench) -> None:
    bench.begin()
    bench.say(f"error {errno.EIO} exec\n")
    for _ in range(3):
        bench.say("x" * births.LONGEST_REPORT)
    assert len(bench.birth._heard) == births.LONGEST_REPORT
    bench.end()
    assert bench.failure == (errno.EIO, "exec")


class TestTries:
    """Who was to fork may die before; then there is no child, and it is asked for again."""

    @pytest.fixture
    def forked(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Return the descriptors that the daemon's own fork was given."""
        forked: list[int] = []

        def fork(message: bytes, descriptors: Sequence[int]) -> None:
            forked.extend(descriptors)
            bench.hand_over(message, descriptors)

        monkeypatch.setattr(births, "fork_here", fork)
        return forked

    def test_twice_and_then_the_daemon_forks(self, bench: Bench, forked: list[int]) -> None:
        bench.birth.start()
        bench.begin()
        bench.end()
        assert len(bench.forks.births) == 2
        bench.begin()
        bench.end()
        assert len(bench.forks.births) == 2
        assert len(forked) == 4
        bench.say("pid 99\n")
        bench.end()
        assert bench.results == [99]

    def test_the_end_may_be_told_as_a_lost_connection(
        self, bench: Bench, forked: list[int]
    ) -> None:
        bench.birth.start()
        bench.begin()
        bench.drop()
        bench.forks.usable = False
        bench.birth.connectionLost(Failure(ConnectionDone()))
        bench.say("pid 99\n")
        bench.end()
        assert bench.results == [99]

    def test_the_daemon_forks_at_once_where_nobody_else_can(
        self, bench: Bench, forked: list[int]
    ) -> None:
        bench.forks.usable = False
        bench.birth.start()
        bench.say("pid 99\n")
        bench.end()
        assert bench.results == [99]
        assert bench.forks.births == []

    @pytest.mark.parametrize("number", sorted(births.NO_CLONE))
    def test_a_kernel_that_refuses_is_not_asked_again(
        self, bench: Bench, forked: list[int], number: int
    ) -> None:
        bench.birth.start()
        bench.begin()
        bench.say(f"error {number} clone\n")
        bench.end()
        assert not bench.forks.usable
        bench.say("pid 99\n")
        bench.end()
        assert bench.results == [99]

    def test_too_many_that_wait(self, bench: Bench) -> None:
        bench.forks.refuses = StepFailed(errno.EAGAIN, "queue")
        bench.birth.start()
        assert bench.failure == (errno.EAGAIN, "queue")

    def test_a_fork_that_fails_here(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> int:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(os, "fork", refuse)
        bench.forks.usable = False
        bench.birth.start()
        assert bench.failure == (errno.EAGAIN, "clone")

    def test_no_descriptors_for_a_report(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse() -> tuple[int, int]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        bench.forks.usable = False
        with monkeypatch.context() as patched:
            patched.setattr(os, "pipe", refuse)
            bench.birth.start()
        assert bench.failure == (errno.EMFILE, "clone")


class TestCancelling:
    def test_while_it_waits_for_its_turn(self, bench: Bench) -> None:
        bench.birth.start()
        bench.birth.born.cancel()
        assert bench.birth.cancelled
        assert len(bench.results) == 1

    def test_before_the_pid_is_known(self, bench: Bench) -> None:
        pid = sleeping_child()
        bench.begin()
        bench.birth.born.cancel()
        bench.say(f"pid {pid}\n")
        bench.end()
        self.is_killed(bench, pid)

    def test_after_it_is_known(self, bench: Bench) -> None:
        pid = sleeping_child()
        bench.begin()
        bench.say(f"pid {pid}\n")
        bench.birth.born.cancel()
        bench.end()
        self.is_killed(bench, pid)

    def test_nobody_is_asked_again(self, bench: Bench) -> None:
        bench.birth.start()
        bench.begin()
        bench.birth.born.cancel()
        bench.end()
        assert len(bench.forks.births) == 1

    def test_a_failure_is_told_to_nobody(self, bench: Bench) -> None:
        bench.begin()
        bench.birth.born.cancel()
        bench.say("error 12 clone\n")
        bench.end()
        assert len(bench.results) == 1

    @staticmethod
    def is_killed(bench: Bench, pid: int) -> None:
        if pid in bench.watcher.looks:
            bench.watcher.wait(pid)
        assert is_gone(pid)
        assert len(bench.results) == 1


def test_no_descriptors_left_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int] = []
    really: Callable[..., int] = births.fcntl.fcntl

    def one_only(descriptor: int, *rest: Any) -> int:
        if copies:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        copies.append(really(descriptor, *rest))
        return copies[0]

    monkeypatch.setattr(births.fcntl, "fcntl", one_only)
    with pytest.raises(OSError, match="Too many open files"):
        Birth(MESSAGE, (0, 1, 2), FakeReaders(), FakeWatcher(), Forks())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(copies[0])


def test_a_fork_leaves_our_signals_as_they_were() -> None:
    read_end, write_end = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    fork_here(b"path /no/such\0args 1\0x\0directory /", (write_end, 0, 1, 2))
    os.close(write_end)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    with os.fdopen(read_end) as report:
        pid = int(report.readline().removeprefix("pid "))
        assert report.readline() == f"error {errno.ENOENT} exec\n"
        assert report.readline() == ""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
