"""The daemon's own files: who may use them, and who uses them now."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.daemon import SETTINGS, process
from fakes.watcher import FakeWatcher
from twisted.internet.task import Clock

from supervisortw.core.model import Settings, TcpAddress, UnixAddress
from supervisortw.daemon.deputies import Deputies
from supervisortw.daemon.logs import logfiles
from supervisortw.daemon.logs.logfiles import ProgramLogs, daemon_log_directory
from supervisortw.daemon.logs.rotation import FLAGS, MODE
from supervisortw.daemon.places import (
    PidFile,
    lock_state_directory,
    make_directories,
    owners,
    refuse_unsafe_files,
    write_lock_pid,
)
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import AlreadyRunning, ConfigError, LocalError, UnsafePath

STRANGER = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def settings(place: Path) -> Settings:
    return replace(
        SETTINGS,
        sockets=(UnixAddress(path=f"{place}/run/s"), TcpAddress(host="", port=9001)),
        state_directory=f"{place}/state",
        pidfile=f"{place}/pid/supervisord.pid",
        logfile=f"{place}/log/supervisord.log",
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestMakeDirectories:
    def test_those_that_are_missing_are_made_for_us_alone(self, place: Path) -> None:
        make_directories(settings(place))
        made = [place / name for name in ("state", "state/log", "run", "pid", "log")]
        assert [mode(each) for each in made] == [0o700] * 5
        assert sorted(each.name for each in place.iterdir()) == ["log", "pid", "run", "state"]

    def test_those_that_are_there_stay_as_they_are(self, place: Path) -> None:
        (place / "run").mkdir()
        (place / "run").chmod(0o755)
        make_directories(settings(place))
        make_directories(settings(place))
        assert mode(place / "run") == 0o755

    def test_not_where_others_could_change_them(self, place: Path) -> None:
        place.chmod(0o777)
        with pytest.raises(UnsafePath):
            make_directories(settings(place))

    @pytest.mark.needs_root
    def test_for_the_user_that_the_daemon_will_be(self, place: Path) -> None:
        user = pwd.struct_passwd(("alice", "x", STRANGER, STRANGER, "", "/", "/bin/sh"))
        make_directories(settings(place), user)
        found = (place / "state/log").stat()
        assert (found.st_uid, found.st_gid) == (STRANGER, STRANGER)


class TestLock:
    def test_the_first_one_gets_it_and_the_second_learns_whose_it_is(self, place: Path) -> None:
        own = settings(place)
        make_directories(own)
        lock = lock_state_directory(own)
        write_lock_pid(lock)
        with pytest.raises(AlreadyRunning) as caught:
            lock_state_directory(own)
        assert str(caught.value) == (
            f"another supervisord (pid {os.getpid()}) is running with the state directory "
            f"{place}/state; a second one needs its own (key state-directory)"
        )
        os.close(lock)
        os.close(lock_state_directory(own))

    def test_the_second_one_may_come_before_the_pid_is_written(self, place: Path) -> None:
        own = settings(place)
        make_directories(own)
        lock = lock_state_directory(own)
        with pytest.raises(AlreadyRunning, match=r"^another supervisord is running"):
            lock_state_directory(own)
        os.close(lock)

    def test_it_lasts_as_long_as_anybody_has_it(self, place: Path) -> None:
        own = settings(place)
        make_directories(own)
        lock = lock_state_directory(own)
        other = os.dup(lock)
        os.close(lock)
        with pytest.raises(AlreadyRunning):
            lock_state_directory(own)
        os.close(other)

    def test_the_pid_of_the_last_one_is_replaced(self, place: Path) -> None:
        own = settings(place)
        make_directories(own)
        (place / "state/lock").write_text("12345678901234567890\n")
        lock = lock_state_directory(own)
        write_lock_pid(lock)
        assert (place / "state/lock").read_text() == f"{os.getpid()}\n"
        assert not os.get_inheritable(lock)
        os.close(lock)

    def test_another_state_directory_is_another_lock(self, place: Path) -> None:
        one = settings(place)
        two = replace(one, state_directory=f"{place}/other")
        make_directories(one)
        make_directories(two)
        locks = [lock_state_directory(one), lock_state_directory(two)]
        for lock in locks:
            os.close(lock)

    def test_a_lock_that_the_file_system_cannot_give(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(37, "No locks available")

        own = settings(place)
        make_directories(own)
        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(LocalError, match=r"cannot lock .*/lock: No locks available") as caught:
            lock_state_directory(own)
        assert not isinstance(caught.value, AlreadyRunning)

    def test_a_link_in_its_place_is_not_followed(self, place: Path) -> None:
        own = settings(place)
        make_directories(own)
        (place / "precious").write_text("precious")
        (place / "state/lock").symlink_to(place / "precious")
        with pytest.raises(LocalError):
            lock_state_directory(own)


class TestPidFile:
    def test_written_again_and_removed(self, place: Path) -> None:
        path = place / "supervisord.pid"
        path.write_text("123456789 and more\n")
        file = PidFile(str(path))
        for _ in range(2):
            file.write()
            assert path.read_text() == f"{os.getpid()}\n"
        file.remove()
        assert not path.exists()
        file.remove()

    def test_no_descriptor_is_left(self, place: Path) -> None:
        before = os.open(os.devnull, os.O_RDONLY)
        os.close(before)
        PidFile(str(place / "pid")).write()
        after = os.open(os.devnull, os.O_RDONLY)
        os.close(after)
        assert after == before, "the next number is the same"

    def test_it_can_be_read_by_all(self, place: Path) -> None:
        before = os.umask(0)
        PidFile(str(place / "pid")).write()
        os.umask(before)
        assert mode(place / "pid") == 0o644

    def test_a_link_in_its_place_is_not_followed(self, place: Path) -> None:
        (place / "precious").write_text("precious")
        (place / "pid").symlink_to(place / "precious")
        with pytest.raises(LocalError):
            PidFile(str(place / "pid")).write()
        assert (place / "precious").read_text() == "precious"

    @pytest.mark.needs_linux
    def test_a_full_disk(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(descriptor: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", write)
        with pytest.raises(LocalError, match=r"cannot write .*/pid: No space left"):
            PidFile(str(place / "pid")).write()

    def test_a_directory_that_is_gone_is_no_matter_at_the_end(self, place: Path) -> None:
        PidFile(str(place / "gone" / "pid")).remove()


@pytest.mark.needs_root
class TestConfigurationFiles:
    """What root believes: whoever can change it can run commands as root."""

    def test_files_of_root(self, place: Path) -> None:
        (place / "a").write_text("")
        (place / "a").chmod(0o644)
        (place / "b").symlink_to("a")
        refuse_unsafe_files([str(place / "a"), str(place / "b")])

    def test_all_that_are_not_are_told_at_once(self, place: Path) -> None:
        (place / "writable").write_text("")
        (place / "writable").chmod(0o666)
        (place / "theirs").write_text("")
        os.chown(place / "theirs", STRANGER, STRANGER)
        (place / "link").symlink_to("writable")
        names = ["writable", "theirs", "link"]
        with pytest.raises(ConfigError) as caught:
            refuse_unsafe_files(str(place / name) for name in names)
        told = [(each.file, each.line) for each in caught.value.problems]
        assert told == [(str(place / name), None) for name in names]
        assert "chmod go-w it" in caught.value.problems[0].message
        assert f"belongs to uid {STRANGER}" in caught.value.problems[1].message

    def test_the_group_may_write_where_nobody_else_is_in_it(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As it is of what root has unpacked or cloned under a umask of 002."""
        ours = place / "ours"
        ours.write_text("")
        ours.chmod(0o664)
        root = pwd.getpwuid(0)
        alone = grp.struct_group((root.pw_name, "x", 0, []))
        monkeypatch.setattr(grp, "getgrgid", lambda gid: alone)
        monkeypatch.setattr(pwd, "getpwall", lambda: [root])
        refuse_unsafe_files([str(ours)])
        together = grp.struct_group((root.pw_name, "x", 0, ["alice"]))
        monkeypatch.setattr(grp, "getgrgid", lambda gid: together)
        with pytest.raises(ConfigError, match="chmod go-w it"):
            refuse_unsafe_files([str(ours)])

    def test_a_circle_of_links(self, place: Path) -> None:
        (place / "a").symlink_to("b")
        (place / "b").symlink_to("a")
        with pytest.raises(ConfigError, match="too many links"):
            refuse_unsafe_files([str(place / "a")])

    def test_one_that_is_gone_meanwhile(self, place: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            refuse_unsafe_files([str(place / "gone")])


def test_others_believe_what_they_like(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (place / "writable").write_text("")
    (place / "writable").chmod(0o666)
    refuse_unsafe_files([str(place / "writable")])


def test_root_and_the_daemons_own_user_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert owners() == {0, 1000}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert owners() == {0}


def program_logs(clock: Clock) -> ProgramLogs:
    return ProgramLogs(clock, Deputies(clock, FakeWatcher()))


class TestLogFiles:
    def test_they_are_appended_to_and_read_back(self, place: Path) -> None:
        path = place / "web.log"
        path.write_bytes(b"one\n")
        before = os.umask(0)
        for descriptor in (
            open_daemon_log(path),
            open_log(program_logs(Clock()), path),
            open_daemon_log(place / "new.log"),
        ):
            os.pwrite(descriptor, b"x", os.fstat(descriptor).st_size)
            assert os.pread(descriptor, 1, 0)
            os.close(descriptor)
        os.umask(before)
        assert path.read_bytes() == b"one\nxx"
        assert mode(place / "new.log") == 0o640

    def test_where_others_could_put_another_file_they_are_refused(self, place: Path) -> None:
        place.chmod(0o777)
        with pytest.raises(UnsafePath):
            open_daemon_log(place / "web.log")
        with pytest.raises(UnsafePath):
            open_log(program_logs(Clock()), place / "web.log")


def open_daemon_log(path: Path) -> int:
    with daemon_log_directory(str(path))() as directory:
        return directory.open(path.name, FLAGS, MODE)


def open_log(logs: ProgramLogs, path: Path) -> int:
    with logs.directory(process("web"), str(path)) as directory:
        return directory.open(path.name, FLAGS, MODE)


class TestLogsInOneDirectory:
    """The way to the directory of many logs is walked once in each turn."""

    def test_once_in_a_turn(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        walked = []
        walk = logfiles.open_parent

        def count(path: str, *, owners: frozenset[int]) -> TrustedDirectory:
            walked.append(path)
            return walk(path, owners=owners)

        monkeypatch.setattr(logfiles, "open_parent", count)
        clock = Clock()
        logs = program_logs(clock)
        for name in ("a.log", "b.log", "c.log"):
            os.close(open_log(logs, place / name))
        assert walked == [str(place / "a.log")]
        clock.advance(0)
        os.close(open_log(logs, place / "d.log"))
        assert walked[1:] == [str(place / "d.log")]
        assert sorted(os.listdir(place)) == ["a.log", "b.log", "c.log", "d.log"]
        clock.advance(0)

    def test_another_directory_is_walked_to(self, place: Path) -> None:
        clock = Clock()
        logs = program_logs(clock)
        other = place / "other"
        other.mkdir(0o700)
        for path in (place / "a.log", other / "a.log", place / "b.log"):
            os.close(open_log(logs, path))
        assert sorted(os.listdir(place)) == ["a.log", "b.log", "other"]
        assert os.listdir(other) == ["a.log"]
        clock.advance(0)
