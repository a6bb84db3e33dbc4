"""What operators write to programs: real pipes, and a reactor that writes when the test says so."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fakes.store import FakeStore
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.stdin import StdinPipes
from supervisortw.errors import Refused


class Writers:
    """The part of a reactor that writes."""

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def turn(self) -> None:
        for writer in list(self.writers):
            if select.select([], [writer], [], 0)[1]:
                writer.doWrite()


@pytest.fixture
def writers() -> Writers:
    return Writers()


@pytest.fixture
def store() -> Iterator[FakeStore]:
    store = FakeStore()
    yield store
    assert store.kept == {}


@pytest.fixture
def pipes(writers: Writers, store: FakeStore) -> Iterator[StdinPipes]:
    made = StdinPipes(writers, store)
    yield made
    made.close("web")


def follow(pipes: StdinPipes, writers: Writers, store: FakeStore) -> StdinPipes:
    """Let the daemon die without a word, and return the pipes of the one that follows it."""
    writers.writers.clear()
    for pipe in pipes._pipes.values():
        os.close(pipe.fileno())
    pipes._pipes.clear()
    store.next_daemon()
    return StdinPipes(writers, store)


@contextmanager
def reading(pipes: StdinPipes) -> Iterator[int]:
    """Be a process that keeps its end of the pipe."""
    end = pipes.reader("web")
    try:
        yield end
    finally:
        os.close(end)


def fill(pipes: StdinPipes) -> None:
    """Write more than anybody takes."""
    for _ in range(100):
        pipes.write("web", b"x" * LIMITS.stdin_bytes)


def test_what_is_written_is_read(pipes: StdinPipes, writers: Writers) -> None:
    with reading(pipes) as end:
        pipes.write("web", b"hello\n")
        pipes.write("web", b"again\n")
        assert os.read(end, 100) == b"hello\nagain\n"
        assert writers.writers == []


def test_each_process_has_a_pipe_of_its_own(pipes: StdinPipes) -> None:
    with reading(pipes) as first, reading(pipes) as second:
        assert os.read(first, 1) == b""
        pipes.write("web", b"x")
        assert os.read(second, 1) == b"x"


def test_what_the_pipe_has_no_room_for_follows_later(pipes: StdinPipes, writers: Writers) -> None:
    with reading(pipes) as end:
        capacity = 0
        piece = b"x" * LIMITS.stdin_bytes
        while not writers.writers:
            pipes.write("web", piece)
            capacity += len(piece)
        got = b""
        while len(got) < capacity:
            got += os.read(end, 1 << 20)
            writers.turn()
        assert len(got) == capacity
        assert writers.writers == []


def test_who_does_not_read_is_not_written_to_for_ever(pipes: StdinPipes) -> None:
    with reading(pipes):
        with pytest.raises(Refused, match="does not read its standard input fast enough"):
            fill(pipes)
        pipes.close("web")


def test_who_has_closed_it_is_not_written_to(pipes: StdinPipes) -> None:
    with reading(pipes):
        pass
    for _ in range(2):
        with pytest.raises(Refused, match="does not read its standard input any more"):
            pipes.write("web", b"x")


def test_who_has_no_pipe_is_not_written_to(pipes: StdinPipes) -> None:
    with pytest.raises(Refused, match="stdin pipe"):
        pipes.write("web", b"x")


def test_a_lost_pipe_is_closed(pipes: StdinPipes, writers: Writers) -> None:
    with reading(pipes):
        with pytest.raises(Refused):
            fill(pipes)
        [writer] = writers.writers
        writer.connectionLost(Failure(ConnectionDone()))
        assert writers.writers == []
        with pytest.raises(Refused):
            pipes.write("web", b"x")


def test_the_writing_end_is_not_inherited(pipes: StdinPipes, writers: Writers) -> None:
    with reading(pipes):
        [pipe] = pipes._pipes.values()
        assert not os.get_inheritable(pipe.fileno())


class TestAnotherDaemon:
    def test_it_goes_on_writing_to_the_process(
        self, pipes: StdinPipes, writers: Writers, store: FakeStore
    ) -> None:
        with reading(pipes) as end:
            pipes.write("web", b"before, ")
            later = follow(pipes, writers, store)
            assert later.adopt("web")
            later.write("web", b"after")
            assert os.read(end, 100) == b"before, after"
            later.close("web")
            assert os.read(end, 100) == b""

    def test_a_process_reads_no_end_while_there_is_no_daemon(
        self, pipes: StdinPipes, writers: Writers, store: FakeStore
    ) -> None:
        with reading(pipes) as end:
            os.set_blocking(end, False)
            later = follow(pipes, writers, store)
            with pytest.raises(BlockingIOError):
                os.read(end, 1)
            later.adopt("web")
            later.close("web")

    def test_it_does_not_wait_for_who_does_not_read(
        self, pipes: StdinPipes, writers: Writers, store: FakeStore
    ) -> None:
        with reading(pipes):
            later = follow(pipes, writers, store)
            later.adopt("web")
            with pytest.raises(Refused, match="fast enough"):
                fill(later)
            later.close("web")

    def test_what_was_not_left_behind_is_not_adopted(
        self, pipes: StdinPipes, writers: Writers, store: FakeStore
    ) -> None:
        later = follow(pipes, writers, store)
        assert not later.adopt("web")
        with pytest.raises(Refused, match="stdin pipe"):
            later.write("web", b"x")

    def test_the_next_process_has_a_pipe_of_its_own(
        self, pipes: StdinPipes, writers: Writers, store: FakeStore
    ) -> None:
        with reading(pipes) as first:
            later = follow(pipes, writers, store)
            later.adopt("web")
            with reading(later) as second:
                assert os.read(first, 1) == b""
                latest = follow(later, writers, store)
                assert latest.adopt("web")
                latest.write("web", b"x")
                assert os.read(second, 1) == b"x"
                latest.close("web")

    def test_it_is_kept_before_the_process_can_have_it(
        self, pipes: StdinPipes, store: FakeStore
    ) -> None:
        with reading(pipes):
            assert set(store.kept) == {"stdin/web"}

    def test_it_is_kept_no_longer_when_it_is_closed(
        self, pipes: StdinPipes, store: FakeStore
    ) -> None:
        with reading(pipes) as end:
            pipes.close("web")
            assert store.kept == {}
            assert os.read(end, 1) == b""
