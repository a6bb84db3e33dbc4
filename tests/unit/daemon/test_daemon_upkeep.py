"""The rotation of each day, and the compression of older files."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.logdirectory import FakeLogDirectory
from fakes.logged import log_lines
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Keeping
from supervisortw.daemon.logs.compression import Compressor
from supervisortw.daemon.logs.daily import Daily, next_time
from supervisortw.daemon.logs.logfile import LogFile
from supervisortw.daemon.logs.upkeep import DailyUpkeep


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


class Threads:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append(lambda: done.callback(function(*arguments)))
        return done

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class Bench:
    def __init__(self, place: Path, **keys: Any) -> None:
        self.place = place
        self.path = place / "web.log"
        self.directory = FakeLogDirectory(place)
        self.clock = Clock()
        self.began = at("2026-11-27 22:00")
        self.threads = Threads()
        self.compressor = Compressor(self.threads.call)
        daily = Daily(self.clock, lambda: self.began + self.clock.seconds())
        self.log = LogFile(
            str(self.path),
            self.directory.visit,
            Keeping(**keys),
            self.clock,
            DailyUpkeep(daily, self.compressor, self.threads.call),
        )

    def write(self, *lines: str) -> None:
        for line in lines:
            self.log.write(f"{line}\n".encode())

    def files(self) -> dict[str, bytes]:
        return {
            each.name: gzip.decompress(each.read_bytes())
            if each.suffix == ".gz"
            else each.read_bytes()
            for each in sorted(self.place.iterdir())
        }

    def pass_time(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.clock.seconds() + seconds
        while due := [c for c in self.clock.getDelayedCalls() if c.getTime() <= end]:
            self.clock.advance(min(c.getTime() for c in due) - self.clock.seconds())
        self.clock.advance(end - self.clock.seconds())


class TestDaily:
    def test_a_new_file_is_begun_at_its_time(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rotate_at=23 * 60 + 30)
        bench.write("one")
        bench.pass_time(89 * 60)
        assert list(bench.files()) == ["web.log"]
        bench.pass_time(60)
        bench.write("two")
        assert bench.files() == {"web.log": b"two\n", "web.log.1": b"one\n"}
        bench.pass_time(24 * 3600)
        assert list(bench.files()) == ["web.log", "web.log.1", "web.log.2"]
        bench.pass_time(24 * 3600)
        assert list(bench.files()) == ["web.log", "web.log.1", "web.log.2"], "nothing was written"
        bench.log.close()
        assert not bench.clock.getDelayedCalls()

    def test_a_reload_changes_the_time(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        assert not bench.clock.getDelayedCalls()
        bench.write("one")
        bench.log.keep(Keeping(rotate_at=23 * 60))
        bench.pass_time(3600)
        assert list(bench.files()) == ["web.log", "web.log.1"]
        bench.log.keep(Keeping())
        assert not bench.clock.getDelayedCalls()
        bench.log.close()

    def test_a_clock_that_is_set_is_noticed(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rotate_at=3 * 60)
        bench.write("one")
        bench.began += 5 * 3600 - 60
        bench.pass_time(LIMITS.daily_seconds)
        assert list(bench.files()) == ["web.log", "web.log.1"]
        bench.log.close()

    def test_what_goes_wrong_is_told_and_tried_again_the_next_day(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, rotate_at=23 * 60)
        bench.write("one")
        bench.directory.not_changed = "no permission"
        with log_lines(LogLevel.error) as lines:
            bench.pass_time(3600)
        assert lines == [f"cannot rotate {bench.path}: no permission"]
        bench.directory.not_changed = ""
        bench.pass_time(24 * 3600)
        assert list(bench.files()) == ["web.log", "web.log.1"]
        bench.log.close()

    @pytest.mark.parametrize(
        ("now", "minute", "then"),
        [
            ("2026-11-27 22:00", 22 * 60 + 1, "2026-11-27 22:01"),
            ("2026-11-27 22:00", 22 * 60, "2026-11-28 22:00"),
            ("2026-12-31 23:59", 0, "2027-01-01 00:00"),
            ("2026-03-28 12:00", 2 * 60 + 30, "2026-03-29 03:30"),  # there is no 02:30 on that day
            ("2026-10-24 12:00", 4 * 60, "2026-10-25 04:00"),
        ],
    )
    def test_when_it_is_next(self, now: str, minute: int, then: str) -> None:
        assert next_time(at(now), minute) == at(then)


class TestLettingGo:
    """To give the room of a large file back to the disk takes long."""

    def test_the_oldest_file_is_closed_in_a_thread(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, backups=1)
        bench.write("001", "002")
        assert bench.files() == {"web.log": b"", "web.log.1": b"002\n"}
        [left] = [each for each in bench.directory.opened if is_removed(each)]
        bench.threads.work()
        assert not is_removed(left)
        bench.log.close()

    def test_so_is_one_of_which_no_older_ones_are_kept(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, backups=0)
        bench.write("001")
        [left] = [each for each in bench.directory.opened if is_removed(each)]
        bench.threads.work()
        assert not is_removed(left)
        bench.log.close()

    def test_and_one_that_somebody_has_removed(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        bench.write("001")
        bench.path.unlink()
        bench.write("002")
        assert len(bench.threads.waiting) == 1
        bench.threads.work()
        bench.log.close()


def is_removed(file: int) -> bool:
    """True if it is open, and has no name any more."""
    try:
        return os.fstat(file).st_nlink == 0
    except OSError:
        return False


class TestCompression:
    def test_all_but_the_youngest_are_compressed(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001", "002", "003")
        bench.threads.work()
        assert list(bench.files()) == ["web.log", "web.log.1", "web.log.2.gz", "web.log.3.gz"]
        bench.write("004")
        bench.threads.work()
        assert bench.files() == {
            "web.log": b"",
            "web.log.1": b"004\n",
            "web.log.2.gz": b"003\n",
            "web.log.3.gz": b"002\n",
            "web.log.4.gz": b"001\n",
        }
        bench.log.close()

    def test_nothing_is_compressed_that_is_not_to_be(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4)
        bench.write("001", "002", "003")
        assert not bench.threads.waiting
        bench.log.close()

    def test_a_file_that_moves_on_meanwhile_is_found(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001", "002")
        assert len(bench.threads.waiting) == 1
        bench.write("003")
        bench.threads.work()
        assert bench.files()["web.log.3.gz"] == b"001\n"
        assert bench.files()["web.log.2.gz"] == b"002\n"
        bench.log.close()

    def test_a_file_that_goes_meanwhile_leaves_nothing(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, backups=2, compress=True)
        bench.write("001", "002")
        bench.write("003")
        bench.threads.work()
        assert bench.files() == {"web.log": b"", "web.log.1": b"003\n", "web.log.2.gz": b"002\n"}
        bench.log.close()

    def test_what_a_daemon_has_left_half_done_is_done_anew(self, tmp_path: Path) -> None:
        (tmp_path / "web.log.gz.new").write_bytes(b"half")
        (tmp_path / "web.log.1").write_bytes(b"old\n")
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001")
        bench.threads.work()
        assert bench.files() == {"web.log": b"", "web.log.1": b"001\n", "web.log.2.gz": b"old\n"}
        bench.log.close()

    def test_one_that_is_large_is_compressed_in_parts(self, tmp_path: Path) -> None:
        whole = os.urandom(3 * LIMITS.compressed_at_once_bytes + 1)
        (tmp_path / "web.log.1").write_bytes(whole)
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001")
        bench.threads.work()
        assert bench.files()["web.log.2.gz"] == whole
        bench.log.close()

    def test_trouble_leaves_the_file_as_it_was(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001", "002")
        bench.directory.not_changed = "no permission"
        with log_lines(LogLevel.error) as lines:
            bench.threads.work()
        assert lines == [f"older files of {bench.path} not compressed: no permission"]
        assert (tmp_path / "web.log.2").read_bytes() == b"001\n"
        bench.log.close()

    def test_at_the_end_of_the_daemon_nothing_is_waited_for(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, compress=True)
        bench.write("001", "002")
        bench.compressor.stop()
        bench.threads.work()
        bench.write("003")
        assert not bench.threads.waiting
        assert sorted(each.name for each in tmp_path.iterdir()) == [
            "web.log",
            "web.log.1",
            "web.log.2",
            "web.log.3",
        ]
        bench.log.close()

    def test_many_logs_wait_for_each_other(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, size=4, compress=True)
        (tmp_path / "other").mkdir()
        other = FakeLogDirectory(tmp_path / "other")
        upkeep = DailyUpkeep(Daily(bench.clock), bench.compressor, bench.threads.call)
        log = LogFile(
            str(other.place / "o.log"), other.visit, bench.log.keeping, bench.clock, upkeep
        )
        bench.write("001", "002")
        for line in (b"001\n", b"002\n"):
            log.write(line)
        assert len(bench.threads.waiting) == 1
        bench.threads.work()
        assert (tmp_path / "web.log.2.gz").exists()
        assert (other.place / "o.log.2.gz").exists()
        log.close()
        bench.log.close()
