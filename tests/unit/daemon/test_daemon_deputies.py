"""Files of users are handled in their name, by one process for each of them."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.deputized import Deputized, deputized, identity
from fakes.stranger import (
    STRANGER,
    open_files,
    public_directory,
    running,
    swap_directory_for_ever,
    swap_for_ever,
)

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import deputies, deputy
from supervisortw.daemon.deputies import DeputyDirectory
from supervisortw.daemon.forker import RootRegained
from supervisortw.errors import PASSING, LocalError, UnsafePath

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
WHO = (STRANGER, STRANGER, ())

needs_root = pytest.mark.needs_root


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


@pytest.fixture
def public() -> Iterator[Path]:
    with public_directory() as made:
        yield made


@pytest.fixture
def home(public: Path) -> Path:
    """A directory that only a stranger and root can look into."""
    made = public / "home"
    made.mkdir()
    made.chmod(0o700)
    os.chown(made, STRANGER, STRANGER)
    return made


@pytest.fixture
def victim(public: Path) -> Path:
    """A file of root, in a directory of root."""
    (public / "root").mkdir()
    (public / "root").chmod(0o700)
    made = public / "root" / "victim"
    made.write_bytes(b"precious\n")
    made.chmod(0o600)
    return made


@pytest.fixture
def given() -> Iterator[Deputized]:
    with deputized() as made:
        yield made


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The deputies that were made, in their order."""
    made = []
    really = deputy.start

    def start(who: deputy.Who) -> tuple[int, deputy.socket.socket]:
        pid, channel = really(who)
        made.append(pid)
        return pid, channel

    monkeypatch.setattr(deputy, "start", start)
    return made


@pytest.fixture
def append(given: Deputized) -> Callable[..., None]:
    def append(path: Path, flags: int = APPEND, text: bytes = b"line\n") -> None:
        with closing(given.deputies.directory(identity(), str(path.parent))) as directory:
            fd = directory.open(path.name, flags, 0o640)
        try:
            assert not os.get_inheritable(fd)
            assert os.get_blocking(fd)
            os.write(fd, text)
        finally:
            os.close(fd)

    return append


def stopped(pid: int) -> None:
    """Have a deputy neither answer nor end."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def is_there(pid: int) -> bool:
    """True if a child lives, or has not been reaped."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@needs_root
