"""Where output goes, and how it is read back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from fakes.daemon import process
from fakes.logdirectory import FakeLogDirectory
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from fakes.store import FakeStore
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.model import Keeping, Process
from supervisortw.daemon.logdirectory import LogDirectory
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.logpipe import LogPipe, LogPipes, Sink
from supervisortw.daemon.output import PassedOn, ProgramLog
from supervisortw.daemon.store import NoStore
from supervisortw.errors import LocalError, Refused, SpawnError
from supervisortw.interfaces import DescriptorStore

US = os.geteuid()
KEEPING = Keeping()


def new_pipes(
    readers: FakeReaders | None = None, store: DescriptorStore | None = None
) -> Callable[[Sink], LogPipe]:
    """Return what makes the pipe of a log."""
    return partial(LogPipes(readers or FakeReaders(), store or NoStore()).pipe, "web")


def raw(process: Process) -> None:
    """Return what forms lines: nothing does."""


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Log:
    """A log in a directory of the test, and the programs that write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.readers = FakeReaders()
        self.directory = FakeLogDirectory(path.parent)
        self.store = FakeStore()
        self.clock = Clock()
        self.file = self.make()

    @property
    def opened(self) -> list[int]:
        return self.directory.opened

    def make(self) -> ProgramLog:
        file = LogFile(str(self.path), self.directory.visit, KEEPING, self.clock)
        return ProgramLog(file, new_pipes(self.readers, self.store), process("web"), raw)

    def write(self, data: bytes) -> None:
        """Let a process write, and end."""
        writer = self.file.writer(US)
        os.write(writer, data)
        os.close(writer)
        self.readers.read()

    @property
    def text(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "web.log")
    yield log
    log.file.close()
    assert log.readers.readers == []
    assert log.store.kept == {}
    assert not any(map(is_open, log.opened)), "a descriptor is left"


class TestWriting:
    def test_what_processes_write_is_appended_as_it_comes(self, log: Log) -> None:
        one, two = log.file.writer(US), log.file.writer(US)
        os.write(one, b"one\n")
        log.readers.read()
        assert log.text == b"one\n"
        os.write(two, b"two\n")
        log.readers.read()
        os.write(one, b"three\n")
        os.close(one)
        os.close(two)
        log.readers.read()
        assert log.text == b"one\ntwo\nthree\n"

    def test_the_file_and_the_pipe_stay_open_over_restarts(self, log: Log) -> None:
        for _ in range(3):
            log.write(b"x")
            assert len(log.readers.readers) == 1
        assert len(log.opened) == 1
        assert is_open(log.opened[0])

    def test_it_is_opened_only_when_somebody_writes(self, log: Log) -> None:
        assert log.opened == []
        assert not log.path.exists()

    def test_who_outlives_the_process_goes_on_writing(self, log: Log) -> None:
        writer = log.file.writer(US)
        grandchild = os.dup(writer)
        os.close(writer)
        log.readers.read()
        os.write(grandchild, b"still here\n")
        os.close(grandchild)
        log.readers.read()
        assert log.text == b"still here\n"

    def test_what_was_written_up_to_now_is_taken_in(self, log: Log) -> None:
        writer = log.file.writer(US)
        os.write(writer, b"last words\n")
        os.close(writer)
        log.file.drain()
        assert log.text == b"last words\n"

    def test_what_was_written_before_it_is_closed_is_taken_in(self, log: Log) -> None:
        writer = log.file.writer(US)
        os.write(writer, b"last words\n")
        os.close(writer)
        log.file.close()
        assert log.text == b"last words\n"

    def test_no_file_means_no_process(self, log: Log) -> None:
        log.directory.not_opened = "/var/log/web.log: no permission"
        with pytest.raises(SpawnError, match="log not writable: /var/log/web") as caught:
            log.file.writer(US)
        assert caught.value.permanent
        assert log.readers.readers == []

    def test_no_descriptor_for_the_file_is_a_shortage_that_passes(self) -> None:
        @contextmanager
        def visit() -> Iterator[LogDirectory]:
            raise LocalError("cannot reach directory /") from OSError(errno.EMFILE, "too many")
            yield

        file = LogFile("/log", visit, KEEPING, Clock())
        with pytest.raises(SpawnError, match="log not writable: cannot reach") as caught:
            ProgramLog(file, new_pipes(), process("web"), raw).writer(US)
        assert not caught.value.permanent

    def test_no_pipe_is_a_shortage_that_passes(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pipe() -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "pipe", pipe)
        with pytest.raises(SpawnError, match="Too many open files") as caught:
            log.file.writer(US)
        assert not caught.value.permanent


@pytest.mark.needs_linux
class TestLeftBehind:
    """By a daemon that is dead, with what was written meanwhile."""

    @pytest.fixture
    def written(self, log: Log) -> Log:
        with open_pipe() as (reader, writer):
            os.write(writer, b"meanwhile\n")
            log.store.keep("output/web", reader)
        log.store.next_daemon()
        log.file = log.make()
        return log

    def test_it_is_appended_as_soon_as_the_reactor_runs(self, written: Log) -> None:
        written.path.write_bytes(b"before\n")
        assert written.opened == []
        written.readers.read()
        assert written.text == b"before\nmeanwhile\n"

    def test_the_next_process_goes_on_behind_it(self, written: Log) -> None:
        written.write(b"after\n")
        assert written.text == b"meanwhile\nafter\n"

    def test_it_is_lost_if_the_file_cannot_be_opened(self, written: Log, tmp_path: Path) -> None:
        written.directory.not_opened = "no permission"
        with log_lines(LogLevel.warn) as lines:
            written.readers.read()
        assert lines == [f"output is lost: {tmp_path}/web.log: no permission"]


@contextmanager
def open_pipe() -> Iterator[tuple[int, int]]:
    """Give both ends of a pipe as a daemon makes one on Linux: the reading end is open for both."""
    ends = os.pipe()
    both = os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK)
    yield both, ends[1]
    for end in (both, *ends):
        os.close(end)


class TestPassedOn:
    def test_none_is_thrown_away(self) -> None:
        passed_on = PassedOn("nowhere", lambda: os.open(os.devnull, os.O_WRONLY))
        writer = passed_on.writer(US)
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull))
        os.close(writer)
        assert passed_on.is_read()

    @pytest.mark.parametrize(("number", "permanent"), [(errno.EMFILE, False), (errno.EACCES, True)])
    def test_what_cannot_be_opened_means_no_process(self, number: int, *, permanent: bool) -> None:
        def fail() -> int:
            raise OSError(number, os.strerror(number))

        with pytest.raises(
            SpawnError, match=f"log not writable: /x: {os.strerror(number)}"
        ) as caught:
            PassedOn("/x", fail).writer(US)
        assert caught.value.permanent == permanent

    def test_nothing_can_be_read_back(self) -> None:
        passed_on = PassedOn("nowhere", int)
        asked: list[Callable[[], object]] = [
            lambda: passed_on.tail(1),
            lambda: passed_on.read(0, 1),
            lambda: passed_on.watch(lambda: None),
            passed_on.clear,
        ]
        for ask in asked:
            with pytest.raises(Refused) as caught:
                ask()
            assert str(caught.value) == "its output goes to nowhere and is not kept"

    def test_there_is_nothing_to_do_for_it(self) -> None:
        passed_on = PassedOn("nowhere", int)
        passed_on.drain()
        passed_on.keep(process("web"))
        passed_on.reopen()
        assert passed_on.note() == ""
        passed_on.close()
