"""The pipes of logs: real ones, a reactor that reads when told to, and daemons that follow each other."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes.readers import FakeReaders
from fakes.store import FakeStore
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.logs import logpipe
from supervisortw.daemon.logs.logpipe import LogPipe, LogPipes
from supervisortw.errors import SpawnError

US = os.geteuid()
STRANGER = 65534
OTHER = 12345


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class Taken:
    """A sink that keeps what it takes."""

    def __init__(self) -> None:
        self.text = b""

    def take(self, pipe: int) -> int:
        try:
            data = os.read(pipe, LIMITS.log_read_bytes)
        except BlockingIOError:
            return 0
        if not data:
            raise EOFError
        self.text += data
        return len(data)


class Bench:
    """The log ``web`` of one daemon after the other."""

    def __init__(self, *, reopens: bool) -> None:
        self.store = FakeStore()
        self.reopens = reopens
        self.sink = Taken()
        self.begin()

    @property
    def text(self) -> bytes:
        return self.sink.text

    def begin(self) -> None:
        self.readers = FakeReaders()
        self.pipes = LogPipes(self.readers, self.store, reopens=self.reopens)
        self.pipe = self.make()

    def make(self) -> LogPipe:
        return self.pipes.pipe("web", self.sink)

    def die(self) -> None:
        """Let the daemon die without a word."""
        for reader in self.readers.removeAll():
            assert isinstance(reader, LogPipe)
            assert reader._ends is not None
            reader._ends.close()

    def next_daemon(self) -> None:
        self.die()
        self.store.next_daemon()
        self.begin()


@pytest.fixture(
    params=[
        pytest.param(True, id="reopened", marks=pytest.mark.needs_linux),
        pytest.param(False, id="both-ends"),
    ]
)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(reopens=request.param)
    yield bench
    bench.pipe.close()
    assert bench.readers.readers == []
    assert bench.store.kept == {}


def say(writer: int, data: bytes) -> None:
    """Let a process write, and end."""
    os.write(writer, data)
    os.close(writer)


class TestWriting:
    def test_what_each_process_writes_comes_out_of_one_pipe(self, bench: Bench) -> None:
        for word in (b"one", b"two"):
            say(bench.pipe.writer(US), word)
            [reader] = bench.readers.readers
            assert verifyObject(IReadDescriptor, reader)
            bench.readers.read()
        assert bench.text == b"onetwo"

    def test_the_end_of_a_process_is_nothing_to_be_read(self, bench: Bench) -> None:
        say(bench.pipe.writer(US), b"x")
        bench.readers.read()
        assert bench.readers.turn() == 0
        bench.pipe.doRead()
        assert len(bench.readers.readers) == 1

    def test_a_writing_end_waits_and_is_closed_at_an_exec(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        assert os.get_blocking(writer)
        assert not os.get_inheritable(writer)
        assert not os.get_inheritable(bench.pipe.fileno())
        os.close(writer)

    def test_it_waits_also_after_a_process_that_did_not_want_to(self, bench: Bench) -> None:
        first = bench.pipe.writer(US)
        os.set_blocking(first, False)
        second = bench.pipe.writer(US)
        assert os.get_blocking(second)
        os.close(first)
        os.close(second)

    def test_a_process_at_full_speed_is_read_once_in_a_turn(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        os.set_blocking(writer, False)
        for turn in (1, 2, 3):
            fill(writer)
            assert bench.readers.turn() == 1
            assert len(bench.text) <= turn * LIMITS.log_read_bytes
        os.close(writer)

    def test_no_pipe_is_a_shortage_that_passes(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pipe() -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(os, "pipe", pipe)
            with pytest.raises(SpawnError, match="no pipe for the output: Too many") as caught:
                bench.pipe.writer(US)
        assert not caught.value.permanent
        say(bench.pipe.writer(US), b"x")

    def test_after_an_error_the_next_process_gets_another_one(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        bench.pipe.connectionLost(Failure(ConnectionLost()))
        assert bench.readers.readers == []
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"x")
        os.close(writer)
        say(bench.pipe.writer(US), b"anew")
        bench.readers.read()
        assert bench.text == b"anew"

    def test_it_can_be_closed_twice(self, bench: Bench) -> None:
        os.close(bench.pipe.writer(US))
        bench.pipe.close()
        bench.pipe.close()
        assert bench.pipe.fileno() == -1


def fill(writer: int) -> int:
    """Write until nothing more goes in; return how many bytes did."""
    count = 0
    try:
        while True:
            count += os.write(writer, b"x" * 4096)
    except BlockingIOError:
        return count


class TestDraining:
    def test_all_that_is_there_is_read(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        os.set_blocking(writer, False)
        count = fill(writer)
        bench.pipe.drain()
        assert len(bench.text) == count
        os.close(writer)

    def test_what_is_there_is_read_before_it_is_closed(self, bench: Bench) -> None:
        say(bench.pipe.writer(US), b"last words")
        bench.pipe.close()
        assert bench.text == b"last words"

    def test_a_pipe_that_never_had_a_process(self, bench: Bench) -> None:
        bench.pipe.drain()
        assert bench.text == b""

    def test_who_never_stops_writing_is_not_waited_for(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = replace(LIMITS, log_drain_bytes=4 * 1024)
        monkeypatch.setattr(logpipe, "LIMITS", limits)
        writer = bench.pipe.writer(US)
        os.write(writer, b"x" * 1024)
        take = bench.sink.take

        def take_and_write(pipe: int) -> int:
            taken = take(pipe)
            os.write(writer, b"x" * 1024)
            return taken

        monkeypatch.setattr(bench.sink, "take", take_and_write)
        bench.pipe.drain()
        assert len(bench.text) == limits.log_drain_bytes
        monkeypatch.undo()
        os.close(writer)

    @pytest.mark.needs_linux
    def test_a_pipe_that_was_full_gets_more_room(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        os.set_blocking(writer, False)
        usual = fill(writer)
        bench.pipe.drain()
        assert usual < fill(writer) <= LIMITS.log_pipe_bytes
        bench.pipe.drain()
        os.close(writer)


class TestKeeping:
    def test_no_descriptor_is_left_behind(self, bench: Bench) -> None:
        before = open_descriptors()
        for _ in range(2):
            say(bench.pipe.writer(US), b"x")
            bench.next_daemon()
        bench.pipe.close()
        assert open_descriptors() == before

    def test_it_is_kept_before_a_process_can_have_it(self, bench: Bench) -> None:
        assert bench.store.kept == {}
        writer = bench.pipe.writer(US)
        names = {"output/web"} if bench.reopens else {"output/web", "writer/web"}
        assert set(bench.store.kept) == names
        os.close(writer)

    def test_what_was_written_without_a_daemon_is_read_by_the_next_one(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        bench.die()
        os.write(writer, b"meanwhile, ")
        bench.store.next_daemon()
        bench.begin()
        bench.readers.read()
        assert bench.text == b"meanwhile, "
        say(writer, b"and now")
        bench.readers.read()
        assert bench.text == b"meanwhile, and now"

    def test_the_next_process_writes_to_the_same_one(self, bench: Bench) -> None:
        old = bench.pipe.writer(US)
        for _ in range(2):
            bench.next_daemon()
            say(bench.pipe.writer(US), b"new ")
            os.write(old, b"old ")
            bench.readers.read()
        assert bench.text == b"new old new old "
        os.close(old)

    def test_nothing_is_read_that_was_not_left_behind(self, bench: Bench) -> None:
        bench.next_daemon()
        assert bench.readers.readers == []

    def test_it_is_kept_no_longer_when_it_is_closed(self, bench: Bench) -> None:
        writer = bench.pipe.writer(US)
        bench.next_daemon()
        bench.pipe.close()
        assert bench.store.kept == {}
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"x")
        os.close(writer)

    def test_the_old_log_of_a_process_does_not_take_the_new_one_with_it(self, bench: Bench) -> None:
        old = bench.pipe
        old_sink = bench.sink
        bench.sink = Taken()
        old_writer = old.writer(US)
        bench.pipe = bench.make()
        assert len(bench.store.kept) == (1 if bench.reopens else 2), (
            "the old one, until there is a new one"
        )
        writer = bench.pipe.writer(US)
        say(old_writer, b"last words")
        bench.readers.turn()
        old.close()
        bench.next_daemon()
        say(writer, b"first words")
        bench.readers.read()
        assert (old_sink.text, bench.text) == (b"last words", b"first words")

    def test_a_log_that_is_closed_before_the_new_one_has_a_pipe(self, bench: Bench) -> None:
        old = bench.pipe
        os.close(old.writer(US))
        bench.pipe = bench.make()
        old.close()
        assert bench.store.kept == {}
        say(bench.pipe.writer(US), b"x")
        bench.readers.read()
        assert bench.text == b"x"

    def test_what_is_no_pipe_of_a_daemon_is_let_go(self, bench: Bench) -> None:
        reader, writer = os.pipe()
        for name in ("output/web", "writer/web"):
            bench.store.keep(name, reader)
        os.close(reader)
        os.close(writer)
        bench.store.next_daemon()
        bench.begin()
        bench.readers.read()
        assert bench.readers.readers == []
        if bench.reopens:
            bench.store.drop("writer/web")
        say(bench.pipe.writer(US), b"x")
        bench.readers.read()
        assert bench.text == b"x"


def test_half_of_a_pipe_is_no_pipe() -> None:
    bench = Bench(reopens=False)
    before = open_descriptors()
    os.close(bench.pipe.writer(US))
    for half in ("output/web", "writer/web"):
        bench.next_daemon()
        os.close(bench.pipe.writer(US))
        bench.store.drop(half)
        bench.next_daemon()
        assert bench.readers.readers == []
    os.close(bench.pipe.writer(US))
    bench.pipe.close()
    bench.store.close()
    assert open_descriptors() == before


@pytest.mark.needs_linux
def test_one_descriptor_is_all_that_it_takes() -> None:
    before = open_descriptors()
    bench = Bench(reopens=True)
    os.close(bench.pipe.writer(US))
    assert open_descriptors() == before + 1 + len(bench.store.kept)
    bench.pipe.close()


@pytest.mark.needs_root
@pytest.mark.needs_linux
class TestOwner:
    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        bench = Bench(reopens=True)
        yield bench
        bench.pipe.close()
        assert bench.store.kept == {}

    def owner(self, bench: Bench) -> int:
        return os.fstat(bench.pipe.fileno()).st_uid

    def test_the_user_of_the_program_can_open_it(self, bench: Bench) -> None:
        writer = bench.pipe.writer(STRANGER)
        child = os.fork()
        if child == 0:  # pragma: no cover  # in the child
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            try:
                os.write(os.open(f"/proc/self/fd/{writer}", os.O_WRONLY), b"hello")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        bench.readers.read()
        assert bench.text == b"hello"

    def test_root_can_open_it_where_it_has_to_keep_to_permissions(self, bench: Bench) -> None:
        os.close(bench.pipe.writer(STRANGER))
        found = os.fstat(bench.pipe.fileno())
        assert (found.st_uid, found.st_gid) == (STRANGER, os.getegid())
        assert stat.S_IMODE(found.st_mode) == 0o660

    def test_where_root_cannot_give_it_away_it_stays_ours(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fchown(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "fchown", fchown)
        first = bench.pipe.writer(STRANGER)
        number = bench.pipe.fileno()
        os.close(bench.pipe.writer(STRANGER))
        assert (self.owner(bench), bench.pipe.fileno()) == (US, number)
        os.close(first)

    def test_another_user_gets_another_one(self, bench: Bench) -> None:
        old = bench.pipe.writer(STRANGER)
        os.write(old, b"last words, ")
        say(bench.pipe.writer(OTHER), b"first words")
        bench.readers.read()
        assert bench.text == b"last words, first words"
        assert self.owner(bench) == OTHER
        with pytest.raises(BrokenPipeError):
            os.write(old, b"x")
        os.close(old)

    def test_another_user_gets_another_one_also_after_a_daemon_has_died(self, bench: Bench) -> None:
        os.close(bench.pipe.writer(STRANGER))
        bench.next_daemon()
        os.close(bench.pipe.writer(STRANGER))
        assert self.owner(bench) == STRANGER
        bench.next_daemon()
        os.close(bench.pipe.writer(OTHER))
        assert self.owner(bench) == OTHER
        bench.next_daemon()
        assert self.owner(bench) == OTHER