class TestFilesInTheNameOfAUser:
    def test_one_in_the_home_of_the_user_is_opened(
        self, home: Path, append: Callable[..., None]
    ) -> None:
        for _ in range(2):
            append(home / "log")
        found = (home / "log").stat()
        assert (found.st_uid, found.st_gid) == (STRANGER, STRANGER)
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert (home / "log").read_bytes() == b"line\nline\n"
        append(home / "log", os.O_WRONLY | os.O_TRUNC)
        assert (home / "log").read_bytes() == b"line\n"

    def test_a_directory_that_cannot_be_listed_will_do(
        self, home: Path, append: Callable[..., None]
    ) -> None:
        home.chmod(0o300)
        append(home / "log")

    def test_groups_count(self, public: Path, given: Deputized) -> None:
        (public / "shared").mkdir()
        (public / "shared").chmod(0o770)
        os.chown(public / "shared", 0, 4321)
        member = identity(groups=[4321])
        with closing(given.deputies.directory(member, str(public / "shared"))) as directory:
            os.close(directory.open("log", APPEND, 0o640))
        with closing(given.deputies.directory(identity(), str(public / "shared"))) as directory:
            expected = rf"\(uid 65534\) has no permission to write {public}/shared/log2$"
            with pytest.raises(LocalError, match=expected):
                directory.open("log2", APPEND, 0o640)

    def test_a_link_to_a_file_of_root_is_an_error(
        self, home: Path, victim: Path, append: Callable[..., None]
    ) -> None:
        (home / "log").symlink_to(victim)
        with pytest.raises(UnsafePath, match=rf"^{home}/log is a link"):
            append(home / "log")
        assert victim.read_bytes() == b"precious\n"

    def test_a_link_to_a_directory_of_root_leads_nowhere(
        self, home: Path, victim: Path, given: Deputized
    ) -> None:
        (home / "logs").symlink_to(victim.parent)
        with closing(given.deputies.directory(identity(), str(home / "logs"))) as directory:
            expected = rf"has no permission to %s {home}/logs/victim$"
            with pytest.raises(LocalError, match=expected % "write"):
                directory.open("victim", APPEND | os.O_TRUNC, 0o640)
            with pytest.raises(LocalError, match=expected % "rename"):
                directory.rename("victim", "other")
            with pytest.raises(LocalError, match=expected % "rename"):
                directory.rename_all([("victim", "other")])
            with pytest.raises(LocalError, match=expected % "remove"):
                directory.remove("victim")
            with pytest.raises(LocalError, match=expected % "look at"):
                directory.stat("victim")
        assert victim.read_bytes() == b"precious\n"

    def test_a_second_name_of_a_file_of_root_is_an_error(
        self, home: Path, victim: Path, append: Callable[..., None]
    ) -> None:
        os.link(victim, home / "log")
        with pytest.raises(LocalError, match=rf"has no permission to write {home}/log$"):
            append(home / "log")
        victim.chmod(0o666)
        with pytest.raises(UnsafePath, match=rf"^{home}/log belongs to root"):
            append(home / "log", APPEND | os.O_TRUNC)
        assert victim.read_bytes() == b"precious\n"

    def test_a_fifo_is_an_error(self, home: Path, append: Callable[..., None]) -> None:
        os.mkfifo(home / "log")
        os.chown(home / "log", STRANGER, STRANGER)
        with pytest.raises(UnsafePath, match=rf"^{home}/log is a FIFO"):
            append(home / "log")

    @pytest.mark.needs_linux
    def test_the_directory_of_the_daemon_is_no_way(
        self, home: Path, victim: Path, append: Callable[..., None]
    ) -> None:
        victim.chmod(0o666)
        (victim.parent / "inner").mkdir()
        (victim.parent / "inner").chmod(0o777)
        (home / "logs").symlink_to("/proc/self/cwd")
        before = os.getcwd()
        os.chdir(victim.parent / "inner")
        try:
            with pytest.raises(LocalError, match="no permission"):
                append(home / "logs" / "log")
        finally:
            os.chdir(before)
        assert os.listdir(victim.parent / "inner") == []

    def test_missing_things_are_named(self, home: Path, append: Callable[..., None]) -> None:
        with pytest.raises(LocalError, match=rf"^directory {home}/no does not exist$"):
            append(home / "no" / "log")
        with pytest.raises(LocalError, match=rf"^{home}/log does not exist$") as caught:
            append(home / "log", os.O_WRONLY)
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_a_directory_that_is_gone_meanwhile_is_named(
        self, home: Path, given: Deputized
    ) -> None:
        with closing(given.deputies.directory(identity(), str(home))) as directory:
            home.rmdir()
            with pytest.raises(LocalError, match=rf"^directory {home} does not exist$"):
                directory.open("log", APPEND, 0o600)

    def test_one_where_others_may_not_go_is_told(self, home: Path, given: Deputized) -> None:
        (home / "logs").mkdir()
        (home / "file").touch()
        other = identity(STRANGER - 1)
        expected = rf"^uid 65533 has no permission to reach directory {home}/logs$"
        with pytest.raises(LocalError, match=expected):
            given.deputies.directory(other, str(home / "logs"))
        with pytest.raises(LocalError, match=rf"reach directory {home}/file: not a directory$"):
            given.deputies.directory(identity(), str(home / "file"))

    def test_threads_and_signals_of_the_daemon_do_not_matter(
        self, home: Path, append: Callable[..., None]
    ) -> None:
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            append(home / "log")
        finally:
            done.set()
            thread.join()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before

    def test_a_full_table_of_descriptors_is_told(self, home: Path, given: Deputized) -> None:
        with closing(given.deputies.directory(identity(), str(home))) as directory:
            free = os.dup(0)
            os.close(free)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                with pytest.raises(LocalError, match=r"log: too many open files$") as caught:
                    directory.open("log", APPEND, 0o600)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            cause = caught.value.__cause__
            assert isinstance(cause, OSError)
            assert cause.errno == errno.EMFILE
            os.close(directory.open("log", APPEND, 0o600))


