"""Where output goes, and how it is read back."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from fakes.store import FakeStore
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD
from supervisortw.daemon.logpipe import LogPipe, LogPipes, Write
from supervisortw.daemon.output import LogFile, PassedOn, ProgramLog, output_for
from supervisortw.daemon.store import NoStore
from supervisortw.errors import LocalError, Refused, SpawnError
from supervisortw.interfaces import DescriptorStore

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
US = os.geteuid()


def new_pipes(
    readers: FakeReaders | None = None, store: DescriptorStore | None = None
) -> Callable[[Write], LogPipe]:
    """Return what makes the pipe of a log."""
    return partial(LogPipes(readers or FakeReaders(), store or NoStore()).pipe, "web")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Log:
    """A LogFile in a directory of the test, and the programs that write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.readers = FakeReaders()
        self.opened: list[int] = []
        self.not_opened = ""
        self.flags = FLAGS
        self.store = FakeStore()
        self.file = self.make()

    def make(self) -> ProgramLog:
        return ProgramLog(str(self.path), self.open, new_pipes(self.readers, self.store))

    def open(self, path: Path | None = None) -> int:
        if self.not_opened:
            raise LocalError(self.not_opened)
        self.opened.append(os.open(path or self.path, self.flags))
        return self.opened[-1]

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

    def test_a_short_write_is_gone_on_with(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        log.file.open()
        write = os.write
        monkeypatch.setattr(os, "write", lambda number, data: write(number, bytes(data)[:3]))
        log.file.write(b"0123456789")
        assert log.text == b"0123456789"

    def test_no_file_means_no_process(self, log: Log) -> None:
        log.not_opened = "/var/log/web.log: no permission"
        with pytest.raises(SpawnError, match="log not writable: /var/log/web") as caught:
            log.file.writer(US)
        assert caught.value.permanent
        assert log.readers.readers == []

    def test_no_descriptor_for_the_file_is_a_shortage_that_passes(self) -> None:
        def open_file() -> int:
            raise LocalError("cannot reach directory /") from OSError(errno.EMFILE, "too many")

        with pytest.raises(SpawnError, match="log not writable: cannot reach") as caught:
            ProgramLog("/log", open_file, new_pipes()).writer(US)
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


class TestTrouble:
    """Whatever happens to the file, the program goes on."""

    @pytest.mark.needs_linux
    def test_a_full_disk_costs_output_and_says_so_once(self, log: Log, tmp_path: Path) -> None:
        log.path = Path("/dev/full")
        log.flags = os.O_RDWR
        with log_lines(LogLevel.warn) as lines:
            for _ in range(3):
                log.write(b"0123456789")
        assert lines == [f"output is lost: {tmp_path}/web.log: No space left on device"]
        log.path = tmp_path / "web.log"
        log.flags = FLAGS
        log.file.reopen()
        with log_lines(LogLevel.warn) as lines:
            log.write(b"back\n")
            log.write(b"again\n")
        assert lines == [f"writing to {tmp_path}/web.log again; 30 bytes were lost"]
        assert log.text == b"back\nagain\n"

    def test_any_other_failure_is_told_as_it_is(self, log: Log) -> None:
        log.path.touch()
        log.flags = os.O_RDONLY
        with log_lines(LogLevel.warn) as lines:
            log.write(b"lost\n")
        assert lines == [f"output is lost: {log.path}: Bad file descriptor"]

    def test_a_second_loss_is_told_again(self, log: Log) -> None:
        log.write(b"fine\n")
        good = log.file._file
        with log_lines(LogLevel.warn) as lines:
            for _ in range(2):
                log.file._file = -1
                log.file.write(b"lost")
                log.file._file = good
                log.file.write(b"fine\n")
        assert [line.partition(":")[0] for line in lines] == [
            "output is lost",
            f"writing to {log.path} again; 4 bytes were lost",
        ] * 2


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

    def test_it_is_lost_if_the_file_cannot_be_opened_which_is_tried_once(
        self, written: Log, tmp_path: Path
    ) -> None:
        tried: list[Path | None] = []
        written.not_opened = "no permission"

        def count() -> int:
            tried.append(None)
            return written.open()

        written.file._open_file = count
        with log_lines(LogLevel.warn) as lines:
            written.readers.read()
            [pipe] = written.readers.readers
            for _ in range(2):
                written.store.next_daemon()
                number = written.store.take("output/web")
                assert number is not None
                writer = os.open(f"/proc/self/fd/{number}", os.O_WRONLY)
                os.write(writer, b"more\n")
                os.close(writer)
                os.close(number)
                pipe.doRead()
        assert lines == [f"output is lost: {tmp_path}/web.log: no permission"]
        assert len(tried) == 1
        written.not_opened = ""
        written.file.reopen()
        with log_lines(LogLevel.warn) as lines:
            written.write(b"after\n")
        assert lines == [f"writing to {tmp_path}/web.log again; 20 bytes were lost"]
        assert written.text == b"after\n"


@contextmanager
def open_pipe() -> Iterator[tuple[int, int]]:
    """Give both ends of a pipe as a daemon makes one on Linux: the reading end is open for both."""
    ends = os.pipe()
    both = os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR | os.O_NONBLOCK)
    yield both, ends[1]
    for end in (both, *ends):
        os.close(end)


