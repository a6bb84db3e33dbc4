"""The control socket in the file system: real sockets, and a reactor that does not run."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.daemon import SETTINGS
from fakes.logged import log_lines
from fakes.tcp import FakeTcp
from twisted.internet import unix
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel

from supervisortw.core.model import Settings, UnixAddress
from supervisortw.daemon import controlsocket, listeners
from supervisortw.daemon.controlsocket import ControlSocket
from supervisortw.errors import AlreadyRunning, LocalError, UnsafePath

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as the names of sockets have to be."""
    made = Path(os.path.realpath(tempfile.mkdtemp()))
    yield made
    shutil.rmtree(made)


class Bench:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.path = place / "s"
        self.reactor = MemoryReactorClock()
        self.sockets: list[ControlSocket] = []

    def socket(self, path: Path | None = None, **settings: object) -> ControlSocket:
        keys = replace(SETTINGS, **settings)  # type: ignore[arg-type]
        made = ControlSocket(str(path or self.path), keys, Factory(), self.reactor)
        self.sockets.append(made)
        return made

    def start(self, path: Path | None = None, **settings: object) -> ControlSocket:
        made = self.socket(path, **settings)
        made.start(lambda probe: 77)
        return made

    def stop(self, listening: ControlSocket) -> None:
        listening.stop()
        self.reactor.advance(0)

    def left_behind(self) -> None:
        """Leave a socket as a daemon does that was killed."""
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(self.path))
        dead.close()

    def listening(self) -> int:
        """Return how many ports the reactor reads."""
        return len(self.reactor.getReaders())