class TestWhoIsAsked:
    def test_nobody_is_asked_for_root(self, given: Deputized) -> None:
        with pytest.raises(ValueError, match="root is not asked"):
            given.deputies.directory(identity(0), "/")

    @pytest.mark.parametrize("path", ["", "etc", "/etc\0/x"])
    def test_only_absolute_paths_are_opened(self, given: Deputized, path: str) -> None:
        with pytest.raises(LocalError, match="is not an absolute path"):
            given.deputies.directory(identity(os.geteuid() or STRANGER), path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
    def test_others_can_only_be_themselves(self, given: Deputized, tmp_path: Path) -> None:
        me = identity(os.geteuid(), os.getegid())
        with closing(given.deputies.directory(me, str(tmp_path))) as directory:
            os.close(directory.open("log", APPEND, 0o600))
        with pytest.raises(LocalError, match=r"^only root can open"):
            given.deputies.directory(identity(os.geteuid() + 1), str(tmp_path))

    @needs_root
    def test_one_process_opens_all_files_of_a_user(
        self, home: Path, append: Callable[..., None], pids: list[int]
    ) -> None:
        for number in range(50):
            append(home / f"log{number}")
        assert len(os.listdir(home)) == 50
        assert len(pids) == 1

    @needs_root
    def test_one_for_each_identity(self, home: Path, given: Deputized, pids: list[int]) -> None:
        for groups in ([], [7], [7, 8]):
            given.deputies.directory(identity(groups=groups), str(home)).close()
        assert len(pids) == 3

    @needs_root
    def test_it_is_let_go_when_nobody_needs_it(
        self, home: Path, given: Deputized, append: Callable[..., None], pids: list[int]
    ) -> None:
        append(home / "log")
        given.clock.advance(LIMITS.deputy_seconds * 0.75)
        append(home / "log")
        given.clock.advance(LIMITS.deputy_seconds * 0.75)
        assert is_there(pids[0])
        given.clock.advance(LIMITS.deputy_seconds * 0.25)
        given.bury()
        assert not is_there(pids[0])
        append(home / "log")
        assert len(pids) == 2

    @needs_root
    def test_of_too_many_the_one_goes_that_was_not_needed(
        self, home: Path, given: Deputized, pids: list[int]
    ) -> None:
        for number in (*range(LIMITS.deputies), 0, LIMITS.deputies, 0):
            given.deputies.directory(identity(groups=[number]), str(home)).close()
        assert len(pids) == LIMITS.deputies + 1
        given.bury()
        assert [pid for pid in pids if not is_there(pid)] == [pids[1]]

    @needs_root
    def test_after_many_requests_another_one_is_taken(
        self,
        home: Path,
        append: Callable[..., None],
        pids: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(deputies, "LIMITS", replace(LIMITS, deputy_requests=4))
        for _ in range(3):
            append(home / "log")
        assert len(pids) == 2

    @needs_root
    def test_its_directory_outlives_it(self, home: Path, given: Deputized) -> None:
        with closing(given.deputies.directory(identity(), str(home))) as directory:
            given.deputies.close()
            os.close(directory.open("log", APPEND, 0o600))
        assert os.listdir(home) == ["log"]


@needs_root
class TestTrouble:
    def directory(self, given: Deputized, home: Path) -> DeputyDirectory:
        return given.deputies.directory(identity(), str(home))

    def test_one_that_was_killed_meanwhile_is_replaced(
        self, home: Path, append: Callable[..., None], pids: list[int]
    ) -> None:
        append(home / "log")
        os.kill(pids[0], signal.SIGKILL)
        os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOWAIT)
        append(home / "log")
        assert len(pids) == 2
        assert not is_there(pids[0])

    def test_one_that_somebody_else_has_reaped_is_no_trouble(
        self, home: Path, append: Callable[..., None], pids: list[int]
    ) -> None:
        append(home / "log")
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)
        append(home / "log")
        assert len(pids) == 2

    def test_one_that_is_killed_at_its_work_is_told(
        self, home: Path, given: Deputized, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(deputy, "become", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            expected = rf"^the process that handles {home} as .* \(uid 65534\) was killed$"
            with pytest.raises(LocalError, match=expected) as caught:
                self.directory(given, home)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno in PASSING
        self.directory(given, home).close()

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (PermissionError(errno.EPERM, "no"), "^no permission to become .* to handle"),
            (RootRegained(), "^no permission to become .* to handle"),
            (OSError(errno.EAGAIN, "no"), "^cannot become .* to handle .*unavailable"),
        ],
    )
    def test_an_identity_that_cannot_be_taken_is_told(
        self,
        home: Path,
        given: Deputized,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        told: str,
    ) -> None:
        def become(*_: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(deputy, "become", become)
            with pytest.raises(LocalError, match=told):
                self.directory(given, home)
        self.directory(given, home).close()

    def test_what_one_said_that_has_ended_at_once_is_heard(
        self, home: Path, given: Deputized, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really = deputy.start

        def start(who: deputy.Who) -> tuple[int, deputy.socket.socket]:
            pid, channel = really(who)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return pid, channel

        def become(*_: object) -> None:
            raise PermissionError(errno.EPERM, "no")

        monkeypatch.setattr(deputy, "start", start)
        monkeypatch.setattr(deputy, "become", become)
        with pytest.raises(LocalError, match=r"^no permission to become .* to handle"):
            self.directory(given, home)

    def test_one_that_cannot_be_made_is_told(
        self, home: Path, given: Deputized, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fork() -> int:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(os, "fork", fork)
        with pytest.raises(LocalError, match=r"^cannot start a process of ") as caught:
            self.directory(given, home)
        assert isinstance(caught.value.__cause__, BlockingIOError)

    def test_a_directory_that_hangs_is_waited_for_once(
        self, home: Path, given: Deputized, pids: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deputies, "LIMITS", replace(LIMITS, deputy_answer_seconds=0.02))
        with closing(self.directory(given, home)) as directory:
            stopped(pids[0])
            with pytest.raises(LocalError, match=r"does not answer within 0\.02 s: file") as caught:
                directory.stat("log")
            assert isinstance(caught.value.__cause__, TimeoutError)
            assert caught.value.__cause__.errno in PASSING
            given.bury()  # it is killed although it does not run
            expected = rf"^{home} did not answer when it was tried last; not tried for 30 s$"
            for again in (lambda: directory.stat("log"), lambda: self.directory(given, home)):
                with pytest.raises(LocalError, match=expected) as caught:
                    again()
                assert isinstance(caught.value.__cause__, OSError)
                assert caught.value.__cause__.errno in PASSING
            assert len(pids) == 1
            given.deputies.directory(identity(), str(home.parent)).close()  # others are tried
            given.clock.advance(LIMITS.deputy_hung_seconds)
            assert directory.stat("log") is None

    def test_directories_that_hung_are_forgotten(
        self, home: Path, given: Deputized, pids: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deputies, "LIMITS", replace(LIMITS, deputy_answer_seconds=0.02))
        for where in (home, home.parent):
            with closing(given.deputies.directory(identity(), str(where))) as directory:
                stopped(pids[-1])
                with pytest.raises(LocalError, match="does not answer"):
                    directory.stat("log")
            given.clock.advance(LIMITS.deputy_hung_seconds)
            assert list(given.deputies._hung) == [str(where)]


@needs_root
@pytest.mark.parametrize("of_the_directory", [False, True], ids=["the file", "the directory"])
def test_no_swap_ever_reaches_a_file_of_root(
    public: Path, given: Deputized, of_the_directory: bool
) -> None:
    """While the user swaps the file, or its directory, for links to files that only root can change."""
    roots = public / "root"
    roots.mkdir()
    for name in ("log", "log.1", "log.2"):
        (roots / name).write_bytes(b"precious\n")
        (roots / name).chmod(0o644)
    before = {name: os.stat(roots / name).st_ino for name in os.listdir(roots)}
    theirs = public / "theirs"
    logs = theirs / "logs"
    logs.mkdir(parents=True)
    os.chown(theirs, STRANGER, STRANGER)
    os.chown(logs, STRANGER, STRANGER)

    def swap() -> None:
        if of_the_directory:
            swap_directory_for_ever(logs, roots)
        swap_for_ever(logs / "log", roots / "log")

    done = {"open": 0, "rename": 0, "remove": 0, "refused": 0}
    with running(swap):
        begun = time.monotonic()
        while (spent := time.monotonic() - begun) < 1.5 or (spent < 15 and not all(done.values())):
            with (
                suppress(LocalError),
                closing(given.deputies.directory(identity(), str(logs))) as directory,
            ):
                try:
                    fd = directory.open("log", APPEND | os.O_TRUNC, 0o600)
                    os.write(fd, b"INJECTED\n")
                    os.close(fd)
                    done["open"] += 1
                    directory.rename_all([("log.1", "log.2"), ("log", "log.1")])
                    directory.rename("log.1", "log.2")
                    done["rename"] += 1
                    directory.remove("log.2")
                    done["remove"] += 1
                except LocalError:
                    done["refused"] += 1
    assert all(done.values()), done
    assert {name: os.stat(roots / name).st_ino for name in os.listdir(roots)} == before
    assert {(roots / name).read_bytes() for name in before} == {b"precious\n"}


@needs_root
def test_the_flags_are_those_asked_for(home: Path, given: Deputized) -> None:
    with closing(given.deputies.directory(identity(), str(home))) as directory:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND, os.O_RDONLY):
            fd = directory.open("log", flags, 0o600)
            found = fcntl.fcntl(fd, fcntl.F_GETFL)
            os.close(fd)
            assert found & (os.O_ACCMODE | os.O_APPEND) == flags & (os.O_ACCMODE | os.O_APPEND)