def tail(log: Log, lines: int) -> bytes:
    piece = log.file.tail(lines)
    assert piece.offset + len(piece.data) == piece.size == len(log.text)
    return piece.data


class TestTail:
    def test_of_an_empty_file(self, log: Log) -> None:
        log.file.open()
        assert tail(log, 5) == b""

    def test_of_a_file_that_was_not_there(self, log: Log) -> None:
        piece = log.file.tail(5)
        assert (piece.offset, piece.size, piece.data) == (0, 0, b"")

    @pytest.mark.parametrize(
        ("text", "lines", "found"),
        [
            (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
            (b"one\ntwo\nthree", 2, b"two\nthree"),
            (b"one\ntwo\n", 2, b"one\ntwo\n"),
            (b"one\ntwo\n", 99, b"one\ntwo\n"),
            (b"one\ntwo\n", 0, b""),
            (b"\n\n\n", 2, b"\n\n"),
            (b"one\n\n", 1, b"\n"),
            (b"no newline", 1, b"no newline"),
            (b"a\rb\x0bc\n\xff\xfe\n", 1, b"\xff\xfe\n"),
        ],
    )
    def test_of_a_small_file(self, log: Log, text: bytes, lines: int, found: bytes) -> None:
        log.path.write_bytes(text)
        assert tail(log, lines) == found

    def test_a_huge_line_is_cut_at_its_beginning(self, log: Log) -> None:
        log.path.write_bytes(b"before\n" + b"x" * 100_000 + b"end")
        found = tail(log, 1)
        assert len(found) == LIMITS.piece_bytes
        assert found.endswith(b"xend")

    def test_more_than_fits_is_cut_at_its_beginning(self, log: Log) -> None:
        log.path.write_bytes(b"0123456789\n" * 20_000)
        assert len(tail(log, 20_000)) == LIMITS.piece_bytes

    def test_of_a_file_that_is_longer_than_what_is_looked_at(self, log: Log) -> None:
        with log.path.open("wb") as file:
            file.truncate(LIMITS.tail_scan_bytes * 3)
            file.seek(0, os.SEEK_END)
            file.write(b"\none\ntwo\n")
        assert tail(log, 2) == b"one\ntwo\n"

    def test_a_file_that_cannot_be_opened_is_a_refusal(self, log: Log) -> None:
        log.not_opened = "/var/log/web.log: no permission"
        for look in (lambda: log.file.tail(1), lambda: log.file.read(0, 1), log.file.clear):
            with pytest.raises(Refused, match="no permission"):
                look()
        with pytest.raises(Refused, match="no permission"):
            log.file.watch(lambda: None)

    def test_a_file_that_cannot_be_read_is_a_refusal(self, log: Log) -> None:
        log.flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        log.write(b"one\n")
        with pytest.raises(Refused, match=r"cannot read .*web\.log: Bad file descriptor"):
            log.file.tail(1)


@settings(max_examples=60)
@given(st.text("ab\n", max_size=40), st.integers(0, 12))
def test_tail_gives_the_last_lines_of_anything(text: str, lines: int) -> None:
    expected = "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        log = LogFile("log", lambda: os.dup(file.fileno()))
        assert log.tail(lines).data == expected.encode()
        log.close()


class TestRead:
    def test_pieces_put_together_are_the_whole(self, log: Log) -> None:
        whole = bytes(range(256)) * 1000
        log.path.write_bytes(whole)
        found = b""
        while piece := log.file.read(len(found), LIMITS.piece_bytes).data:
            found += piece
        assert found == whole

    @pytest.mark.parametrize("offset", [4, 5, 10**6, 2**63 - 1])
    def test_beyond_the_end_there_is_nothing(self, log: Log, offset: int) -> None:
        log.path.write_bytes(b"one\n")
        piece = log.file.read(offset, 100)
        assert (piece.offset, piece.size, piece.data) == (offset, 4, b"")

    def test_no_length_is_nothing(self, log: Log) -> None:
        log.path.write_bytes(b"one\n")
        assert log.file.read(0, 0).data == b""


class TestWatching:
    def test_each_change_is_told(self, log: Log) -> None:
        told: list[str] = []
        log.file.watch(lambda: told.append("changed"))
        log.write(b"one\n")
        assert told == ["changed"]
        log.file.clear()
        assert told == ["changed"] * 2
        log.file.reopen()
        assert told == ["changed"] * 3
        log.file.move(str(log.path), log.open)
        assert told == ["changed"] * 4

    def test_who_has_stopped_is_told_nothing(self, log: Log) -> None:
        told: list[int] = []
        cancels: list[Callable[[], None]] = []

        def once() -> None:
            told.append(1)
            cancels[0]()

        cancels.append(log.file.watch(once))
        log.file.watch(lambda: told.append(2))
        log.write(b"one\n")
        log.write(b"two\n")
        assert told == [1, 2, 2]


class TestClearAndReopen:
    def test_clear_empties_the_open_file_and_writing_goes_on_at_its_beginning(
        self, log: Log
    ) -> None:
        log.write(b"one\n")
        log.file.clear()
        assert log.text == b""
        log.write(b"two\n")
        assert log.text == b"two\n"

    def test_clear_touches_no_other_file_of_that_name(self, log: Log) -> None:
        log.write(b"one\n")
        log.path.rename(f"{log.path}.1")
        log.path.write_bytes(b"somebody else's")
        log.file.clear()
        assert log.text == b"somebody else's"

    def test_a_file_that_cannot_be_emptied_is_a_refusal(self, log: Log) -> None:
        log.path.write_bytes(b"one\n")
        log.flags = os.O_RDONLY
        with pytest.raises(Refused, match=r"cannot empty .*web\.log: Invalid argument"):
            log.file.clear()

    def test_after_reopen_it_goes_on_in_a_file_of_the_old_name(self, log: Log) -> None:
        log.write(b"one\n")
        log.path.rename(f"{log.path}.1")
        log.write(b"two\n")
        log.file.reopen()
        log.write(b"three\n")
        assert Path(f"{log.path}.1").read_bytes() == b"one\ntwo\n"
        assert log.text == b"three\n"
        assert not is_open(log.opened[0])

    def test_a_pipe_of_before_writes_to_the_new_file(self, log: Log) -> None:
        writer = log.file.writer(US)
        log.path.rename(f"{log.path}.1")
        log.file.reopen()
        os.write(writer, b"late\n")
        os.close(writer)
        log.readers.read()
        assert log.text == b"late\n"

    def test_what_was_never_opened_is_not_reopened(self, log: Log) -> None:
        log.file.reopen()
        assert log.opened == []

    def test_a_reopen_that_fails_keeps_the_old_file(self, log: Log) -> None:
        log.write(b"one\n")
        log.not_opened = "no permission"
        with pytest.raises(LocalError):
            log.file.reopen()
        log.write(b"two\n")
        assert log.text == b"one\ntwo\n"

    def test_move_goes_on_in_another_file(self, log: Log, tmp_path: Path) -> None:
        log.write(b"one\n")
        other = tmp_path / "other.log"
        log.file.move(str(other), lambda: log.open(other))
        log.write(b"two\n")
        assert (log.text, other.read_bytes()) == (b"one\n", b"two\n")
        assert log.file.path == str(other)
        other.rename(tmp_path / "other.log.1")
        log.file.reopen()
        assert other.exists()

    def test_a_move_that_fails_changes_nothing(self, log: Log) -> None:
        log.write(b"one\n")
        log.not_opened = "no permission"
        with pytest.raises(LocalError):
            log.file.move("/other", log.open)
        log.write(b"two\n")
        assert log.text == b"one\ntwo\n"
        assert log.file.path == str(log.path)

    def test_it_can_be_closed_twice(self, log: Log) -> None:
        writer = log.file.writer(US)
        log.file.close()
        log.file.close()
        os.close(writer)


def refuse(path: str) -> int:
    raise AssertionError(f"{path} is no regular file")


def output(logfile: str | None) -> PassedOn:
    found = output_for(logfile, refuse, new_pipes())
    assert isinstance(found, PassedOn)
    return found


class TestPassedOn:
    def test_none_is_thrown_away(self) -> None:
        writer = output(DISCARD).writer(US)
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull))
        os.close(writer)

    @pytest.mark.parametrize(("name", "number"), [("/dev/stdout", 1), ("/dev/stderr", 2)])
    def test_the_daemons_own_streams_are_not_opened_by_path(self, name: str, number: int) -> None:
        writer = output(name).writer(US)
        assert writer > 2
        assert os.path.samestat(os.fstat(writer), os.fstat(number))
        os.close(writer)

    def test_a_device(self) -> None:
        writer = output("/dev/null").writer(US)
        assert os.get_blocking(writer)
        os.close(writer)

    def test_a_fifo_with_a_reader(self, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        writer = output(str(fifo)).writer(US)
        os.write(writer, b"hello")
        assert os.read(reader, 10) == b"hello"
        assert os.get_blocking(writer)
        os.close(writer)
        os.close(reader)

    def test_a_fifo_without_a_reader_is_not_waited_for(self, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with pytest.raises(SpawnError, match=r"log not writable: .*fifo: ") as caught:
            output(str(fifo)).writer(US)
        assert caught.value.permanent

    def test_a_link_to_a_device_is_not_followed(self, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to("/dev/null")
        with pytest.raises(SpawnError, match=r"log not writable: .*link: "):
            output(str(link)).writer(US)

    def test_what_cannot_be_opened_means_no_process(self) -> None:
        def fail() -> int:
            raise LocalError("/x: no permission")

        with pytest.raises(SpawnError, match="log not writable: /x: no permission"):
            PassedOn("/x", fail).writer(US)

    @pytest.mark.parametrize(
        ("logfile", "where"),
        [
            (DISCARD, "nowhere (logfile none)"),
            ("/dev/stdout", "supervisord's /dev/stdout"),
            ("/dev/null", "/dev/null"),
        ],
    )
    def test_nothing_can_be_read_back(self, logfile: str | None, where: str) -> None:
        passed_on = output(logfile)
        asked: list[Callable[[], object]] = [
            lambda: passed_on.tail(1),
            lambda: passed_on.read(0, 1),
            lambda: passed_on.watch(lambda: None),
            passed_on.clear,
        ]
        for ask in asked:
            with pytest.raises(Refused) as caught:
                ask()
            assert str(caught.value) == f"its output goes to {where} and is not kept"

    def test_there_is_nothing_to_reopen_or_close(self) -> None:
        passed_on = output(DISCARD)
        passed_on.reopen()
        passed_on.close()
        os.close(passed_on.writer(US))


def test_everything_else_is_a_regular_file(tmp_path: Path) -> None:
    path = str(tmp_path / "web.log")
    asked: list[str] = []

    def open_file(path: str) -> int:
        asked.append(path)
        return os.open(path, FLAGS)

    found = output_for(path, open_file, new_pipes())
    assert isinstance(found, ProgramLog)
    assert found.read(0, 1).size == 0
    assert asked == [path]
    found.close()
