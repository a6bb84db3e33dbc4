"""The file of a log: written, rotated, followed, and read back over all its files."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.logdirectory import FakeLogDirectory, Stopped
from fakes.logged import log_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.anchor import Anchor
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Keeping
from supervisortw.daemon.logs import rotation
from supervisortw.daemon.logs.logfile import LogFile
from supervisortw.errors import LocalError, Refused


class Bench:
    """The log web.log in a directory of the test, of one daemon after the other."""

    def __init__(self, place: Path, size: int = 0, backups: int = 10) -> None:
        self.place = place
        self.path = place / "web.log"
        self.directory = FakeLogDirectory(place)
        self.clock = Clock()
        self.keeping = Keeping(size=size, backups=backups)
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)
        self.anchor: Anchor | None = None
        self.log = self.make()

    def make(self) -> LogFile:
        log = LogFile(str(self.path), self.directory.visit, self.keeping, self.clock)
        log.go_on(self.anchor, self.note)
        return log

    def note(self, anchor: Anchor) -> None:
        self.anchor = anchor

    def next_daemon(self) -> None:
        """Let the daemon die without a word, and another one go on."""
        self.log.close()
        for left in filter(is_open, self.directory.opened):
            os.close(left)
        self.directory.steps = -1
        self.log = self.make()

    def close(self) -> None:
        self.log.close()
        for end in (self.reader, self.writer):
            os.close(end)
        assert not any(map(is_open, self.directory.opened)), "a descriptor is left"

    def say(self, data: bytes) -> None:
        """Let a program print, and the log take it."""
        os.write(self.writer, data)
        self.take()

    def take(self) -> None:
        while self.log.take(self.reader):
            pass

    def files(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in sorted(self.place.iterdir())}

    def whole(self) -> bytes:
        """Return all that is there, in order."""
        older = [path for path in self.place.iterdir() if path.suffix[1:].isdigit()]
        in_order = sorted(older, key=lambda path: -int(path.suffix[1:]))
        return b"".join(path.read_bytes() for path in (*in_order, self.path) if path.exists())

    def read_all(self, offset: int = 0) -> bytes:
        found = b""
        while piece := self.log.read(offset + len(found), 1000).data:
            found += piece
        return found

    def tail(self, lines: int) -> bytes:
        return self.log.tail(lines).data


def fail_to_take_back(*_: object) -> None:
    raise LocalError("no room")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture(params=[pytest.param("splice", marks=pytest.mark.needs_linux), "copy"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    if request.param == "copy":
        monkeypatch.delattr(os, "splice", raising=False)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


class TestTaking:
    def test_what_is_printed_is_appended(self, bench: Bench) -> None:
        bench.path.write_bytes(b"before\n")
        bench.say(b"one\n")
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"before\none\ntwo\n"}

    def test_how_much_was_taken_is_told(self, bench: Bench) -> None:
        assert bench.log.take(bench.reader) == 0
        os.write(bench.writer, b"12345")
        assert bench.log.take(bench.reader) == 5
        assert bench.log.take(bench.reader) == 0

    def test_the_end_is_told(self, bench: Bench) -> None:
        reader, writer = os.pipe()
        os.close(writer)
        with pytest.raises(EOFError):
            bench.log.take(reader)
        os.close(reader)

    def test_who_appends_as_well_is_not_written_over(self, bench: Bench) -> None:
        bench.say(b"one\n")
        with bench.path.open("ab") as file:
            file.write(b"a stranger\n")
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"one\na stranger\ntwo\n"}


@pytest.mark.needs_linux
def test_where_nothing_can_be_spliced_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        tried.append(1)
        raise OSError(errno.EINVAL, "Invalid argument")

    tried: list[int] = []
    monkeypatch.setattr(os, "splice", refuse)
    bench = Bench(tmp_path)
    bench.say(b"one\n")
    bench.say(b"two\n")
    assert (bench.files(), tried) == ({"web.log": b"one\ntwo\n"}, [1])
    bench.close()


class TestFollowing:
    """Others do to the file what they like."""

    def test_a_file_that_was_moved_away(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.rename(f"{bench.path}-20261127")
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"two\n", "web.log-20261127": b"one\n"}

    def test_a_file_that_somebody_has_put_there(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.rename(f"{bench.path}.old")
        bench.path.write_bytes(b"created\n")
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"created\ntwo\n", "web.log.old": b"one\n"}

    def test_a_file_that_was_emptied(self, bench: Bench) -> None:
        bench.say(b"one\n" * 100)
        os.truncate(bench.path, 0)
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"two\n"}

    def test_a_file_that_was_removed(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.unlink()
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"two\n"}

    def test_where_no_new_file_can_be_made_the_old_one_goes_on(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.rename(f"{bench.path}.1")
        bench.directory.not_opened = "no permission"
        bench.say(b"two\n")
        visits = bench.directory.visits
        bench.say(b"three\n")
        assert bench.directory.visits == visits, "not with every line"
        bench.directory.not_opened = ""
        bench.clock.advance(LIMITS.log_retry_seconds)
        bench.say(b"four\n")
        assert bench.files() == {"web.log": b"four\n", "web.log.1": b"one\ntwo\nthree\n"}

    def test_a_reader_misses_nothing_of_a_file_that_was_moved(self, bench: Bench) -> None:
        cancel = bench.log.watch(lambda: None)
        bench.say(b"one\n")
        bench.path.rename(f"{bench.path}-20261127")
        bench.say(b"two\n")
        assert bench.read_all() == b"one\ntwo\n"
        cancel()
        piece = bench.log.read(0, 100)
        assert (piece.offset, piece.size, piece.data) == (4, 8, b"two\n")

    def test_positions_go_on_when_it_is_emptied(self, bench: Bench) -> None:
        bench.say(b"one\n")
        epoch = bench.log.read(0, 100).epoch
        os.truncate(bench.path, 0)
        bench.say(b"two\n")
        piece = bench.log.read(0, 100)
        assert (piece.offset, piece.size, piece.data, piece.epoch) == (4, 8, b"two\n", epoch)


class TestTrouble:
    """Whatever happens to the file, whoever prints goes on."""

    @pytest.fixture
    def full(self, bench: Bench) -> Bench:
        bench.directory.instead = "/dev/full", os.O_RDWR
        return bench

    @pytest.mark.needs_linux
    def test_a_full_disk_costs_output_and_is_told_once(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.say(b"fine\n")
        disk_is_full(bench, monkeypatch)
        with log_lines(LogLevel.warn) as lines:
            for _ in range(3):
                bench.say(b"012345678\n")
                bench.clock.advance(LIMITS.log_retry_seconds)
        assert lines == [f"output is lost: {bench.path}: No space left on device"]
        assert bench.log.note() == (
            f"its output is being lost, 30 bytes so far: {bench.path}: No space left on device"
        )
        monkeypatch.undo()
        with log_lines(LogLevel.warn) as lines:
            bench.say(b"back\n")
            bench.say(b"again\n")
        assert lines == [f"writing to {bench.path} again; 30 bytes were lost"]
        assert bench.files()["web.log"] == (
            b"fine\n"
            b"-- supervisord: 30 bytes are missing here: No space left on device --\n"
            b"back\nagain\n"
        )
        assert bench.log.note() == (
            f"30 bytes of its output were lost: {bench.path}: No space left on device"
        )
        bench.log.clear()
        assert bench.log.note() == ""

    @pytest.mark.parametrize(
        "number", [errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE]
    )
    def test_any_other_refusal_is_told_as_it_is(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        bench.say(b"fine\n")
        disk_is_full(bench, monkeypatch, number)
        bench.say(b"lost\n")
        assert bench.log.note() == (
            f"its output is being lost, 5 bytes so far: {bench.path}: {os.strerror(number)}"
        )
        monkeypatch.undo()
        bench.clock.advance(LIMITS.log_retry_seconds)
        bench.say(b"back\n")
        assert bench.files()["web.log"].endswith(b"back\n")

    def test_a_line_that_has_lost_its_beginning_is_lost_whole(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.say(b"fine\nhalf a")
        disk_is_full(bench, monkeypatch)
        bench.say(b" line and")
        monkeypatch.undo()
        bench.say(b"still within the retry")
        bench.clock.advance(LIMITS.log_retry_seconds)
        bench.say(b" its")
        bench.say(b" end\nanother\n")
        text = b"-- supervisord: 40 bytes are missing here: No space left on device --\n"
        assert bench.files()["web.log"] == b"fine\nhalf a\n" + text + b"another\n"

    @pytest.mark.parametrize(
        ("later", "times"), [(LIMITS.log_told_seconds, 2), (LIMITS.log_retry_seconds, 1)]
    )
    def test_a_second_loss_is_told_again_but_not_every_second(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, later: float, times: int
    ) -> None:
        with log_lines(LogLevel.warn) as lines:
            for _ in range(2):
                bench.say(b"fine\n")
                disk_is_full(bench, monkeypatch)
                bench.say(b"lost\n")
                monkeypatch.undo()
                bench.clock.advance(later)
                bench.say(b"fine\n")
        assert bench.log.note().startswith("10 bytes of its output were lost")
        assert [line.partition(":")[0] for line in lines] == [
            "output is lost",
            f"writing to {bench.path} again; 5 bytes were lost",
        ] * times

    def test_a_directory_that_was_removed(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.unlink()
        bench.directory.not_opened = "directory /var/log does not exist"
        with log_lines(LogLevel.warn) as lines:
            bench.say(b"two\n")
        assert lines == [f"output is lost: {bench.path}: directory /var/log does not exist"]
        bench.directory.not_opened = ""
        bench.say(b"too early\n")
        bench.clock.advance(LIMITS.log_retry_seconds)
        bench.say(b"three\n")
        assert bench.files()["web.log"].splitlines()[1:] == [b"three"]

    def test_somebody_who_has_mended_it_need_not_wait(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.say(b"one\n")
        disk_is_full(bench, monkeypatch)
        bench.say(b"two\n")
        monkeypatch.undo()
        bench.log.reopen()
        bench.say(b"three\n")
        assert bench.files()["web.log"].endswith(b"three\n")

    def test_a_write_of_our_own_is_lost_whole(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.log.write(b"one\n")
        write = os.pwrite
        written: list[int] = []

        def short(file: int, data: bytes, offset: int) -> int:
            if written:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(1)
            return write(file, bytes(data)[:3], offset)

        monkeypatch.setattr(os, "pwrite", short)
        bench.log.write(b"0123456789\n")
        assert bench.files() == {"web.log": b"one\n"}

    def test_a_short_write_is_gone_on_with(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.pwrite
        monkeypatch.setattr(
            os, "pwrite", lambda file, data, offset: write(file, bytes(data)[:3], offset)
        )
        bench.log.write(b"0123456789")
        assert bench.files() == {"web.log": b"0123456789"}


def disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> None:
    """Let every write fail from now on."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    if hasattr(os, "splice"):
        splice = os.splice

        def fail_if_there_is_something(source: int, *rest: object, **keys: object) -> int:
            there = struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, b"\0" * 4))[0]
            return fail() if there else splice(source, *rest, **keys)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "splice", fail_if_there_is_something)
    monkeypatch.setattr(os, "pwrite", fail)


