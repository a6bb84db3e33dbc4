"""Sockets that are held for programs: real ones, and a clock that stands still."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.logged import log_lines
from fakes.store import FakeStore
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ListeningSocket, TcpAddress, UnixAddress
from supervisortw.daemon import sockets
from supervisortw.daemon.sockets import ProgramSockets
from supervisortw.errors import SpawnError

NOBODY = 65534
ALL = "0.0.0.0"  # noqa: S104  # for a moment
TAKEN = "somebody listens there already (lsof or ss tells who)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class Bench:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.path = place / "s"
        self.clock: Clock = Clock()
        self.store = FakeStore()
        self.made: list[ProgramSockets] = []

    def unix(self, path: Path | None = None, name: str = "app", **keys: Any) -> ListeningSocket:
        address = UnixAddress(path=str(path or self.path))
        return ListeningSocket(name=name, address=address, **keys)

    def holding(self, *wanted: ListeningSocket) -> ProgramSockets:
        """Return sockets that are not open yet."""
        made = ProgramSockets(by_name(*wanted), self.clock, self.store)
        self.made.append(made)
        return made

    def open(self, *wanted: ListeningSocket) -> ProgramSockets:
        """Return sockets that are open, and about which there is nothing to be said."""
        made = self.holding(*wanted)
        assert made.open_all() == []
        return made

    def next_daemon(self, *wanted: ListeningSocket) -> ProgramSockets:
        """Let the daemon die without a word, and return the sockets of the one that follows it."""
        for each in self.made.pop()._open.values():
            each.listening.close()
        self.store.next_daemon()
        return self.open(*wanted)

    def kept(self) -> set[str]:
        """Return the names of the sockets that are kept."""
        return {name for name in self.store.kept if not name.endswith("/file")}

    def apply(self, held: ProgramSockets, *wanted: ListeningSocket) -> list[str]:
        done = held.apply(by_name(*wanted))
        self.clock.pump([0, LIMITS.release_seconds])
        answers: list[list[str]] = []
        done.addCallback(answers.append)
        [notes] = answers
        assert notes == held.notes()
        return notes


def by_name(*wanted: ListeningSocket) -> Mapping[str, ListeningSocket]:
    return {each.name: each for each in wanted}


@pytest.fixture
def bench() -> Iterator[Bench]:
    place = Path(os.path.realpath(tempfile.mkdtemp()))  # the names of sockets have to be short
    bench = Bench(place)
    yield bench
    for held in bench.made:
        held.close()
    assert bench.store.kept == {}
    shutil.rmtree(place)


def tcp(host: str, port: int, name: str = "app", **keys: Any) -> ListeningSocket:
    return ListeningSocket(name=name, address=TcpAddress(host=host, port=port), **keys)


def connect(address: str | tuple[str, int], family: int = socket.AF_UNIX) -> socket.socket:
    client = socket.socket(family)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def passes_through(held: ProgramSockets, address: str | tuple[str, int], family: int) -> bool:
    """True if what is said to ``address`` arrives at the socket ``app``."""
    with connect(address, family) as client:
        client.sendall(b"hello")
        return heard(held) == b"hello"


def heard(held: ProgramSockets, name: str = "app") -> bytes:
    """Accept a connection as a program does, and return what is said first."""
    with socket.socket(fileno=os.dup(held.descriptor(name))) as listening:
        listening.settimeout(5)
        accepted, _ = listening.accept()
        with accepted:
            return accepted.recv(100)


def refusal(held: ProgramSockets, name: str = "app") -> SpawnError:
    with pytest.raises(SpawnError) as caught:
        held.descriptor(name)
    return caught.value


class TestUnix:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    @pytest.mark.parametrize("wanted", [0o600, 0o666])
    def test_it_has_the_mode_that_is_asked_for(self, bench: Bench, wanted: int, umask: int) -> None:
        before = os.umask(umask)
        try:
            bench.open(bench.unix(mode=wanted))
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert mode(bench.path) == wanted

    def test_it_is_never_wider_than_it_should_be(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        born: list[int] = []

        class Seen(socket.socket):
            def listen(self, *backlog: int) -> None:
                born.append(mode(bench.path))
                super().listen(*backlog)

        monkeypatch.setattr(socket, "socket", Seen)
        bench.open(bench.unix(mode=0o600))
        assert born == [0o600]

    def test_what_is_said_to_it_arrives(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        assert passes_through(held, str(bench.path), socket.AF_UNIX)

    def test_it_is_ours_blocks_and_is_closed_at_an_exec(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        descriptor = held.descriptor("app")
        assert descriptor == held.descriptor("app")
        assert os.get_blocking(descriptor)
        assert not os.get_inheritable(descriptor)

    def test_what_a_dead_one_left_behind_is_replaced(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(bench.path))
        held = bench.open(bench.unix())
        assert passes_through(held, str(bench.path), socket.AF_UNIX)

    @pytest.mark.needs_root
    def test_what_it_left_behind_itself_is_replaced_whoever_owns_it(self, bench: Bench) -> None:
        wanted = bench.unix(owner=(str(NOBODY), str(NOBODY)))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(bench.path))
        os.chown(bench.path, NOBODY, NOBODY)
        held = bench.open(wanted)
        assert passes_through(held, str(bench.path), socket.AF_UNIX)

    @pytest.mark.needs_root
    def test_a_dead_one_of_another_user_is_left_alone(self, bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(bench.path))
        os.chown(bench.path, NOBODY, NOBODY)
        error = refusal(bench.holding(bench.unix()))
        assert "it belongs to another user" in str(error)
        assert error.permanent
        assert bench.path.is_socket()

    def test_a_live_one_is_refused_as_long_as_it_lives(self, bench: Bench) -> None:
        held = bench.holding(bench.unix())
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(bench.path))
            live.listen()
            error = refusal(held)
            assert str(error) == f"socket app: cannot listen on {bench.path}: {TAKEN}"
            assert not error.permanent
            assert held.notes() == [str(error)]
        assert held.descriptor("app")
        assert passes_through(held, str(bench.path), socket.AF_UNIX)
        assert held.notes() == []

    @pytest.mark.parametrize("what", ["file", "link"])
    def test_anything_else_in_its_place_is_left_alone(self, bench: Bench, what: str) -> None:
        if what == "file":
            bench.path.write_text("precious")
        else:
            bench.path.symlink_to("/no/such")
        before = bench.path.lstat()
        error = refusal(bench.holding(bench.unix()))
        assert "is there already and is no socket" in str(error)
        assert error.permanent
        assert bench.path.lstat() == before

    def test_a_directory_that_others_can_change_is_refused(self, bench: Bench) -> None:
        bench.place.chmod(0o777)
        error = refusal(bench.holding(bench.unix()))
        assert "lets every user of this machine replace what is in it" in str(error)
        assert error.permanent
        assert not bench.path.exists()

    def test_one_where_everybody_can_make_files_draws_a_warning(self, bench: Bench) -> None:
        bench.place.chmod(0o1777)
        held = bench.holding(bench.unix())
        warning = f"socket app: {bench.path}: everybody can make files in {bench.place}"
        assert held.open_all() == held.notes() == [warning]

    def test_a_missing_directory_is_made(self, bench: Bench) -> None:
        path = bench.place / "run" / "app" / "s"
        bench.open(bench.unix(path))
        assert path.is_socket()
        assert mode(path.parent) == 0o755

    def test_a_name_that_is_too_long(self, bench: Bench) -> None:
        error = refusal(bench.holding(bench.unix(bench.place / ("x" * 110))))
        assert "path too long" in str(error)
        assert error.permanent

    @pytest.mark.needs_root
    def test_it_is_given_to_its_owner(self, bench: Bench) -> None:
        bench.open(bench.unix(owner=("65534", "12345"), mode=0o660))
        found = bench.path.lstat()
        assert (found.st_uid, found.st_gid, mode(bench.path)) == (65534, 12345, 0o660)

    @pytest.mark.parametrize(
        ("owner", "reason"),
        [
            (("no-such-user", None), "owner: no such user: no-such-user"),
            (("root", "no-such-group"), "owner: no such group: no-such-group"),
        ],
    )
    def test_an_owner_whom_nobody_knows(
        self, bench: Bench, owner: tuple[str, str | None], reason: str
    ) -> None:
        error = refusal(bench.holding(bench.unix(owner=owner)))
        assert str(error) == f"socket app: cannot listen on {bench.path}: {reason}"
        assert error.permanent
        assert not bench.path.exists()

    def test_what_cannot_be_given_away_is_not_there(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def chown(*arguments: object, **keys: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "chown", chown)
        error = refusal(bench.holding(bench.unix(owner=("root", None))))
        assert "Operation not permitted" in str(error)
        assert error.permanent
        assert not bench.path.exists()

    def test_a_shortage_of_descriptors_passes(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = bench.holding(bench.unix())
        with monkeypatch.context() as patched:

            def open(*arguments: object, **keys: object) -> int:
                raise OSError(errno.EMFILE, "Too many open files")

            patched.setattr(os, "open", open)
            error = refusal(held)
        assert "too many open files" in str(error)
        assert not error.permanent
        assert held.descriptor("app")


class TestTcp:
    def test_ipv4(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("127.0.0.1", port))
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)

    def test_localhost_is_known_without_asking(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("localhost", port))
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)

    @needs_ipv6
    def test_ipv6(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("::1", port))
        assert passes_through(held, ("::1", port), socket.AF_INET6)

    @needs_ipv6
    def test_every_interface_has_both_protocols(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("", port))
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)
        assert passes_through(held, ("::1", port), socket.AF_INET6)

    @needs_ipv6
    def test_an_address_has_one_protocol(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("::", port, "six"), tcp(ALL, port, "app"))
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)

    @pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
    def test_every_interface_where_there_is_no_ipv6(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        class Old(socket.socket):
            def bind(self, address: Any) -> None:
                if self.family == socket.AF_INET6:
                    raise OSError(number, os.strerror(number))
                super().bind(address)

        port = free_port()
        monkeypatch.setattr(socket, "socket", Old)
        held = bench.open(tcp("", port))
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)

    @pytest.mark.parametrize("host", ["example.org", "127.1", "localhost.localdomain"])
    def test_a_name_is_not_looked_up(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", None)
        error = refusal(bench.holding(tcp(host, 8000)))
        assert str(error) == (
            f"socket app: cannot listen on {host}:8000: "
            "give the address of the interface, not a name"
        )
        assert error.permanent

    def test_a_port_that_is_taken_may_be_free_later(self, bench: Bench) -> None:
        port = free_port()
        held = bench.holding(tcp("127.0.0.1", port))
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            error = refusal(held)
        assert str(error) == f"socket app: cannot listen on 127.0.0.1:{port}: {TAKEN}"
        assert not error.permanent
        assert held.descriptor("app")

    def test_connections_of_an_earlier_one_are_no_hindrance(self, bench: Bench) -> None:
        port = free_port()
        earlier = bench.open(tcp("127.0.0.1", port))
        with connect(("127.0.0.1", port), socket.AF_INET) as client:
            client.sendall(b"hello")
            assert heard(earlier) == b"hello"  # and it hangs up first, so that its end lingers
        earlier.close()
        bench.open(tcp("127.0.0.1", port))

    @pytest.mark.parametrize(
        ("number", "address", "reason", "permanent"),
        [
            (errno.EACCES, ("127.0.0.1", 80), "only root can listen on ports below 1024", True),
            (errno.EACCES, ("127.0.0.1", 8000), "permission denied", True),
            (errno.EADDRNOTAVAIL, ("1.2.3.4", 8000), "no interface of this machine has", False),
            (errno.EADDRINUSE, ("127.0.0.1", 8000), TAKEN, False),
            (errno.ENOBUFS, ("127.0.0.1", 8000), "no buffer space", False),
            (errno.EAFNOSUPPORT, ("::1", 8000), "not supported", True),
        ],
    )
    def test_why_not(
        self,
        bench: Bench,
        monkeypatch: pytest.MonkeyPatch,
        *,
        number: int,
        address: tuple[str, int],
        reason: str,
        permanent: bool,
    ) -> None:
        class Failing(socket.socket):
            def bind(self, address: Any) -> None:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(socket, "socket", Failing)
        error = refusal(bench.holding(tcp(*address)))
        assert reason in str(error)
        assert error.permanent is permanent


class TestAll:
    def test_one_that_fails_does_not_hinder_the_others(self, bench: Bench) -> None:
        bench.path.write_text("no socket")
        held = bench.holding(bench.unix(), bench.unix(bench.place / "b", "b"))
        with log_lines(LogLevel.error) as lines:
            [note] = held.open_all()
        assert note.startswith(f"socket app: cannot listen on {bench.path}: ")
        assert lines == [note]
        assert held.descriptor("b")

    def test_the_log_tells_the_same_once(self, bench: Bench) -> None:
        bench.path.write_text("no socket")
        held = bench.holding(bench.unix())
        with log_lines(LogLevel.error) as lines:
            held.open_all()
            for _ in range(3):
                refusal(held)
        assert len(lines) == 1

    def test_one_that_is_in_no_configuration(self, bench: Bench) -> None:
        error = refusal(bench.open(bench.unix()), "other")
        assert str(error) == "there is no socket other in the configuration"
        assert error.permanent

    def test_there_can_be_only_so_many(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "LIMITS", replace(LIMITS, program_sockets=2))
        wanted = [bench.unix(bench.place / name, name) for name in "abc"]
        held = bench.holding(*wanted)
        reason = "socket c: 2 sockets are open already, and more there cannot be"
        assert held.open_all() == [reason]
        error = refusal(held, "c")
        assert str(error) == reason
        assert error.permanent
        assert bench.apply(held, *wanted[1:]) == []

    def test_one_that_was_deleted_is_made_again_for_the_next_program(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.path.unlink()
        [note] = held.notes()
        assert note == (
            f"socket app: {bench.path} was removed or replaced by somebody; "
            "it is made again when a program that uses it starts"
        )
        assert held.descriptor("app")
        assert passes_through(held, str(bench.path), socket.AF_UNIX)
        assert held.notes() == []


class TestClose:
    def test_the_names_are_removed_and_nobody_listens(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(bench.unix(), tcp("127.0.0.1", port, "tcp"))
        held.close()
        assert not bench.path.exists()
        with pytest.raises(ConnectionRefusedError):
            connect(("127.0.0.1", port), socket.AF_INET)
        assert "there is no socket app" in str(refusal(held))
        held.close()

    def test_the_name_of_another_one_is_left_alone(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.path.unlink()
        bench.path.write_text("precious")
        held.close()
        assert bench.path.read_text() == "precious"


class TestApply:
    def test_one_that_stays_keeps_who_waits_in_its_queue(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        before = held.descriptor("app")
        with connect(str(bench.path)) as client:
            client.sendall(b"early")
            assert bench.apply(held, bench.unix(), bench.unix(bench.place / "b", "b")) == []
            assert heard(held) == b"early"
        assert held.descriptor("app") == before
        assert held.descriptor("b")

    def test_one_that_is_not_wanted_any_more_is_closed(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        assert bench.apply(held) == []
        assert not bench.path.exists()
        refusal(held)

    def test_one_gets_another_address(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        other = bench.place / "other"
        assert bench.apply(held, bench.unix(other)) == []
        assert not bench.path.exists()
        assert passes_through(held, str(other), socket.AF_UNIX)

    def test_one_gets_another_name(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        with connect(str(bench.path)) as client:
            client.sendall(b"early")
            assert bench.apply(held, bench.unix(name="new")) == []
            assert heard(held, "new") == b"early"
        refusal(held)

    def test_two_change_their_addresses(self, bench: Bench) -> None:
        other = bench.place / "other"
        held = bench.open(bench.unix(), bench.unix(other, "other"))
        before = held.descriptor("app")
        assert bench.apply(held, bench.unix(other), bench.unix(name="other")) == []
        assert held.descriptor("other") == before

    def test_an_address_goes_over_to_one_that_is_wider(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(tcp("127.0.0.1", port))
        assert bench.apply(held, tcp(ALL, port)) == []
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)

    def test_the_mode_is_changed_in_place(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        before = held.descriptor("app"), bench.path.lstat().st_ino
        assert bench.apply(held, bench.unix(mode=0o666)) == []
        assert mode(bench.path) == 0o666
        assert (held.descriptor("app"), bench.path.lstat().st_ino) == before

    @pytest.mark.needs_root
    def test_the_owner_is_changed_in_place(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        assert bench.apply(held, bench.unix(owner=("65534", "12345"))) == []
        found = bench.path.lstat()
        assert (found.st_uid, found.st_gid) == (65534, 12345)
        assert bench.apply(held, bench.unix()) == []
        found = bench.path.lstat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())

    def test_the_backlog_is_changed_in_place(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backlogs: list[int] = []

        class Seen(socket.socket):
            def listen(self, backlog: int = -1) -> None:
                backlogs.append(backlog)
                super().listen(backlog)

        monkeypatch.setattr(socket, "socket", Seen)
        held = bench.open(bench.unix(backlog=1))
        before = held.descriptor("app")
        assert bench.apply(held, bench.unix(backlog=7)) == []
        assert (backlogs, held.descriptor("app")) == ([1, 7], before)

    def test_a_change_that_fails_is_told_until_it_succeeds(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bad = bench.unix(mode=0o666, owner=("no-such-user", None))
        for _ in range(2):
            assert bench.apply(held, bad) == [
                "socket app: listening as before: owner: no such user: no-such-user"
            ]
            assert mode(bench.path) == 0o600
        assert bench.apply(held, bench.unix(mode=0o666)) == []
        assert mode(bench.path) == 0o666

    def test_a_new_one_that_fails_is_told_and_the_others_are_opened(self, bench: Bench) -> None:
        held = bench.open()
        bench.path.write_text("no socket")
        [note] = bench.apply(held, bench.unix(), bench.unix(bench.place / "b", "b"))
        assert note.startswith(f"socket app: cannot listen on {bench.path}: ")
        assert held.descriptor("b")

    def test_an_old_trouble_is_forgotten(self, bench: Bench) -> None:
        bench.path.write_text("no socket")
        held = bench.holding(bench.unix())
        assert len(held.open_all()) == 1
        bench.path.unlink()
        assert bench.apply(held, bench.unix()) == []
        assert bench.path.is_socket()

    def test_one_that_was_deleted_is_made_again(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.path.unlink()
        assert bench.apply(held, bench.unix(mode=0o666)) == []
        assert mode(bench.path) == 0o666


class TestAnotherDaemon:
    """Follows one that has died under its programs."""

    @pytest.mark.parametrize("kind", ["unix", "tcp", "every interface"])
    def test_who_waits_in_the_queue_is_served(self, bench: Bench, kind: str) -> None:
        port = free_port()
        wanted, address, family = {
            "unix": (bench.unix(), str(bench.path), socket.AF_UNIX),
            "tcp": (tcp("localhost", port), ("127.0.0.1", port), socket.AF_INET),
            "every interface": (tcp("", port), ("127.0.0.1", port), socket.AF_INET),
        }[kind]
        bench.open(wanted)
        with connect(address, family) as client:
            client.sendall(b"early")
            with log_lines(LogLevel.info) as lines:
                later = bench.next_daemon(wanted)
            assert lines == [f"socket app: still listening on {wanted.address}"]
            assert heard(later) == b"early"
        assert passes_through(later, address, family)

    @needs_ipv6
    def test_an_address_is_the_same_however_it_is_written(self, bench: Bench) -> None:
        port = free_port()
        bench.open(tcp("::1", port))
        with connect(("::1", port), socket.AF_INET6) as client:
            client.sendall(b"early")
            assert heard(bench.next_daemon(tcp("0:0::0:1", port))) == b"early"

    def test_the_file_is_neither_removed_nor_made_anew(self, bench: Bench) -> None:
        bench.open(bench.unix())
        before = bench.path.lstat()
        for _ in range(2):
            later = bench.next_daemon(bench.unix())
            assert bench.path.lstat() == before
        later.close()
        assert not bench.path.exists()

    def test_it_is_as_the_configuration_says(self, bench: Bench) -> None:
        bench.open(bench.unix())
        later = bench.next_daemon(bench.unix(mode=0o666))
        assert mode(bench.path) == 0o666
        assert bench.apply(later, bench.unix(mode=0o640)) == []
        assert mode(bench.path) == 0o640

    @pytest.mark.needs_root
    @pytest.mark.parametrize(
        ("before", "owner", "after"),
        [
            ((0, 12345), None, (0, 12345)),
            ((65534, 12345), None, (os.geteuid(), os.getegid())),
            ((0, 0), ("65534", "12345"), (65534, 12345)),
        ],
    )
    def test_it_belongs_to_whom_the_configuration_says(
        self,
        bench: Bench,
        before: tuple[int, int],
        owner: tuple[str, str] | None,
        after: tuple[int, int],
    ) -> None:
        bench.open(bench.unix())
        os.chown(bench.path, *before)
        bench.next_daemon(bench.unix(owner=owner))
        found = bench.path.lstat()
        assert (found.st_uid, found.st_gid) == after

    def test_a_warning_is_given_again(self, bench: Bench) -> None:
        bench.place.chmod(0o1777)
        first = bench.holding(bench.unix())
        [warning] = first.open_all()
        for each in bench.made.pop()._open.values():
            each.listening.close()
        bench.store.next_daemon()
        assert bench.holding(bench.unix()).open_all() == [warning]

    def test_one_whose_name_was_deleted_is_made_anew(self, bench: Bench) -> None:
        bench.open(bench.unix())
        bench.path.unlink()
        later = bench.next_daemon(bench.unix())
        assert passes_through(later, str(bench.path), socket.AF_UNIX)
        assert bench.kept() == {"socket/app"}

    @pytest.mark.parametrize("has_marks", [True, False])
    def test_what_is_in_its_place_by_now_is_left_alone(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, has_marks: bool
    ) -> None:
        if not has_marks:
            monkeypatch.delattr(os, "O_PATH", raising=False)
        bench.open(bench.unix())
        bench.path.unlink()
        bench.path.write_text("precious")
        for each in bench.made.pop()._open.values():
            each.listening.close()
        bench.store.next_daemon()
        error = refusal(bench.holding(bench.unix()))
        assert "is there already and is no socket" in str(error)
        assert bench.path.read_text() == "precious"

    @pytest.mark.needs_linux
    def test_the_socket_of_somebody_else_is_not_taken_for_it(self, bench: Bench) -> None:
        bench.open(bench.unix())
        bench.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(bench.path))
            other.listen()
            for each in bench.made.pop()._open.values():
                each.listening.close()
            bench.store.next_daemon()
            held = bench.holding(bench.unix())
            assert str(refusal(held)) == f"socket app: cannot listen on {bench.path}: {TAKEN}"
        assert bench.store.kept == {}
        assert held.descriptor("app")

    def test_where_a_file_cannot_be_held_its_name_has_to_do(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "O_PATH", raising=False)
        bench.open(bench.unix())
        assert set(bench.store.kept) == {"socket/app"}
        with connect(str(bench.path)) as client:
            client.sendall(b"early")
            assert heard(bench.next_daemon(bench.unix())) == b"early"

    def test_one_that_listens_elsewhere_is_bound_anew(self, bench: Bench) -> None:
        bench.open(bench.unix())
        port = free_port()
        later = bench.next_daemon(tcp("127.0.0.1", port))
        assert passes_through(later, ("127.0.0.1", port), socket.AF_INET)
        assert set(bench.store.kept) == {"socket/app"}
        other = free_port()
        later = bench.next_daemon(tcp("127.0.0.1", other))
        assert passes_through(later, ("127.0.0.1", other), socket.AF_INET)
        with pytest.raises(ConnectionRefusedError):
            connect(("127.0.0.1", port), socket.AF_INET)

    @needs_ipv6
    def test_one_of_both_protocols_is_not_one_of_ipv6(self, bench: Bench) -> None:
        port = free_port()
        bench.open(tcp("", port))
        bench.next_daemon(tcp("::", port))
        with pytest.raises(ConnectionRefusedError):
            connect(("127.0.0.1", port), socket.AF_INET)

    def test_one_that_a_program_has_shut_is_bound_anew(self, bench: Bench) -> None:
        port = free_port()
        wanted = tcp("127.0.0.1", port)
        held = bench.open(wanted)
        with socket.socket(fileno=os.dup(held.descriptor("app"))) as programs:
            programs.shutdown(socket.SHUT_RDWR)
        later = bench.next_daemon(wanted)
        assert passes_through(later, ("127.0.0.1", port), socket.AF_INET)

    def test_what_cannot_be_made_right_is_not_kept(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.open(bench.unix())
        for each in bench.made.pop()._open.values():
            each.listening.close()
        bench.store.next_daemon()
        held = bench.holding(bench.unix())
        with monkeypatch.context() as patched:

            def chown(*arguments: object, **keys: object) -> None:
                raise OSError(errno.EPERM, "Operation not permitted")

            patched.setattr(os, "chown", chown)
            assert "Operation not permitted" in str(refusal(held))
        assert bench.store.kept == {}
        assert held.descriptor("app")
        assert passes_through(held, str(bench.path), socket.AF_UNIX)

    def test_one_that_is_not_wanted_is_not_touched(self, bench: Bench) -> None:
        bench.open(bench.unix())
        later = bench.next_daemon()
        assert later.notes() == []
        assert bench.kept() == {"socket/app"}, "whoever fetched it lets go of it"
        bench.store.close()


class TestKeeping:
    """What is kept is what is open, under the name that it has."""

    def test_each_is_kept_as_long_as_it_is_open(self, bench: Bench) -> None:
        port = free_port()
        held = bench.open(bench.unix(), tcp("127.0.0.1", port, "web"))
        assert bench.kept() == {"socket/app", "socket/web"}
        bench.apply(held, bench.unix())
        assert bench.kept() == {"socket/app"}
        held.close()
        assert bench.store.kept == {}

    def test_a_new_name(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.apply(held, bench.unix(name="new"))
        assert bench.kept() == {"socket/new"}
        with connect(str(bench.path)) as client:
            client.sendall(b"early")
            assert heard(bench.next_daemon(bench.unix(name="new")), "new") == b"early"

    def test_names_that_are_changed_for_each_other(self, bench: Bench) -> None:
        other = bench.place / "other"
        bench.open(bench.unix(), bench.unix(other, "other"))
        wanted = bench.unix(other), bench.unix(name="other")
        bench.apply(bench.made[0], *wanted)
        assert bench.kept() == {"socket/app", "socket/other"}
        with connect(str(other)) as client:
            client.sendall(b"early")
            assert heard(bench.next_daemon(*wanted)) == b"early"

    def test_a_name_that_is_given_to_another_one(self, bench: Bench) -> None:
        other = bench.place / "other"
        held = bench.open(bench.unix())
        wanted = bench.unix(name="new"), bench.unix(other)
        bench.apply(held, *wanted)
        assert bench.kept() == {"socket/app", "socket/new"}
        with connect(str(other)) as client:
            client.sendall(b"early")
            assert heard(bench.next_daemon(*wanted)) == b"early"

    def test_a_new_name_for_one_that_was_deleted_and_cannot_be_made_again(
        self, bench: Bench
    ) -> None:
        other = bench.place / "other"
        held = bench.open(bench.unix(), bench.unix(other, "other"))
        other.unlink()
        other.write_text("precious")
        [note] = bench.apply(held, bench.unix(other))
        assert "is there already and is no socket" in note
        assert bench.store.kept == {}

    def test_a_new_name_for_one_that_cannot_be_changed_otherwise(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.apply(held, bench.unix(name="new", mode=0o666, owner=("no-such-user", None)))
        assert bench.kept() == {"socket/new"}

    def test_one_that_was_deleted_and_cannot_be_made_again(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.path.unlink()
        bench.path.write_text("precious")
        refusal(held)
        assert bench.store.kept == {}

    def test_one_that_has_a_file_becomes_one_that_has_none(self, bench: Bench) -> None:
        held = bench.open(bench.unix())
        bench.apply(held, tcp("127.0.0.1", free_port()))
        assert set(bench.store.kept) == {"socket/app"}

    def test_a_port_is_free_when_the_store_has_closed_its_copy(self, bench: Bench) -> None:
        class Late(FakeStore):
            def drop(self, name: str) -> None:
                bench.clock.callLater(LIMITS.release_seconds / 2, super().drop, name)

        bench.store = Late()
        port = free_port()
        held = bench.open(tcp("127.0.0.1", port, "old"))
        done = held.apply(by_name(tcp(ALL, port)))
        bench.clock.advance(0)
        assert not done.called
        bench.clock.pump([LIMITS.release_seconds / 2] * 2)
        assert done.called
        assert held.notes() == []
        assert passes_through(held, ("127.0.0.1", port), socket.AF_INET)
        held.close()
        bench.clock.advance(LIMITS.release_seconds)


class Slow(Clock):
    """A clock by which everything takes a second."""

    def seconds(self) -> float:
        self.rightNow += 1.0
        return self.rightNow

    def turn(self) -> None:
        """Do what is due now, and not what that makes due."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.func(*call.args, **call.kw)


