"""The link to the forker, whose end of the channel is the test's."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.readers import FakeReaders
from fakes.watcher import FakeWatcher
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.daemon import birth as births
from supervisortw.daemon.birth import Birth, StepFailed
from supervisortw.daemon.forkerlink import ForkerLink

pytestmark = pytest.mark.needs_linux


class Readers(FakeReaders):
    """A reactor that can also be asked to write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)


class Bench:
    """A link, whose forkers are mere sleeping processes; the test reads their channels."""

    def __init__(self) -> None:
        self.reactor = Readers()
        self.watcher = FakeWatcher()
        self.channels: list[socket.socket] = []
        # Made before there is anything that a new process has for a moment, and then closes.
        self.sleepers = [os.posix_spawnp("sleep", ["sleep", "60"], os.environ) for _ in range(3)]
        self.pids: list[int] = []
        self.refuses: OSError | None = None
        self.link = ForkerLink(self.reactor, self.watcher, self.launch, most_waiting=3)
        self.births: list[Birth] = []
        self.results: list[Any] = []

    def launch(self, channel: int, nowhere: int) -> int:
        if self.refuses is not None:
            raise self.refuses
        self.channels.append(socket.socket(fileno=os.dup(channel)))
        self.pids.append(self.sleepers.pop())
        return self.pids[-1]

    def ask(self, text: bytes = b"path /x") -> Birth:
        birth = Birth(text, (0, 1, 2), self.reactor, self.watcher, self.link)
        birth.born.addBoth(self.results.append)
        self.births.append(birth)
        birth.start()
        return birth

    def receive(self, answer: bytes = b"") -> bytes:
        """Take a message as the forker does, and answer in the name of the child."""
        message, descriptors, _, _ = socket.recv_fds(self.channels[-1], 200_000, 10)
        if answer:
            os.write(descriptors[0], answer)
        for descriptor in descriptors:
            os.close(descriptor)
        return message

    def fill(self) -> int:
        """Ask for large things until the socket is full; return how many it holds."""
        for number in range(100):
            self.ask(b"x" * 100_000)
            if self.reactor.writers:
                return number
        raise AssertionError("a socket without a bottom")

    def kill(self, *, hang_up: bool = True) -> None:
        """End the forker, as a signal would."""
        if hang_up:
            self.channels[-1].close()
        os.kill(self.pids[-1], signal.SIGKILL)

    def bury(self) -> None:
        self.watcher.wait(self.pids[-1])


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for birth in bench.births:
        birth.born.cancel()
    bench.link.close()
    for channel in bench.channels:
        channel.close()
    bench.reactor.read()
    for pid in list(bench.watcher.looks):
        os.kill(pid, signal.SIGKILL)
        bench.watcher.wait(pid)
    for pid in bench.sleepers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert bench.reactor.readers == bench.reactor.writers == []
    assert bench.link.fileno() == -1
    assert [birth for birth in bench.births if birth._copies or birth.fileno() >= 0] == []


@pytest.fixture(autouse=True)
def _no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork_here(*args: Any) -> None:
        raise OSError(errno.EDOM, "forked here")

    monkeypatch.setattr(births, "fork_here", fork_here)


def forked_here(result: Any) -> bool:
    return isinstance(result, Failure) and result.value.number == errno.EDOM


def test_it_is_a_descriptor_for_the_reactor(bench: Bench) -> None:
    assert verifyObject(IWriteDescriptor, bench.link)
    assert bench.link.logPrefix() == "forker"
    assert bench.link.fileno() == -1
    bench.ask()
    assert bench.link.fileno() >= 0


def test_a_forker_is_started_with_the_first_birth_only(bench: Bench) -> None:
    assert bench.pids == []
    bench.ask(b"one")
    bench.ask(b"two")
    assert len(bench.pids) == 1
    assert bench.receive(b"pid 5\n") == b"one"
    assert bench.receive(b"pid 6\n") == b"two"
    bench.reactor.read()
    assert bench.results == [5, 6]


def test_what_the_socket_does_not_take_waits(bench: Bench) -> None:
    held = bench.fill()
    bench.ask(b"last")
    for _ in range(held):
        bench.receive()
    [writer] = bench.reactor.writers
    writer.doWrite()
    assert bench.reactor.writers == []
    assert len(bench.receive()) == 100_000
    assert bench.receive() == b"last"


