"""The sockets that programs notify us at: real sockets, and a reactor that reads when told to."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from fakes.store import FakeStore
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.core.limits import LIMITS
from supervisortw.core.notify import Notice
from supervisortw.daemon import notify
from supervisortw.daemon.notify import NotifySockets, notify_directory
from supervisortw.errors import SpawnError

STRANGER = 65534
OTHER = 12345
US = os.geteuid()


class Bench:
    """Sockets in a directory with a short name, and what was heard through them."""

    def __init__(self, place: Path) -> None:
        self.place = place / "n"
        self.readers = FakeReaders()
        self.store = FakeStore()
        self.sockets = NotifySockets(lambda: str(self.place), self.readers, self.store)
        self.heard: list[Notice] = []
        self.pids: list[int] = []

    def next_daemon(self) -> None:
        """Let the daemon die without a word, and another one follow it."""
        for reader in self.readers.removeAll():
            reader._socket.close()
        self.store.next_daemon()
        self.sockets = NotifySockets(lambda: str(self.place), self.readers, self.store)

    def adopt(self, name: str = "web", uid: int = US) -> str:
        return self.sockets.adopt(name, uid, self.hear)

    def open(self, name: str = "web", uid: int = US) -> str:
        return self.sockets.open(name, uid, self.hear)

    def hear(self, notice: Notice, pid: int) -> None:
        self.heard.append(notice)
        self.pids.append(pid)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.place))


@pytest.fixture
def bench() -> Iterator[Bench]:
    place = Path(os.path.realpath(tempfile.mkdtemp()))
    bench = Bench(place)
    yield bench
    bench.sockets.close_all()
    assert bench.readers.readers == []
    bench.store.close()
    shutil.rmtree(place)


def send(path: str, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, path)


def send_as(path: str, datagram: bytes, uid: int) -> None:
    """Send with the credentials of another user, as root can."""
    credentials = struct.pack("=iII", os.getpid(), uid, uid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        extra = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)]
        sender.sendmsg([datagram], extra, 0, path)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class TestTheSocket:
    def test_it_belongs_to_the_user_of_the_program_alone(self, bench: Bench) -> None:
        before = os.umask(0)
        try:
            found = os.lstat(bench.open())
            assert os.umask(0) == 0
        finally:
            os.umask(before)
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == US

    @pytest.mark.needs_root
    def test_it_belongs_to_another_user(self, bench: Bench) -> None:
        assert os.lstat(bench.open(uid=STRANGER)).st_uid == STRANGER

    @pytest.mark.parametrize("before", [None, 0o700, 0o755])
    def test_everybody_gets_through_its_directory_and_only_we_can_write_there(
        self, bench: Bench, before: int | None
    ) -> None:
        if before is not None:
            bench.place.mkdir()
            bench.place.chmod(before)
        bench.open()
        assert stat.S_IMODE(bench.place.stat().st_mode) == 0o711

    def test_no_name_of_a_process_leads_elsewhere(self, bench: Bench) -> None:
        names = ["..", ".", "web:web_1", "a" * 64 + ":" + "b" * 64]
        paths = [bench.open(name) for name in names]
        assert len(set(paths)) == len(names)
        assert {os.path.dirname(path) for path in paths} == {str(bench.place)}
        assert len(bench.names()) == len(names)

    def test_what_a_dead_daemon_left_behind_is_removed(self, bench: Bench) -> None:
        bench.place.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(bench.place / "dead"))
        (bench.place / "no-socket").write_text("precious")
        path = bench.open()
        assert bench.names() == sorted([os.path.basename(path), "no-socket"])

    def test_it_has_the_same_path_in_a_later_daemon(self, bench: Bench) -> None:
        path = bench.open()
        later = NotifySockets(lambda: str(bench.place), bench.readers, bench.store)
        assert later.open("web", US, bench.hear) == path
        send(path, b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]
        later.close_all()

    def test_its_directory_can_be_made_again(self, bench: Bench) -> None:
        path = bench.open()
        shutil.rmtree(bench.place)
        assert bench.open() == path
        assert bench.open("api")
        send(path, b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]

    def test_the_reactor_can_read_it(self, bench: Bench) -> None:
        bench.open()
        [reader] = bench.readers.readers
        assert verifyObject(IReadDescriptor, reader)


class TestHearing:
    def test_what_is_sent_is_heard_with_the_pid_of_the_sender(self, bench: Bench) -> None:
        send(bench.open(), b"READY=1\nSTATUS=up", b"WATCHDOG=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True, status="up"), Notice(ping=True)]
        assert bench.pids == [os.getpid() if os.path.isdir("/proc/self") else 0] * 2

    def test_each_process_is_heard_by_its_own(self, bench: Bench) -> None:
        api: list[Notice] = []
        bench.open("web")
        send(bench.sockets.open("api", US, lambda notice, pid: api.append(notice)), b"READY=1")
        bench.readers.read()
        assert api == [Notice(ready=True)]
        assert bench.heard == []

    def test_what_the_last_process_sent_is_not_heard_of_the_next_one(self, bench: Bench) -> None:
        path = bench.open()
        send(path, b"READY=1", b"STATUS=late")
        assert bench.open() == path
        send(path, b"STATUS=new")
        bench.readers.read()
        assert bench.heard == [Notice(status="new")]
        assert len(bench.readers.readers) == 1

    def test_who_kept_a_connection_to_the_last_one_is_cut_off(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as old:
            old.connect(bench.open())
            bench.open()
            with pytest.raises(ConnectionRefusedError):
                old.send(b"READY=1")

    def test_the_longest_is_heard_and_one_that_is_longer_is_told_once(self, bench: Bench) -> None:
        path = bench.open()
        longest = b"READY=1\n".ljust(LIMITS.notice_bytes, b"x")
        send(path, longest + b"x", longest + b"x", longest)
        with log_lines(LogLevel.warn) as lines:
            bench.readers.read()
        assert bench.heard == [Notice(ready=True)]
        assert lines == ["web: notify: a message is ignored: it has more than 4096 bytes"]

    def test_an_empty_one_says_nothing(self, bench: Bench) -> None:
        send(bench.open(), b"", b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(), Notice(ready=True)]

    def test_a_program_that_never_stops_does_not_keep_the_reactor(self, bench: Bench) -> None:
        path = ""

        def answer(notice: Notice, pid: int) -> None:
            bench.hear(notice, pid)
            if len(bench.heard) < 1000:
                send(path, b"WATCHDOG=1")  # there is always one more

        path = bench.sockets.open("web", US, answer)
        send(path, b"WATCHDOG=1")
        for turn in (1, 2):
            assert bench.readers.turn() == 1
            assert len(bench.heard) == turn * LIMITS.notices_per_turn

    def test_whoever_hears_it_can_stop_listening(self, bench: Bench) -> None:
        def close(notice: Notice, pid: int) -> None:
            bench.hear(notice, pid)
            bench.sockets.close("web")

        send(bench.sockets.open("web", US, close), b"READY=1", b"STATUS=too late")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]

    def test_whoever_hears_it_can_start_the_next_process(self, bench: Bench) -> None:
        def restart(notice: Notice, pid: int) -> None:
            bench.hear(notice, pid)
            bench.open()

        send(bench.sockets.open("web", US, restart), b"WATCHDOG=trigger", b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(trigger=True)]
        assert len(bench.readers.readers) == 1


class TestDescriptors:
    @pytest.mark.parametrize("count", [1, 100])
    def test_those_that_are_sent_along_are_closed(self, bench: Bench, count: int) -> None:
        path = bench.open()
        ours, theirs = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(path)
            socket.send_fds(sender, [b"FDSTORE=1\nREADY=1"], [theirs] * count)
        os.close(theirs)
        before = open_descriptors()
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]
        assert open_descriptors() == before
        assert os.read(ours, 1) == b"", "nobody has the other end"
        os.close(ours)

    def test_where_the_kernel_hands_them_out_they_are_closed(self) -> None:
        ends = os.pipe()
        sent = struct.pack("=ii", *ends)
        assert notify._open_extra([(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)]) == (0, None)
        for end in ends:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(end)

    def test_what_is_sent_along_besides_is_left_alone(self) -> None:
        sent = struct.pack("=i", 0)
        assert notify._open_extra([(socket.IPPROTO_TCP, socket.SCM_RIGHTS, sent)]) == (0, None)
        os.fstat(0)

    def test_none_is_left_behind(self, bench: Bench) -> None:
        before = open_descriptors()
        for _ in range(3):
            bench.open("web")
            bench.open("api")
        bench.sockets.close_all()
        assert open_descriptors() == before


class TestAnotherDaemon:
    """Follows one that has died under its programs."""

    def test_what_was_sent_meanwhile_is_heard(self, bench: Bench) -> None:
        path = bench.open()
        bench.next_daemon()
        send(path, b"READY=1")
        assert bench.adopt() == path
        send(path, b"WATCHDOG=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True), Notice(ping=True)]
        assert bench.pids == [os.getpid() if os.path.isdir("/proc/self") else 0] * 2

    def test_who_is_connected_stays_so(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as process:
            process.connect(bench.open())
            for _ in range(2):
                bench.next_daemon()
                bench.adopt()
                process.send(b"WATCHDOG=1")
                bench.readers.read()
        assert bench.heard == [Notice(ping=True)] * 2

    def test_the_rest_is_removed_when_the_first_one_is_opened(self, bench: Bench) -> None:
        paths = {name: bench.open(name) for name in ("web", "api", "dead")}
        bench.next_daemon()
        bench.adopt("web")
        bench.adopt("api")
        assert len(bench.names()) == 3
        new = bench.open("new")
        assert bench.names() == sorted(
            os.path.basename(path) for path in (paths["web"], paths["api"], new)
        )
        send(paths["web"], b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]

    def test_the_next_process_is_not_heard_for_the_adopted_one(self, bench: Bench) -> None:
        path = bench.open()
        bench.next_daemon()
        bench.adopt()
        send(path, b"READY=1")
        assert bench.open() == path
        bench.readers.read()
        assert bench.heard == []
        assert len(bench.readers.readers) == 1

    @pytest.mark.parametrize("missing", ["kept", "file", "directory"])
    def test_what_is_missing_is_made_anew(self, bench: Bench, missing: str) -> None:
        path, other = bench.open(), bench.open("api")
        bench.next_daemon()
        if missing == "kept":
            bench.store.drop("notify/web")
        elif missing == "file":
            os.unlink(path)
        else:
            shutil.rmtree(bench.place)
        before = open_descriptors()
        assert bench.adopt() == path
        assert open_descriptors() == before + (2 if missing == "kept" else 1)
        send(path, b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]
        assert os.path.exists(other) is (missing != "directory"), "it may be adopted next"

    def test_one_that_cannot_be_made_anew(self, bench: Bench) -> None:
        path = bench.open()
        bench.next_daemon()
        os.unlink(path)
        os.mkdir(path)
        with pytest.raises(SpawnError, match="no socket for notify"):
            bench.adopt()
        assert bench.readers.readers == []

    def test_each_is_kept_as_long_as_it_is_open(self, bench: Bench) -> None:
        bench.open("web")
        bench.open("web:web_1")
        assert set(bench.store.kept) == {"notify/web", "notify/web:web_1"}
        bench.sockets.close("web")
        assert set(bench.store.kept) == {"notify/web:web_1"}
        bench.next_daemon()
        bench.adopt("web:web_1")
        bench.sockets.close_all()
        assert bench.store.kept == {}
        assert not bench.place.exists()

    @pytest.mark.needs_root
    @pytest.mark.needs_linux
    def test_a_stranger_is_ignored_by_it_too(self, bench: Bench) -> None:
        path = bench.open(uid=STRANGER)
        bench.next_daemon()
        bench.adopt(uid=STRANGER)
        send_as(path, b"READY=1", OTHER)
        send_as(path, b"WATCHDOG=1", STRANGER)
        with log_lines(LogLevel.warn) as lines:
            bench.readers.read()
        assert bench.heard == [Notice(ping=True)]
        assert len(lines) == 1


@pytest.mark.needs_root
@pytest.mark.needs_linux
class TestSenders:
    def test_a_stranger_is_ignored_and_told_once(self, bench: Bench) -> None:
        path = bench.open(uid=STRANGER)
        for _ in range(3):
            send_as(path, b"READY=1", OTHER)
        with log_lines(LogLevel.warn) as lines:
            bench.readers.read()
        assert bench.heard == []
        assert lines == [
            "web: notify: a message is ignored: it comes from uid 12345"
            f" (pid {os.getpid()}); the program runs as uid {STRANGER}"
        ]

    @pytest.mark.parametrize("uid", [0, STRANGER])
    def test_root_and_the_user_of_the_program_are_heard(self, bench: Bench, uid: int) -> None:
        send_as(bench.open(uid=STRANGER), b"READY=1", uid)
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]

    def test_the_user_of_another_program_is_a_stranger(self, bench: Bench) -> None:
        bench.open("api", uid=OTHER)
        send_as(bench.open("web", uid=STRANGER), b"READY=1", OTHER)
        with log_lines(LogLevel.warn) as lines:
            bench.readers.read()
        assert bench.heard == []
        assert len(lines) == 1

    def test_the_next_process_may_have_another_user(self, bench: Bench) -> None:
        bench.open(uid=OTHER)
        send_as(bench.open(uid=STRANGER), b"READY=1", STRANGER)
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]


class TestClosing:
    def test_the_socket_of_one_process(self, bench: Bench) -> None:
        web, api = bench.open("web"), bench.open("api")
        bench.sockets.close("web")
        bench.sockets.close("web")
        bench.sockets.close("never-opened")
        assert bench.names() == [os.path.basename(api)]
        assert len(bench.readers.readers) == 1
        with pytest.raises(FileNotFoundError):
            send(web, b"READY=1")

    def test_all_with_the_directory(self, bench: Bench) -> None:
        bench.open("web")
        bench.open("api")
        bench.sockets.close_all()
        assert not bench.place.exists()
        assert bench.readers.readers == []

    def test_what_a_dead_daemon_left_goes_too_if_no_socket_was_wanted(self, bench: Bench) -> None:
        bench.place.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(bench.place / "dead"))
        bench.sockets.close_all()
        assert not bench.place.exists()

    def test_a_directory_with_something_else_in_it_stays(self, bench: Bench) -> None:
        bench.open()
        (bench.place / "no-socket").write_text("precious")
        bench.sockets.close_all()
        assert bench.names() == ["no-socket"]

    def test_a_socket_can_be_opened_again_afterwards(self, bench: Bench) -> None:
        bench.open()
        bench.sockets.close_all()
        send(bench.open(), b"READY=1")
        bench.readers.read()
        assert bench.heard == [Notice(ready=True)]

    def test_by_the_reactor_after_an_error(self, bench: Bench) -> None:
        path = bench.open()
        [reader] = bench.readers.readers
        reader.connectionLost(Failure(ConnectionLost()))
        assert bench.readers.readers == []
        assert bench.open() == path
        assert len(bench.readers.readers) == 1


class TestRefusals:
    def refused(self, bench: Bench) -> SpawnError:
        before = open_descriptors()
        with pytest.raises(SpawnError) as caught:
            bench.open()
        assert open_descriptors() == before
        assert bench.readers.readers == []
        return caught.value

    @pytest.mark.needs_linux
    def test_a_path_that_is_too_long(self, bench: Bench) -> None:
        bench.place /= "d" * (
            LIMITS.socket_path_bytes - len(str(bench.place)) - len("//123456789abc")
        )
        longest = bench.open()
        assert len(longest) == LIMITS.socket_path_bytes
        bench.sockets.close_all()
        bench.sockets = NotifySockets(lambda: f"{bench.place}x", bench.readers, bench.store)
        error = self.refused(bench)
        assert "has 108 bytes, and at most 107 are possible" in str(error)
        assert "state-directory" in str(error)
        assert error.permanent
        assert not os.path.exists(f"{bench.place}x")

    @pytest.mark.parametrize(
        ("number", "permanent"),
        [
            (errno.EMFILE, False),
            (errno.ENOSPC, False),
            (errno.ENOBUFS, False),
            (errno.EACCES, True),
            (errno.EROFS, True),
        ],
    )
    @pytest.mark.parametrize("call", ["mkdir", "chown"])
    def test_what_the_system_refuses(
        self,
        bench: Bench,
        monkeypatch: pytest.MonkeyPatch,
        call: str,
        number: int,
        permanent: bool,
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, call, refuse)
        before = open_descriptors()
        with pytest.raises(SpawnError, match=r"^no socket for notify: ") as caught:
            bench.open(uid=US if call == "mkdir" else OTHER)
        assert str(bench.place) in str(caught.value)
        assert caught.value.permanent is permanent
        assert open_descriptors() == before
        monkeypatch.undo()
        assert bench.open(), "what was begun is not in the way"

    def test_something_else_in_its_place(self, bench: Bench) -> None:
        path = bench.open()
        bench.sockets.close("web")
        os.mkdir(path)
        error = self.refused(bench)
        assert str(error).startswith(f"no socket for notify: {path}: ")
        assert error.permanent

    def test_a_directory_that_others_can_write_to(self, bench: Bench) -> None:
        bench.place.mkdir()
        bench.place.chmod(0o777)
        error = self.refused(bench)
        assert f"chmod go-w {bench.place}" in str(error)
        assert error.permanent

    def test_a_link_in_place_of_the_directory(self, bench: Bench) -> None:
        target = bench.place.with_name("target")
        target.mkdir()
        bench.place.symlink_to(target)
        assert "is a link" in str(self.refused(bench))
        assert os.listdir(target) == []

    @pytest.mark.needs_root
    def test_a_directory_of_somebody_else(self, bench: Bench) -> None:
        bench.place.mkdir()
        os.chown(bench.place, STRANGER, STRANGER)
        assert f"belongs to nobody (uid {STRANGER})" in str(self.refused(bench))


class TestDirectory:
    def test_that_of_an_ordinary_user_is_in_the_state_directory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert notify_directory("/home/a/state") == "/home/a/state/notify"

    def test_that_of_root_is_one_that_everybody_can_reach(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        one, other = tmp_path / "one", tmp_path / "other"
        place = notify_directory(str(one))
        assert os.path.dirname(place) in ("/run", "/var/run")
        assert place == notify_directory(f"{one}/")
        assert place != notify_directory(str(other))
        other.symlink_to(one)
        assert place == notify_directory(str(other)), "it is one state directory"
        assert len(place) + len("/123456789abc") < LIMITS.socket_path_bytes

    def test_it_is_asked_for_when_the_first_socket_is_opened(self, bench: Bench) -> None:
        asked: list[str] = []

        def place() -> str:
            asked.append(str(bench.place))
            return asked[0]

        sockets = NotifySockets(place, bench.readers, bench.store)
        assert asked == []
        sockets.open("web", US, bench.hear)
        sockets.open("api", US, bench.hear)
        assert len(asked) == 1
        sockets.close_all()
