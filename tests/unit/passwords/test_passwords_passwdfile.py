"""The password file on a disk: whole or refused, and nobody else's."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.stranger import STRANGER, open_files, public_directory
from passwords_given import EMPTY, ONE, TWO, put, record

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import Passwd, written
from supervisortw.errors import LocalError, UnsafePath
from supervisortw.passwords import passwdfile
from supervisortw.passwords.passwdfile import (
    BadPasswdFile,
    ChangedMeanwhile,
    NoPasswdFile,
    PasswdFile,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "passwd"


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def _killed_at_call(number: int, work: Callable[[], None]) -> bool:
    """Do ``work`` in a process that kills itself instead of this call of os; tell whether it ended."""
    pid = os.fork()
    if pid == 0:
        left = [number]

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def counting(*given: object, **keys: object) -> object:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return call(*given, **keys)

            return counting

        code = 1
        try:
            for name in ("open", "fchmod", "fsync", "rename", "unlink", "close", "fstat"):
                setattr(os, name, counted(getattr(os, name)))
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), "the work has failed"
    return status == 0


class TestReading:
    def test_what_was_written(self, path: Path) -> None:
        PasswdFile(str(path)).write(TWO)
        before = open_files()
        file = PasswdFile(str(path))
        assert file.read() == TWO
        assert file.stamp == file.look()
        assert open_files() == before

    def test_there_is_none(self, path: Path) -> None:
        with pytest.raises(NoPasswdFile, match=f"make it with: supervisorctl passwd {path}"):
            PasswdFile(str(path)).read()
        with pytest.raises(NoPasswdFile, match=r"directory .*nowhere does not exist"):
            PasswdFile(str(path.parent / "nowhere" / "passwd")).read()
        assert PasswdFile(str(path)).look() is None

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602, 0o610, 0o601])
    def test_nobody_else_may_read_or_write_it(self, path: Path, mode: int) -> None:
        put(path, ONE, mode)
        with pytest.raises(UnsafePath, match=f"0{mode:o}.*run chmod 600"):
            PasswdFile(str(path)).read()

    def test_one_that_others_can_read_can_be_mended(self, path: Path) -> None:
        put(path, ONE, 0o644)
        file = PasswdFile(str(path), lenient=True)
        assert (file.read(), file.mode) == (ONE, 0o644)
        file.write(TWO)
        assert stat.S_IMODE(path.stat().st_mode) == file.mode == 0o600
        put(path, ONE, 0o620)
        with pytest.raises(UnsafePath, match="look whether all users in it are yours"):
            file.read()

    def test_only_a_regular_file_with_one_name_is_believed(self, path: Path) -> None:
        other = path.with_name("other")
        put(other, ONE)
        for make, why in (
            (lambda: path.symlink_to(other), "is a link"),
            (lambda: os.link(other, path), "hard links"),
            (path.mkdir, "directory"),
            (lambda: os.mkfifo(path, 0o600), "FIFO"),
        ):
            make()
            with pytest.raises(LocalError, match=why):
                PasswdFile(str(path)).read()
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def test_the_way_to_it_has_to_be_safe(self, path: Path) -> None:
        put(path, ONE)
        path.parent.chmod(0o777)
        with pytest.raises(UnsafePath, match="every user"):
            PasswdFile(str(path)).read()
        with pytest.raises(UnsafePath, match="every user"):
            PasswdFile(str(path)).write(ONE)

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "passwd:1: not a password file"),
            (written(TWO).encode()[:-5], "passwd:3: the last line is cut off"),
            (written(ONE).encode() + b"\xff\n", "not UTF-8"),
            (b"x" * (LIMITS.passwd_bytes + 1), f"more than {LIMITS.passwd_bytes} bytes"),
        ],
    )
    def test_damage_is_told(self, path: Path, content: bytes, why: str) -> None:
        put(path, content)
        file = PasswdFile(str(path))
        with pytest.raises(BadPasswdFile, match=why):
            file.read()
        assert file.stamp == file.look()

    @pytest.mark.needs_root
    def test_that_of_another_user_is_refused(self, path: Path) -> None:
        put(path, ONE)
        os.chown(path, STRANGER, -1)
        with pytest.raises(UnsafePath, match="belongs to"):
            PasswdFile(str(path)).read()


class TestWriting:
    @pytest.mark.parametrize("umask", [0o000, 0o277])
    def test_nobody_else_can_read_it(self, path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            PasswdFile(str(path)).write(ONE)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert names(path) == ["passwd", "passwd.lock"]

    def test_the_directory_is_made(self, tmp_path: Path) -> None:
        path = tmp_path / "etc" / "passwd"
        PasswdFile(str(path)).write(ONE)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755

    def test_but_not_where_others_could_replace_it(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        with pytest.raises(UnsafePath, match="every user"):
            PasswdFile(str(tmp_path / "etc" / "passwd")).write(ONE)
        assert list(tmp_path.iterdir()) == []

    def test_what_somebody_else_has_changed_is_kept(self, path: Path) -> None:
        mine, other = PasswdFile(str(path)), PasswdFile(str(path))
        mine.write(ONE)
        other.read()
        other.write(TWO)
        with pytest.raises(ChangedMeanwhile, match="nothing was saved"):
            mine.write(EMPTY)
        assert PasswdFile(str(path)).read() == TWO
        mine.read()
        mine.write(EMPTY)
        mine.write(ONE)
        assert PasswdFile(str(path)).read() == ONE
        assert names(path) == ["passwd", "passwd.lock"]

    @pytest.mark.parametrize("made", [True, False])
    def test_also_if_they_have_made_or_removed_it(self, path: Path, made: bool) -> None:
        mine = PasswdFile(str(path))
        if made:
            put(path, TWO)
        else:
            mine.write(ONE)
            path.unlink()
        with pytest.raises(ChangedMeanwhile):
            mine.write(EMPTY)
        assert path.exists() == made

    def test_a_file_that_was_made_unsafe_is_not_replaced(self, path: Path) -> None:
        file = PasswdFile(str(path))
        file.write(ONE)
        path.chmod(0o666)
        with pytest.raises(UnsafePath, match="0666"):
            file.write(TWO)

    def test_what_a_dead_writer_has_left_is_no_hindrance(self, path: Path) -> None:
        path.with_name("passwd.new").write_text("half")
        PasswdFile(str(path)).write(ONE)
        assert PasswdFile(str(path)).read() == ONE
        assert names(path) == ["passwd", "passwd.lock"]

    @pytest.mark.parametrize("call", ["fsync", "rename", "fchmod"])
    def test_trouble_leaves_what_was_there(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        file = PasswdFile(str(path))
        file.write(ONE)
        before = open_files()

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(passwdfile.os, call, full)
            with pytest.raises(LocalError, match=r"cannot write .*: no space left on device"):
                file.write(TWO)
        assert PasswdFile(str(path)).read() == ONE
        assert names(path) == ["passwd", "passwd.lock"]
        assert open_files() == before
        file.write(TWO)

    def test_an_interrupt_leaves_what_was_there(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = PasswdFile(str(path))
        file.write(ONE)

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(passwdfile.os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                file.write(TWO)
        assert PasswdFile(str(path)).read() == ONE
        assert names(path) == ["passwd", "passwd.lock"]

    def test_it_is_on_the_disk_before_it_has_its_name(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = []

        def noted(name: str, call: Callable[..., object]) -> Callable[..., object]:
            def noting(*given: object, **keys: object) -> object:
                done.append(name)
                return call(*given, **keys)

            return noting

        for name in ("fsync", "rename"):
            monkeypatch.setattr(passwdfile.os, name, noted(name, getattr(os, name)))
        PasswdFile(str(path)).write(ONE)
        assert done == ["fsync", "rename", "fsync"]

    def test_whenever_it_is_killed_the_file_is_the_old_or_the_new_one(self, path: Path) -> None:
        PasswdFile(str(path)).write(ONE)
        seen = []
        while True:
            file = PasswdFile(str(path))
            file.read()
            ended = _killed_at_call(len(seen), lambda file=file: file.write(TWO))
            seen.append(PasswdFile(str(path)).read())
            assert names(path)[:2] == ["passwd", "passwd.lock"]
            if ended:
                break
            put(path, ONE)
        replaced = seen.index(TWO)
        assert replaced > 5
        assert seen == [ONE] * replaced + [TWO] * (len(seen) - replaced)
        assert names(path) == ["passwd", "passwd.lock"]

    def test_writers_wait_for_each_other(self, path: Path) -> None:
        file = PasswdFile(str(path))
        file.write(ONE)
        writer = threading.Thread(target=file.write, args=[TWO])
        with open(path.with_name("passwd.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            writer.start()
            writer.join(0.2)
            assert writer.is_alive()
            assert PasswdFile(str(path)).read() == ONE
        writer.join(60)
        assert PasswdFile(str(path)).read() == TWO

    def test_it_has_a_bound(self, path: Path) -> None:
        wordy = [record(f"user{number}", comment="€" * 200) for number in range(900)]
        large = Passwd(
            secret=EMPTY.secret, realm=EMPTY.realm, records={each.user: each for each in wordy}
        )
        assert len(written(large).encode()) > LIMITS.passwd_bytes
        with pytest.raises(LocalError, match=f"more than {LIMITS.passwd_bytes} bytes"):
            PasswdFile(str(path)).write(large)
        assert not path.exists()


@pytest.mark.needs_root
class TestForADaemonOfAnotherUser:
    def test_a_new_file_becomes_theirs(self, path: Path) -> None:
        file = PasswdFile(str(path), owner=STRANGER)
        file.write(ONE)
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (STRANGER, 0o600)
        assert file.read() == ONE
        file.write(TWO)
        assert path.stat().st_uid == STRANGER

    def test_but_not_in_a_directory_of_theirs(self) -> None:
        with public_directory() as place:
            os.chown(place, STRANGER, -1)
            with pytest.raises(UnsafePath, match="belongs to"):
                PasswdFile(str(place / "passwd"), owner=STRANGER).write(ONE)
            assert list(place.iterdir()) == []