class TestPortions:
    """What takes long leaves everybody else their turn."""

    @pytest.fixture
    def slow(self, bench: Bench) -> Slow:
        bench.clock = slow = Slow()
        return slow

    def test_one_socket_in_each_turn(self, bench: Bench, slow: Slow) -> None:
        wanted = [bench.unix(bench.place / name, name) for name in "abc"]
        held = bench.open()
        done = held.apply(by_name(*wanted))
        for turn in (1, 2, 3):
            assert len(list(bench.place.iterdir())) == turn
            assert not done.called or turn == 3
            slow.turn()
        assert done.called

    def test_a_program_need_not_wait_for_the_turn_of_its_socket(
        self, bench: Bench, slow: Slow
    ) -> None:
        wanted = [bench.unix(bench.place / name, name) for name in "abc"]
        held = bench.open()
        done = held.apply(by_name(*wanted))
        descriptor = held.descriptor("c")
        for _ in wanted:
            slow.turn()
        assert done.called
        assert held.descriptor("c") == descriptor

    def test_it_is_closed_meanwhile(self, bench: Bench, slow: Slow) -> None:
        held = bench.open(*(bench.unix(bench.place / name, name) for name in "abcd"))
        kept = [bench.unix(bench.place / name, name, mode=0o666) for name in "ab"]
        done = held.apply(by_name(*kept, bench.unix(bench.place / "e", "e")))
        held.close()
        for _ in range(10):
            slow.turn()
        assert done.called
        assert list(bench.place.iterdir()) == []
        assert held.notes() == []