@pytest.fixture
def bench(place: Path) -> Iterator[Bench]:
    bench = Bench(place)
    yield bench
    for made in bench.sockets:
        made.stop()
    bench.reactor.advance(0)
    assert bench.listening() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class TestStart:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    @pytest.mark.parametrize("wanted", [0o600, 0o660, 0o777])
    def test_it_is_made_with_the_mode_that_is_asked_for(
        self, bench: Bench, wanted: int, umask: int
    ) -> None:
        before = os.umask(umask)
        try:
            bench.start(socket_mode=wanted)
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert mode(bench.path) == wanted
        assert bench.listening() == 1

    def test_somebody_can_connect(self, bench: Bench) -> None:
        bench.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(bench.path))

    def test_what_a_dead_daemon_left_behind_is_replaced(self, bench: Bench) -> None:
        bench.left_behind()
        bench.start()
        assert bench.listening() == 1

    def test_a_live_one_is_refused_with_the_pid_of_its_owner(self, bench: Bench) -> None:
        bench.start()
        with pytest.raises(AlreadyRunning) as caught:
            bench.start()
        assert str(caught.value) == f"another supervisord (pid 77) listens on {bench.path}"
        assert bench.listening() == 1

    def test_a_live_one_whose_owner_nobody_knows(self, bench: Bench) -> None:
        bench.start()
        with pytest.raises(AlreadyRunning, match=r"^another supervisord listens on"):
            bench.socket().start(lambda probe: None)

    def test_a_busy_one_is_a_live_one(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
            busy.bind(str(bench.path))
            busy.listen(0)
            first.connect(str(bench.path))
            with pytest.raises(AlreadyRunning):
                bench.start()

    @pytest.mark.parametrize("what", ["file", "directory", "link", "fifo"])
    def test_anything_else_in_its_place_is_left_alone(self, bench: Bench, what: str) -> None:
        if what == "file":
            bench.path.write_text("precious")
        elif what == "directory":
            bench.path.mkdir()
        elif what == "link":
            bench.path.symlink_to("/no/such")
        else:
            os.mkfifo(bench.path)
        before = bench.path.lstat()
        with pytest.raises(LocalError, match="is there already and is no socket"):
            bench.start()
        assert bench.path.lstat() == before

    @pytest.mark.needs_root
    def test_a_dead_one_of_another_user_is_left_alone(self, bench: Bench) -> None:
        bench.left_behind()
        os.chown(bench.path, NOBODY, NOBODY)
        with pytest.raises(LocalError, match="belongs to another user"):
            bench.start()
        assert bench.path.lstat().st_uid == NOBODY

    def test_one_that_cannot_be_asked_is_left_alone(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Probe(socket.socket):
            def connect(self, address: object) -> None:
                raise OSError(errno.EACCES, "Permission denied")

        bench.left_behind()
        monkeypatch.setattr(controlsocket.socket, "socket", Probe)
        with pytest.raises(LocalError, match=r"cannot replace .*: Permission denied"):
            bench.socket().start(lambda probe: None)
        assert bench.path.exists()

    def test_a_directory_that_others_can_change_is_refused(self, bench: Bench) -> None:
        open_to_all = bench.place / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        with pytest.raises(UnsafePath):
            bench.start(open_to_all / "s")

    def test_one_where_everybody_can_make_files_draws_a_warning(self, bench: Bench) -> None:
        sticky = bench.place / "tmp"
        sticky.mkdir()
        sticky.chmod(0o1777)
        started = bench.start(sticky / "s")
        assert started.warnings == (f"{sticky}/s: everybody can make files in {sticky}",)
        assert bench.start().warnings == ()

    def test_a_directory_that_is_not_there(self, bench: Bench) -> None:
        with pytest.raises(LocalError):
            bench.start(bench.place / "no" / "s")

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
            (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
        ],
    )
    def test_a_socket_that_cannot_be_bound(
        self, bench: Bench, error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(port: unix.Port) -> None:
            raise CannotListenError(None, port.port, error)

        monkeypatch.setattr(unix.Port, "startListening", fail)
        before = os.umask(0o022)
        with pytest.raises(LocalError) as caught:
            bench.start()
        assert str(caught.value) == f"cannot listen on {bench.path}: {reason}"
        assert os.umask(before) == 0o022


class TestOwner:
    @pytest.mark.needs_root
    def test_it_belongs_to_whom_it_should(self, bench: Bench) -> None:
        bench.start(socket_chown=("65534", "12345"))
        found = bench.path.lstat()
        assert (found.st_uid, found.st_gid) == (65534, 12345)

    @pytest.mark.needs_root
    def test_what_was_given_away_and_left_behind_is_replaced(self, bench: Bench) -> None:
        bench.left_behind()
        os.chown(bench.path, 65534, 12345)
        bench.start(socket_chown=("65534", None))
        assert bench.listening() == 1

    @pytest.mark.needs_root
    def test_without_a_group_it_is_that_of_the_user(self, bench: Bench) -> None:
        name = pwd.getpwuid(NOBODY).pw_name
        bench.start(socket_chown=(name, None))
        assert bench.path.lstat().st_gid == pwd.getpwuid(NOBODY).pw_gid

    @pytest.mark.parametrize(
        ("owner", "reason"),
        [
            (("no-such-user", None), "socket-chown: no such user: no-such-user"),
            (("root", "no-such-group"), "socket-chown: no such group: no-such-group"),
            (("4123456789", None), "socket-chown: no such user: 4123456789"),
            (("99999999999999999999", None), "socket-chown: no such user: 99999999999999999999"),
            (("²", None), "socket-chown: no such user: ²"),
            (("root", "²"), "socket-chown: no such group: ²"),
            (("root", "9" * 20), "socket-chown: no such group: 99999999999999999999"),
        ],
    )
    def test_nobody_of_that_name(
        self, bench: Bench, owner: tuple[str, str | None], reason: str
    ) -> None:
        with pytest.raises(LocalError) as caught:
            bench.start(socket_chown=owner)
        assert str(caught.value) == reason
        bench.reactor.advance(0)
        assert bench.listening() == 0

    def test_what_cannot_be_given_away_does_not_listen(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def chown(*arguments: object, **keys: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "chown", chown)
        with pytest.raises(LocalError, match="Operation not permitted"):
            bench.start(socket_chown=("root", None))
        bench.reactor.advance(0)
        assert bench.listening() == 0
        assert not bench.path.exists()


class TestStop:
    def test_the_name_is_removed(self, bench: Bench) -> None:
        listening = bench.start()
        assert listening.is_there()
        bench.stop(listening)
        assert not bench.path.exists()
        assert not listening.is_there()
        bench.stop(listening)

    def test_a_name_that_is_gone_is_no_matter(self, bench: Bench) -> None:
        listening = bench.start()
        bench.path.unlink()
        assert not listening.is_there()
        bench.stop(listening)

    def test_the_name_of_another_one_is_left_alone(self, bench: Bench) -> None:
        listening = bench.start()
        bench.path.unlink()
        other = bench.start()
        assert (listening.is_there(), other.is_there()) == (False, True)
        bench.stop(listening)
        assert other.is_there()

    def test_its_name_can_be_removed_first(self, bench: Bench) -> None:
        listening = bench.start()
        listening.remove_name()
        assert not bench.path.exists()
        assert bench.listening() == 1
        listening.remove_name()
        other = bench.start()
        listening.remove_name()
        assert other.is_there()

    def test_what_never_listened_can_be_stopped(self, bench: Bench) -> None:
        assert not bench.socket().is_there()
        assert bench.socket().stop().called


def settings(*paths: Path, **keys: object) -> Settings:
    sockets = tuple(UnixAddress(path=str(path)) for path in paths)
    return replace(SETTINGS, sockets=sockets, **keys)  # type: ignore[arg-type]


class Open:
    """Some listeners in a directory of the test."""

    def __init__(self, place: Path) -> None:
        self.reactor = MemoryReactorClock()
        self.tcp = FakeTcp(self.reactor)
        self.listeners = self.tcp.listeners()
        self.a, self.b = place / "a", place / "b"

    def run(self) -> None:
        for _ in range(5):
            self.reactor.advance(0)

    def look(self) -> None:
        """Let inotify tell what it has seen."""
        for reader in self.reactor.getReaders():
            if "otify" in type(reader).__name__:
                reader.doRead()
        self.run()


@pytest.fixture
def open_(place: Path) -> Iterator[Open]:
    open_ = Open(place)
    yield open_
    open_.listeners.close()
    open_.run()
    assert not open_.a.exists()
    assert open_.reactor.getReaders() == []


class TestListeners:
    def test_all_are_opened(self, open_: Open) -> None:
        open_.listeners.open(settings(open_.a, open_.b))
        assert open_.a.is_socket()
        assert open_.b.is_socket()
        assert open_.listeners.notes() == []
        assert not open_.listeners.refused

    def test_one_that_is_refused_leaves_a_note_and_does_not_hinder_the_others(
        self, open_: Open
    ) -> None:
        open_.a.write_text("no socket")
        with log_lines(LogLevel.critical) as lines:
            open_.listeners.open(settings(open_.a, open_.b))
        assert open_.b.is_socket()
        assert open_.listeners.refused
        assert open_.listeners.notes() == lines
        assert lines[0].startswith(f"not listening on {open_.a}: ")
        open_.a.unlink()

    def test_another_daemon_is_an_error(self, open_: Open, place: Path) -> None:
        other = Open(place)
        other.listeners.open(settings(other.a))
        with pytest.raises(AlreadyRunning, match="pid 77"):
            open_.listeners.open(settings(open_.a))
        assert open_.listeners.refused
        other.listeners.close()
        other.run()

    def test_warnings_are_notes_but_no_refusals(self, open_: Open, place: Path) -> None:
        place.chmod(0o1777)
        with log_lines(LogLevel.warn) as lines:
            open_.listeners.open(settings(open_.a))
        assert (
            lines == open_.listeners.notes() == [f"{open_.a}: everybody can make files in {place}"]
        )
        assert not open_.listeners.refused

    def test_a_change_closes_and_opens(self, open_: Open) -> None:
        open_.listeners.open(settings(open_.a))
        changed = open_.listeners.change(settings(open_.b))
        open_.run()
        assert changed.called
        assert not open_.a.exists()
        assert open_.b.is_socket()

    def test_a_change_of_the_mode(self, open_: Open) -> None:
        open_.listeners.open(settings(open_.a))
        open_.listeners.change(settings(open_.a, socket_mode=0o666))
        open_.run()
        assert mode(open_.a) == 0o666

    def test_a_change_forgets_the_old_notes(self, open_: Open, place: Path) -> None:
        open_.a.write_text("no socket")
        open_.listeners.open(settings(open_.a))
        open_.a.unlink()
        open_.listeners.change(settings(open_.a))
        open_.run()
        assert open_.a.is_socket()
        assert open_.listeners.notes() == []

    def test_a_change_to_where_another_daemon_is_leaves_a_note(
        self, open_: Open, place: Path
    ) -> None:
        other = Open(place)
        other.listeners.open(settings(other.b))
        open_.listeners.change(settings(open_.a, open_.b))
        open_.run()
        assert open_.a.is_socket()
        [note] = open_.listeners.notes()
        assert "another supervisord (pid 77)" in note
        other.listeners.close()
        other.run()

    def test_two_changes_at_once_end_as_the_last_one_says(self, open_: Open) -> None:
        open_.listeners.open(settings(open_.a))
        open_.listeners.change(settings(open_.b))
        open_.listeners.change(settings(open_.a))
        open_.run()
        assert open_.a.is_socket()
        assert not open_.b.exists()

    def test_a_bad_owner_is_refused_and_can_be_mended(self, open_: Open) -> None:
        open_.listeners.open(settings(open_.a, socket_chown=("no-such-user", None)))
        open_.run()
        assert open_.listeners.refused
        assert not open_.a.exists()
        open_.listeners.change(settings(open_.a))
        open_.run()
        assert open_.listeners.notes() == []
        assert open_.a.is_socket()

    @pytest.mark.needs_linux
    def test_one_that_was_deleted_is_made_again(self, open_: Open) -> None:
        wanted = settings(open_.a, open_.b)
        open_.listeners.open(wanted)
        open_.listeners.watch(wanted)
        open_.a.unlink()
        with log_lines(LogLevel.warn) as lines:
            open_.look()
        assert open_.a.is_socket()
        assert open_.b.is_socket()
        assert lines[0] == f"control socket deleted: {open_.a}; making it again"
        open_.a.unlink()
        open_.look()
        assert open_.a.is_socket(), "the second time as well"

    @pytest.mark.needs_linux
    def test_what_a_change_removes_was_not_deleted(self, open_: Open, place: Path) -> None:
        wanted = settings(open_.a, open_.b)
        open_.listeners.open(wanted)
        open_.listeners.watch(wanted)
        with log_lines(LogLevel.warn) as lines:
            changed = open_.listeners.change(settings(place / "c"))
            open_.reactor.callLater(0, open_.look)  # when one of the two is gone
            open_.run()
        assert changed.called
        assert lines == []
        assert (place / "c").is_socket()
        assert not open_.a.exists()

    @pytest.mark.needs_linux
    def test_its_directory_is_made_again_too(
        self, open_: Open, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Settings] = []
        monkeypatch.setattr(listeners, "make_directories", made.append)
        wanted = settings(open_.a)
        open_.listeners.open(wanted)
        open_.listeners.watch(wanted)
        open_.a.unlink()
        open_.look()
        assert made == [wanted]

    @pytest.mark.needs_linux
    def test_other_files_come_and_go(self, open_: Open, place: Path) -> None:
        wanted = settings(open_.a)
        open_.listeners.open(wanted)
        open_.listeners.watch(wanted)
        before = open_.a.lstat().st_ino
        (place / "other").write_text("")
        (place / "other").unlink()
        open_.look()
        assert open_.a.lstat().st_ino == before

    @pytest.mark.needs_linux
    def test_it_stops_watching_before_it_closes(self, open_: Open) -> None:
        wanted = settings(open_.a)
        open_.listeners.open(wanted)
        open_.listeners.watch(wanted)
        open_.listeners.close()
        open_.run()
        open_.look()
        assert not open_.a.exists()