def test_only_so_many_can_wait(bench: Bench) -> None:
    bench.fill()
    for _ in range(2):
        bench.ask()
    assert bench.results == []
    bench.ask()
    [failure] = bench.results
    assert (failure.value.number, failure.value.step) == (errno.EAGAIN, "queue")


def test_one_that_is_cancelled_while_it_waits_is_never_sent(bench: Bench) -> None:
    held = bench.fill()
    bench.births[-1].born.cancel()
    bench.ask(b"last")
    for _ in range(held):
        bench.receive()
    bench.link.doWrite()
    assert bench.receive() == b"last"


def test_what_is_too_large_for_the_socket(bench: Bench) -> None:
    bench.ask(b"x" * 10_000_000)
    [failure] = bench.results
    assert failure.value.number == errno.EMSGSIZE


class TestDeath:
    def test_between_two_births_is_found_at_the_next(self, bench: Bench) -> None:
        bench.ask()
        bench.receive(b"pid 5\n")
        bench.reactor.read()
        bench.kill()
        bench.ask(b"next")
        assert len(bench.pids) == 2
        assert bench.receive(b"pid 6\n") == b"next"
        bench.reactor.read()
        assert bench.results == [5, 6]

    def test_while_nobody_asks_is_noticed_by_the_watcher(self, bench: Bench) -> None:
        bench.ask()
        bench.receive(b"pid 5\n")
        bench.reactor.read()
        bench.kill(hang_up=False)
        bench.bury()
        assert bench.link.fileno() == -1
        assert bench.link.usable
        bench.ask(b"next")
        assert bench.receive() == b"next"

    def test_what_it_had_not_read_is_sent_again(self, bench: Bench) -> None:
        bench.ask(b"one")
        bench.kill()
        bench.reactor.read()
        assert len(bench.pids) == 2
        assert bench.receive(b"pid 5\n") == b"one"
        bench.reactor.read()
        assert bench.results == [5]

    def test_those_that_waited_are_sent_to_the_next(self, bench: Bench) -> None:
        held = bench.fill()
        bench.kill()
        bench.bury()
        assert len(bench.pids) == 2
        assert len(bench.receive()) == 100_000
        bench.reactor.read()
        assert [bench.receive() for _ in range(held)] == [b"x" * 100_000] * held

    def test_of_two_in_a_row_that_did_nothing_ends_the_tries(self, bench: Bench) -> None:
        bench.ask()
        bench.kill()
        bench.reactor.read()
        bench.kill()
        bench.reactor.read()
        assert all(forked_here(result) for result in bench.results)
        assert len(bench.results) == 1
        bench.bury()
        bench.ask()
        assert forked_here(bench.results[1])
        assert len(bench.pids) == 2

    def test_a_lost_connection_is_left_to_the_watcher(self, bench: Bench) -> None:
        bench.ask()
        bench.link.connectionLost(Failure(ConnectionLost()))
        assert bench.link.usable
        assert bench.link.fileno() >= 0


class TestStart:
    def test_a_shortage_refuses_the_birth_and_no_more(self, bench: Bench) -> None:
        bench.refuses = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        bench.ask()
        assert bench.results[0].value.args == StepFailed(errno.EAGAIN, "clone").args
        bench.refuses = None
        bench.ask(b"next")
        assert bench.receive() == b"next"

    def test_a_forker_that_cannot_be_watched_does_not_live(self, bench: Bench) -> None:
        bench.watcher.refuses = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        bench.ask()
        assert bench.results[0].value.number == errno.EMFILE
        with pytest.raises(ChildProcessError):
            os.waitpid(bench.pids[0], os.WNOHANG)

    def test_what_cannot_work_here_is_not_started(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisortw.daemon.forker.clone_number", lambda: None)
        assert not ForkerLink(bench.reactor, bench.watcher, bench.launch).usable

    def test_a_kernel_that_refuses_is_told_once(self, bench: Bench) -> None:
        bench.ask()
        bench.receive(b"error %d clone\n" % errno.ENOSYS)
        bench.reactor.read()
        assert not bench.link.usable
        assert bench.link.fileno() == -1
        assert forked_here(bench.results[0])


def test_after_the_end_those_who_wait_help_themselves(bench: Bench) -> None:
    bench.fill()
    bench.link.close()
    assert forked_here(bench.results[0])
    assert len(bench.results) == 1