class TestRotation:
    def keep(self, bench: Bench, size: int, backups: int = 10) -> None:
        bench.log.keeping = bench.keeping = Keeping(size=size, backups=backups)

    def test_a_full_file_becomes_an_older_one(self, bench: Bench) -> None:
        self.keep(bench, 8)
        for number in range(5):
            bench.say(b"%03d\n" % number)
        assert bench.files() == {
            "web.log": b"004\n",
            "web.log.1": b"002\n003\n",
            "web.log.2": b"000\n001\n",
        }

    def test_it_is_cut_behind_a_line(self, bench: Bench) -> None:
        self.keep(bench, 10)
        bench.say(b"one\ntwo\nthree\n")
        bench.say(b"four\n")
        assert bench.files() == {
            "web.log": b"four\n",
            "web.log.1": b"three\n",
            "web.log.2": b"one\ntwo\n",
        }

    def test_a_line_that_is_larger_than_the_file_is_whole(self, bench: Bench) -> None:
        self.keep(bench, 10)
        bench.say(b"one\n")
        bench.say(b"x" * 1000)
        bench.say(b"y\n")
        bench.say(b"two\n")
        files = bench.files()
        assert files.pop("web.log") == b"two\n"
        assert sorted(files.values()) == [b"one\n", b"x" * 1000 + b"y\n"]

    def test_a_line_without_end_is_cut(self, bench: Bench) -> None:
        self.keep(bench, 10)
        for _ in range(3):
            bench.say(b"x" * (LIMITS.log_line_bytes // 2))
        assert len(bench.files()) == 2
        assert bench.whole() == b"x" * (LIMITS.log_line_bytes // 2 * 3)

    def test_no_more_older_ones_than_are_wanted(self, bench: Bench) -> None:
        self.keep(bench, 4, backups=2)
        for number in range(6):
            bench.say(b"%03d\n" % number)
        assert bench.files() == {"web.log": b"", "web.log.1": b"005\n", "web.log.2": b"004\n"}

    def test_none_are_kept_if_none_are_wanted(self, bench: Bench) -> None:
        self.keep(bench, 8, backups=0)
        for number in range(5):
            bench.say(b"%03d\n" % number)
        assert bench.files() == {"web.log": b"004\n"}

    def test_those_that_are_too_many_since_a_reload_go(self, bench: Bench) -> None:
        for number in (1, 2, 3, 4):
            Path(f"{bench.path}.{number}").write_bytes(b"old\n")
        Path(f"{bench.path}.5.gz").write_bytes(b"compressed")
        self.keep(bench, 4, backups=2)
        bench.say(b"000\n")
        assert sorted(bench.files()) == ["web.log", "web.log.1", "web.log.2"]
        assert bench.files()["web.log.2"] == b"old\n"

    def test_a_gap_among_the_numbers_is_filled(self, bench: Bench) -> None:
        Path(f"{bench.path}.1").write_bytes(b"1\n")
        Path(f"{bench.path}.3").write_bytes(b"3\n")
        self.keep(bench, 4)
        bench.say(b"000\n")
        files = bench.files()
        assert (files["web.log.1"], files["web.log.2"], files["web.log.3"]) == (
            b"000\n",
            b"1\n",
            b"3\n",
        )

    def test_compressed_ones_move_on_as_well(self, bench: Bench) -> None:
        Path(f"{bench.path}.1.gz").write_bytes(b"compressed")
        self.keep(bench, 4)
        bench.say(b"000\n")
        assert sorted(bench.files()) == ["web.log", "web.log.1", "web.log.2.gz"]

    def test_our_own_lines_are_rotated_too(self, bench: Bench) -> None:
        self.keep(bench, 8)
        for number in range(3):
            bench.log.write(b"%03d\n" % number)
        assert bench.files() == {"web.log": b"002\n", "web.log.1": b"000\n001\n"}

    def test_one_that_cannot_be_goes_on_up_to_twice_the_size(self, bench: Bench) -> None:
        self.keep(bench, 100_000)
        bench.directory.not_changed = "no permission to rename"
        with log_lines(LogLevel.warn) as lines:
            for number in range(30):
                bench.say(b"%03d\n" % number + b"x" * 9995 + b"\n")
        assert lines == [
            f"cannot rotate {bench.path}: no permission to rename",
            f"output is lost: {bench.path}: it is too large, and cannot be rotated: "
            "no permission to rename",
        ]
        bench.directory.not_changed = ""
        bench.clock.advance(LIMITS.log_retry_seconds)
        bench.say(b"late\n")
        whole = bench.whole()
        assert 200_000 <= whole.index(b"-- supervisord") <= 200_000 + LIMITS.log_line_bytes + 10_000
        assert whole.endswith(b"late\n")
        assert whole.count(b"-- supervisord: ") == 1

    def test_one_whose_file_is_moved_away_meanwhile_harms_nothing(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.keep(bench, 8)
        bench.say(b"000\n")
        rename_all = bench.directory.rename_all

        def move_first(pairs: Sequence[tuple[str, str]]) -> None:
            monkeypatch.undo()
            bench.path.rename(bench.place / "moved")
            rename_all(pairs)

        monkeypatch.setattr(bench.directory, "rename_all", move_first)
        bench.say(b"001\n")
        bench.say(b"002\n")
        assert bench.files() == {"moved": b"000\n001\n", "web.log": b"002\n"}

    def test_a_full_disk_costs_no_descriptors(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.keep(bench, 8)
        bench.say(b"000\n")
        before = len(os.listdir("/dev/fd"))
        bench.directory.not_changed = "no permission"
        monkeypatch.setattr(rotation, "_take_back", fail_to_take_back)
        for _ in range(3):
            bench.say(b"001\n")
            bench.clock.advance(LIMITS.log_retry_seconds)
        assert len(os.listdir("/dev/fd")) == before

    def test_on_demand_whatever_the_size(self, bench: Bench) -> None:
        bench.log.rotate()
        assert bench.files() == {"web.log": b""}
        bench.say(b"one\nhalf")
        bench.log.rotate()
        assert bench.files() == {"web.log": b"half", "web.log.1": b"one\n"}
        bench.log.rotate()
        assert bench.files() == {"web.log": b"half", "web.log.1": b"one\n"}

    @pytest.mark.parametrize("backups", [0, 1, 3])
    @pytest.mark.parametrize("steps", range(8))
    def test_a_daemon_that_dies_in_the_middle_loses_and_repeats_nothing(
        self, bench: Bench, steps: int, backups: int
    ) -> None:
        text = b"".join(b"%03d\n" % number for number in range(40))
        bench.log.watch(lambda: None)
        self.keep(bench, 10, backups)
        bench.directory.steps = steps
        said = 0
        while said < len(text):
            try:
                os.write(bench.writer, text[said : said + 7])
                said += 7
                bench.take()
            except Stopped:
                bench.next_daemon()
                bench.log.watch(lambda: None)
                bench.take()
        kept = bench.whole()
        assert kept
        assert text.endswith(kept)
        assert len(kept) > 10 * backups
        assert set(bench.files()) <= {"web.log", *(f"web.log.{n + 1}" for n in range(backups))}
        piece = bench.log.read(0, 1000)
        assert piece.data.endswith(kept)
        if backups:  # otherwise nothing may be left of the file that the last position was noted of
            assert piece.data == kept
            assert (piece.offset, piece.size) == (len(text) - len(kept), len(text))


class TestPositions:
    def test_they_go_on_over_all_files(self, bench: Bench) -> None:
        bench.log.keeping = Keeping(size=8, backups=2)
        epoch = bench.log.read(0, 1).epoch
        for number in range(10):
            bench.say(b"%03d\n" % number)
            assert bench.log.read(10**6, 10).size == 4 * (number + 1)
        piece = bench.log.read(0, 1000)
        assert (piece.offset, piece.data) == (24, b"006\n007\n008\n009\n")
        assert piece.epoch == epoch
        assert bench.read_all(30) == b"7\n008\n009\n"

    def test_they_begin_with_the_oldest_file(self, bench: Bench) -> None:
        Path(f"{bench.path}.1").write_bytes(b"before\n")
        bench.path.write_bytes(b"now\n")
        piece = bench.log.read(0, 100)
        assert (piece.offset, piece.size, piece.data) == (0, 11, b"before\nnow\n")

    def test_the_next_daemon_goes_on_with_them(self, bench: Bench) -> None:
        bench.log.keeping = bench.keeping = Keeping(size=8, backups=2)
        bench.log.read(0, 1)
        for number in range(10):
            bench.say(b"%03d\n" % number)
        before = bench.log.read(30, 100)
        bench.next_daemon()
        assert bench.log.read(30, 100) == before
        assert bench.log.tail(1).offset == 36

    def test_a_rotation_that_nobody_has_noted_is_found_out(self, bench: Bench) -> None:
        bench.log.keeping = bench.keeping = Keeping(size=8, backups=5)
        bench.say(b"000\n")
        epoch = bench.log.read(0, 1).epoch
        noted = bench.anchor
        for number in range(1, 6):
            bench.say(b"%03d\n" % number)
        bench.anchor = noted
        bench.next_daemon()
        piece = bench.log.read(20, 100)
        assert (piece.offset, piece.size, piece.data, piece.epoch) == (20, 24, b"005\n", epoch)

    def test_what_the_next_daemon_rotates_away_before_anybody_reads_counts(
        self, bench: Bench
    ) -> None:
        bench.log.keeping = bench.keeping = Keeping(size=8, backups=1)
        bench.say(b"000\n")
        epoch = bench.log.read(0, 1).epoch
        bench.next_daemon()
        for number in range(1, 10):  # the inode of the file that was noted is soon another one's
            bench.say(b"%03d\n" % number)
        piece = bench.log.read(4, 100)
        assert (piece.offset, piece.data, piece.epoch) == (32, b"008\n009\n", epoch)

    def test_a_rotation_that_failed_moves_nothing(self, bench: Bench) -> None:
        bench.log.keeping = Keeping(size=8, backups=2)
        bench.say(b"000\n")
        bench.log.watch(lambda: None)
        bench.directory.not_changed = "no permission to rename"
        for number in range(1, 5):
            bench.say(b"%03d\n" % number)
            bench.clock.advance(LIMITS.log_retry_seconds)
            piece = bench.log.read(4 * number, 100)
            assert (piece.offset, piece.data) == (4 * number, b"%03d\n" % number)

    def test_what_fits_nowhere_begins_another_count(self, bench: Bench) -> None:
        bench.say(b"one\n")
        epoch = bench.log.read(0, 1).epoch
        bench.path.rename(bench.place / "elsewhere")
        bench.next_daemon()
        bench.say(b"two\n")
        piece = bench.log.read(0, 10)
        assert (piece.offset, piece.data) == (0, b"two\n")
        assert piece.epoch != epoch

    def test_nobody_counts_where_nobody_reads(self, bench: Bench) -> None:
        bench.log.keeping = Keeping(size=8, backups=2)
        for number in range(10):
            bench.say(b"%03d\n" % number)
        assert bench.anchor is None

    def test_clear_moves_the_beginning_to_the_end(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.log.clear()
        piece = bench.log.read(0, 10)
        assert (piece.offset, piece.size, piece.data) == (4, 4, b"")
        bench.say(b"two\n")
        piece = bench.log.read(0, 10)
        assert (piece.offset, piece.size, piece.data) == (4, 8, b"two\n")
        assert bench.files() == {"web.log": b"two\n"}


class TestTail:
    def test_of_an_empty_file(self, bench: Bench) -> None:
        bench.log.open()
        assert bench.tail(5) == b""

    def test_of_a_file_that_was_not_there(self, bench: Bench) -> None:
        piece = bench.log.tail(5)
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
    def test_of_a_small_file(self, bench: Bench, text: bytes, lines: int, found: bytes) -> None:
        bench.path.write_bytes(text)
        assert bench.tail(lines) == found

    def test_more_than_fits_in_a_piece_is_the_first_piece(self, bench: Bench) -> None:
        bench.path.write_bytes(b"0123456789\n" * 20_000)
        piece = bench.log.tail(15_000)
        assert (piece.offset, len(piece.data)) == (11 * 5_000, LIMITS.piece_bytes)

    def test_lines_of_older_files_count(self, bench: Bench) -> None:
        Path(f"{bench.path}.1").write_bytes(b"one\ntwo\n")
        bench.path.write_bytes(b"three\n")
        assert bench.tail(2) == b"two\nthree\n"

    def test_of_a_file_that_is_longer_than_what_is_looked_at(self, bench: Bench) -> None:
        with bench.path.open("wb") as file:
            file.truncate(LIMITS.tail_scan_bytes * 3)
            file.seek(0, os.SEEK_END)
            file.write(b"\none\ntwo\n")
        assert bench.tail(2) == b"one\ntwo\n"
        assert bench.log.tail(3).offset == bench.log.tail(0).offset - LIMITS.tail_scan_bytes

    def test_a_file_that_cannot_be_opened_is_a_refusal(self, bench: Bench) -> None:
        bench.directory.not_opened = "/var/log/web.log: no permission"
        for look in (lambda: bench.log.tail(1), lambda: bench.log.read(0, 1), bench.log.clear):
            with pytest.raises(Refused, match="no permission"):
                look()
        with pytest.raises(Refused, match="no permission"):
            bench.log.watch(lambda: None)

    def test_a_file_that_cannot_be_read_is_a_refusal(self, bench: Bench) -> None:
        bench.path.write_bytes(b"one\n")
        bench.directory.instead = str(bench.path), os.O_WRONLY
        with pytest.raises(Refused, match=r"cannot read .*web\.log: Bad file descriptor"):
            bench.log.tail(1)


@settings(max_examples=60)
@given(st.text("ab\n", max_size=40), st.integers(0, 12))
def test_tail_gives_the_last_lines_of_anything(text: str, lines: int) -> None:
    expected = "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place))
        bench.path.write_bytes(text.encode())
        assert bench.tail(lines) == expected.encode()
        bench.close()


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.text("ab\n", min_size=1, max_size=30),
            st.sampled_from(["rotate", "die", "move", "truncate", "clear"]),
        ),
        max_size=25,
    ),
    st.integers(0, 12),
)
def test_whatever_happens_a_reader_gets_each_byte_once_or_is_told_that_it_is_gone(
    acts: list[str], size: int
) -> None:
    """What follows each other in pieces has the positions that it was written at."""
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), size=size, backups=3)
        epoch, written, at = bench.log.read(0, 1).epoch, b"", 0
        bench.log.watch(lambda: None)
        for number, act in enumerate(acts):
            if act == "rotate":
                bench.log.rotate()
            elif act == "die":
                bench.next_daemon()
                bench.log.watch(lambda: None)
            elif act == "move" and bench.path.exists():
                bench.path.rename(bench.place / f"moved{number}")
            elif act == "truncate" and bench.path.exists():
                os.truncate(bench.path, 0)
            elif act == "clear":
                bench.log.clear()
            else:
                bench.say(act.encode())
                written += act.encode()
            piece = bench.log.read(at, 20)
            if piece.epoch != epoch:  # the anchor's file was moved while no daemon was there
                epoch, written, at = piece.epoch, b"\0" * piece.size, piece.size
                continue
            assert piece.size == len(written)
            assert piece.data == written[piece.offset : piece.offset + len(piece.data)]
            assert piece.offset >= at
            at = piece.offset + len(piece.data)
        bench.close()


class TestWatching:
    def test_each_change_is_told(self, bench: Bench) -> None:
        told: list[str] = []
        bench.log.watch(lambda: told.append("changed"))
        bench.say(b"one\n")
        assert told == ["changed"]
        bench.log.clear()
        assert told == ["changed"] * 2
        bench.log.reopen()
        assert told == ["changed"] * 3
        bench.log.move(str(bench.path), bench.directory.visit)
        assert told == ["changed"] * 4

    def test_who_has_stopped_is_told_nothing(self, bench: Bench) -> None:
        told: list[int] = []
        cancels: list[Callable[[], None]] = []

        def once() -> None:
            told.append(1)
            cancels[0]()

        cancels.append(bench.log.watch(once))
        bench.log.watch(lambda: told.append(2))
        bench.say(b"one\n")
        bench.say(b"two\n")
        assert told == [1, 2, 2]


class TestReopenAndMove:
    def test_a_file_that_cannot_be_emptied_is_a_refusal(self, bench: Bench) -> None:
        bench.path.write_bytes(b"one\n")
        bench.directory.instead = str(bench.path), os.O_RDONLY
        with pytest.raises(Refused, match=r"cannot empty .*web\.log: Invalid argument"):
            bench.log.clear()

    def test_after_reopen_it_goes_on_in_a_file_of_the_old_name(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.path.rename(f"{bench.path}.1")
        bench.log.reopen()
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"two\n", "web.log.1": b"one\n"}

    def test_what_was_never_opened_is_not_reopened(self, bench: Bench) -> None:
        bench.log.reopen()
        assert bench.directory.opened == []

    def test_a_reopen_that_fails_keeps_the_old_file(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.directory.not_opened = "no permission"
        with pytest.raises(LocalError):
            bench.log.reopen()
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"one\ntwo\n"}

    def test_move_goes_on_in_another_file(self, bench: Bench) -> None:
        bench.say(b"one\n")
        other = bench.place / "other.log"
        bench.log.move(str(other), bench.directory.visit)
        bench.say(b"two\n")
        assert bench.files() == {"other.log": b"two\n", "web.log": b"one\n"}
        assert bench.log.path == str(other)
        other.rename(bench.place / "other.log.1")
        bench.log.reopen()
        assert other.exists()

    def test_a_move_that_fails_changes_nothing(self, bench: Bench) -> None:
        bench.say(b"one\n")
        bench.directory.not_opened = "no permission"
        with pytest.raises(LocalError):
            bench.log.move("/other", bench.directory.visit)
        bench.say(b"two\n")
        assert bench.files() == {"web.log": b"one\ntwo\n"}
        assert bench.log.path == str(bench.path)

    def test_it_can_be_closed_twice(self, bench: Bench) -> None:
        bench.log.open()
        bench.log.close()
        bench.log.close()


def test_in_one_turn_no_more_is_taken_than_so_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = replace(LIMITS, log_splice_bytes=1000, log_read_bytes=1000)
    monkeypatch.setattr("supervisortw.daemon.logs.logfile.LIMITS", limits)
    bench = Bench(tmp_path)
    os.write(bench.writer, b"x" * 5000)
    assert bench.log.take(bench.reader) == 1000
    bench.close()
