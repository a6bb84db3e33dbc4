"""The users that a daemon goes by: always those of the file, and nobody if it cannot be believed."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.logged import log_lines
from fakes.reactor import FakeReactor
from passwords_given import EMPTY, ONE, TWO, put, record
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.passwords import changes
from supervisortw.passwords.accounts import Accounts
from supervisortw.passwords.passwdfile import PasswdFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "etc"
    place.mkdir()
    put(place / "passwd", ONE)
    return place / "passwd"


class Bench:
    """Accounts of the file at ``path``, watched, in a reactor that does what the test says."""

    def __init__(self, path: Path | None) -> None:
        self.reactor = FakeReactor()
        self.accounts = Accounts(None if path is None else str(path), self.reactor)
        self.told = 0

    def watch(self) -> None:
        def changed() -> None:
            self.told += 1

        self.accounts.watch(changed)

    def changes(self) -> int:
        """Read what the kernel has to tell; return how many changes were told since the last time."""
        before, self.told = self.told, 0
        for reader in list(self.reactor.readers):
            if select.select([reader], [], [], 0)[0]:
                reader.doRead()
        self.reactor.advance(0)
        now, self.told = self.told, 0
        return before + now

    def close(self) -> None:
        self.accounts.close()
        self.reactor.advance(0)
        assert self.reactor.readers == []
        assert self.reactor.getDelayedCalls() == []


@pytest.fixture
def bench(path: Path) -> Iterator[Bench]:
    made = Bench(path)
    yield made
    made.close()


class TestReading:
    def test_what_stands_there_now(self, bench: Bench, path: Path) -> None:
        with log_lines() as lines:
            assert bench.accounts.passwd() == ONE
            put(path, TWO)
            assert bench.accounts.passwd() == TWO
            assert bench.accounts.note() is None
        assert lines == []

    def test_it_is_read_once_for_each_change(
        self, bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = []
        really = PasswdFile.read
        monkeypatch.setattr(PasswdFile, "read", lambda file: read.append(1) or really(file))
        for _ in range(3):
            assert bench.accounts.passwd() is bench.accounts.passwd()
        assert len(read) == 1
        put(path, "damaged")
        for _ in range(3):
            assert bench.accounts.passwd() is None
        assert len(read) == 2

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda path: put(path, "rubbish\n"), "passwd:1: not a password file"),
            (lambda path: path.write_text("rubbish\n"), "passwd:1: not a password file"),
            (lambda path: path.unlink(), "does not exist; make it with"),
            (lambda path: path.chmod(0o644), "can be read by others; run chmod 600"),
            (lambda path: os.rename(path.parent, path.parents[1] / "away"), "does not exist"),
        ],
    )
    def test_nobody_gets_in_while_it_cannot_be_believed(
        self, bench: Bench, path: Path, change: object, why: str
    ) -> None:
        assert bench.accounts.passwd() == ONE
        change(path)  # type: ignore[operator]
        with log_lines(LogLevel.critical) as lines:
            for _ in range(3):
                assert bench.accounts.passwd() is None
                assert why in str(bench.accounts.note())
        assert len(lines) == 1
        assert "nobody can log in with a password" in lines[0]
        assert why in lines[0]
        with log_lines() as lines:
            path.parent.mkdir(exist_ok=True)
            put(path, TWO)
            assert bench.accounts.passwd() == TWO
        assert lines == [f"passwords are those of {path} again"]

    def test_new_trouble_is_told_again(self, bench: Bench, path: Path) -> None:
        with log_lines(LogLevel.critical) as lines:
            for content in ("one\n", "two", "three"):
                put(path, content)
                assert bench.accounts.passwd() is None
        assert len(lines) == 2  # the last two are cut off

    def test_what_was_mended_around_the_file_is_noticed(self, bench: Bench, path: Path) -> None:
        path.parent.chmod(0o777)
        assert bench.accounts.passwd() is None
        path.parent.chmod(0o700)
        assert bench.accounts.passwd() == ONE

    def test_a_file_without_users_is_one(self, bench: Bench, path: Path) -> None:
        for passwd in (EMPTY, EMPTY.put(record("eve", locked=True))):
            put(path, passwd)
            assert bench.accounts.passwd() == passwd
            assert str(bench.accounts.note()).endswith("has no enabled user")

    def test_no_file_is_no_trouble(self) -> None:
        bench = Bench(None)
        bench.watch()
        with log_lines() as lines:
            assert bench.accounts.passwd() is None
            assert bench.accounts.note() is None
        assert lines == []
        bench.accounts.sessions_open(True)
        bench.close()


@pytest.mark.needs_linux
class TestWatching:
    def test_each_change_is_told_once(self, bench: Bench, path: Path) -> None:
        bench.watch()
        assert bench.changes() == 0
        put(path, TWO)
        assert bench.changes() == 1
        path.write_text("damaged")
        assert bench.changes() == 1
        path.chmod(0o640)
        assert bench.changes() == 1
        path.unlink()
        assert bench.changes() == 1
        put(path, ONE)
        assert bench.changes() == 1
        assert bench.changes() == 0

    def test_other_files_are_not_looked_at(self, bench: Bench, path: Path) -> None:
        bench.watch()
        path.with_name("other").write_text("x")
        assert bench.changes() == 0

    def test_nothing_polls(self, bench: Bench) -> None:
        bench.watch()
        bench.accounts.sessions_open(True)
        assert bench.reactor.getDelayedCalls() == []

    def test_a_change_that_could_not_be_read_is_told_when_it_can(
        self, bench: Bench, path: Path
    ) -> None:
        bench.watch()
        bench.accounts.sessions_open(True)
        path.parent.chmod(0o777)
        put(path, TWO)
        assert bench.changes() == 1
        assert bench.accounts.passwd() is None
        bench.reactor.advance(LIMITS.passwd_look_seconds)
        assert bench.changes() == 0, "nothing new to tell"
        path.parent.chmod(0o700)
        bench.reactor.advance(LIMITS.passwd_look_seconds)
        assert bench.changes() == 1
        assert bench.accounts.passwd() == TWO
        assert bench.reactor.getDelayedCalls() == []

    def test_without_sessions_it_can_wait_for_the_next_login(
        self, bench: Bench, path: Path
    ) -> None:
        bench.watch()
        path.parent.chmod(0o777)
        put(path, TWO)
        assert bench.changes() == 1
        assert bench.reactor.getDelayedCalls() == []
        path.parent.chmod(0o700)
        assert bench.accounts.passwd() == TWO
        assert bench.changes() == 1

    def test_what_only_a_login_has_noticed_is_told(self, bench: Bench, path: Path) -> None:
        bench.close()
        link, other = path.parents[1] / "link", path.parents[1] / "other"
        link.symlink_to(path.parent)
        bench = Bench(link / "passwd")
        bench.watch()
        assert bench.accounts.passwd() == ONE
        other.mkdir()
        put(other / "passwd", TWO)
        link.unlink()
        link.symlink_to(other)
        assert bench.changes() == 0
        assert bench.accounts.passwd() == TWO
        assert bench.changes() == 1
        bench.close()

    def test_a_directory_that_was_replaced(self, bench: Bench, path: Path) -> None:
        bench.watch()
        bench.accounts.sessions_open(True)
        os.rename(path.parent, path.parents[1] / "away")
        assert bench.changes() == 1
        path.parent.mkdir()
        put(path, TWO)
        bench.reactor.advance(LIMITS.passwd_look_seconds)
        assert bench.changes() == 1
        assert bench.reactor.getDelayedCalls() == []
        put(path, ONE)
        assert bench.changes() == 1

    def test_a_directory_that_was_removed(self, bench: Bench, path: Path) -> None:
        bench.watch()
        path.unlink()
        path.parent.rmdir()
        assert bench.changes() == 1
        assert bench.accounts.passwd() is None

    def test_another_file(self, bench: Bench, path: Path) -> None:
        bench.watch()
        assert bench.accounts.passwd() == ONE
        other = path.with_name("other")
        put(other, TWO)
        assert bench.changes() == 0
        bench.accounts.move(str(other))
        assert bench.accounts.passwd() == TWO
        assert bench.changes() == 1
        put(path, EMPTY)
        assert bench.changes() == 0
        put(other, ONE)
        assert bench.changes() == 1
        bench.accounts.move(str(other))
        assert bench.changes() == 0
        bench.accounts.move(None)
        assert bench.changes() == 1
        assert bench.accounts.passwd() is None


@pytest.mark.parametrize("how", ["no inotify", "used up", "no watch left"])
class TestLooking:
    """Where the kernel does not tell."""

    @pytest.fixture
    def bench(self, path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
        def without(changes: object) -> None:
            return None

        if how == "no inotify":
            monkeypatch.setattr(changes.FileChanges, "_watch", without)
        else:
            inotify = pytest.importorskip("twisted.internet.inotify")

            def refuse(*_: object, **__: object) -> None:
                raise OSError(24, "Too many open files")

            name = "__init__" if how == "used up" else "_addWatch"
            monkeypatch.setattr(inotify.INotify, name, refuse)
        made = Bench(path)
        yield made
        made.close()

    def test_a_look_now_and_then_while_sessions_are_open(self, bench: Bench, path: Path) -> None:
        bench.watch()
        assert bench.reactor.getDelayedCalls() == []
        bench.accounts.sessions_open(True)
        bench.accounts.sessions_open(True)
        assert len(bench.reactor.getDelayedCalls()) == 1
        put(path, TWO)
        bench.reactor.advance(LIMITS.passwd_look_seconds - 1)
        assert bench.told == 0
        bench.reactor.advance(1)
        assert bench.told == 1
        bench.reactor.advance(LIMITS.passwd_look_seconds)
        assert bench.told == 1
        bench.accounts.sessions_open(False)
        assert bench.reactor.getDelayedCalls() == []

    def test_another_file_is_looked_at_as_well(self, bench: Bench, path: Path) -> None:
        bench.watch()
        bench.accounts.sessions_open(True)
        other = path.with_name("other")
        bench.accounts.move(str(other))
        assert bench.told == 1
        put(other, TWO)
        bench.reactor.advance(LIMITS.passwd_look_seconds)
        assert bench.told == 2
