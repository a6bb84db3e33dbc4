"""How a client gets in: without a password, with one, again and again, and whom it believes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.passwordserver import KDF, REALM, SECRET, USER, PasswordServer
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from supervisortw.client.access import Access, Trust
from supervisortw.client.passwords import Password, Passwords, Stretching
from supervisortw.client.pins import Pin, Pins
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, TcpAddress, UnixAddress
from supervisortw.core.srp import UNBOUND, UNIX, Binding
from supervisortw.errors import (
    ConfigError,
    Denied,
    Impostor,
    LocalError,
    PasswordWanted,
    TooManyFailures,
    Unreachable,
    WrongPassword,
)
from supervisortw.remote.dialling import Way
from supervisortw.remote.frames import ADMITTED, fields, pack
from supervisortw.remote.login import by_peer

HERE = UnixAddress(path="/run/s")
THERE = TcpAddress(host="db1", port=9001)
CERTIFICATE = b"\x22" * 32
RENEWED = b"\x33" * 32
TLS = Binding(kind="tls-exporter", data=b"\x11" * 32, certificate=CERTIFICATE)
PIN = Pin(host="db1:9001", user=USER, certificate=CERTIFICATE, kdf=KDF, realm=REALM)


class Talk:
    """The gate in front of a server, without a connection."""

    def __init__(
        self,
        where: str,
        server: PasswordServer,
        lost_after: int | None,
        verdict: Deferred[list[bytes]] | None,
    ) -> None:
        self.where = where
        self.server = server
        self.lost_after = lost_after
        self.verdict = verdict

    def ask(self, message: Any) -> Deferred[list[bytes]]:
        answer = self.server.receive(pack(message))
        if len(self.server.frames) == 2 and self.verdict is not None:
            return self.verdict
        if len(self.server.frames) == self.lost_after:
            return fail(Unreachable(f"{self.where}: lost"))
        return succeed(fields(answer[2:]))


class Session:
    """What a client has then."""


class World:
    """Daemons everywhere, somebody who is asked for passwords, and what was done."""

    def __init__(
        self, tmp_path: Path, *typed: str, trust: Trust | None = None, **settings: Any
    ) -> None:
        self.typed = list(typed)
        self.asked: list[str] = []
        self.ways: list[Way] = []
        self.connections: list[tuple[str, PasswordServer | None]] = []
        self.peer_login = True
        self.binding = TLS
        self.realm = REALM
        self.second_answer: bytes | None = None
        self.hangs_up = False  # whoever answers, with a new realm each time
        self.connected = False
        self.lost_after: int | None = None  # so many frames of ours
        self.verdict: Deferred[list[bytes]] | None = None
        self.failure: Exception | None = None
        self.wait: Deferred[None] | None = None
        self.thread: Deferred[None] | None = None  # what is stretched is not ready before
        self.notices: list[str] = []
        self.stretched: list[int] = []  # after how many connections
        self.pins = Pins(str(tmp_path / "known_hosts"))
        given = settings.pop("given", None)
        ask = self.ask if typed else None
        self.passwords = Passwords(lambda: ask, user=USER, given=given)
        self.access = Access(
            self.connect,  # type: ignore[arg-type]
            self.passwords,
            Stretching(self.in_thread),
            lambda: self.pins,
            notice=self.notices.append,
            trust=trust or Trust(),
            **settings,
        )

    async def ask(self, question: str, hidden: bool) -> str:
        assert hidden
        self.asked.append(question)
        if not self.typed:
            raise EOFError
        return self.typed.pop(0)

    def in_thread(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        self.stretched.append(len(self.connections))
        if self.hangs_up and self.connected:
            return fail(Unreachable("db1:9001: lost"))  # as a login that was begun ends
        done: Deferred[bytes] = Deferred()
        if self.thread is None:
            done.callback(work())
        else:
            self.thread.addCallback(lambda _: done.callback(work()))
        return done

    async def connect(self, address: Address, way: Way) -> Session:
        self.ways.append(way)
        if self.failure is not None:
            raise self.failure
        where = str(address)
        if way.login in (None, by_peer):
            self.connections.append((where, None))
            if not self.peer_login:
                raise PasswordWanted(f"{where}: the daemon wants a password")
            return Session()
        binding = UNIX if isinstance(address, UnixAddress) else self.binding
        if self.hangs_up:
            self.realm = len(self.ways).to_bytes(16, "big")
        server = PasswordServer(binding, realm=self.realm)
        server.second_answer = self.second_answer
        self.connections.append((where, server))
        if self.wait is not None:
            await self.wait
        assert way.login is not None
        self.connected = True
        try:
            await way.login(Talk(where, server, self.lost_after, self.verdict), binding)
        finally:
            self.connected = False
        return Session()

    def open(self, address: Address = THERE) -> Asked[Session]:
        return Asked(self.access.connect(address))

    @property
    def servers(self) -> list[PasswordServer]:
        return [server for _, server in self.connections if server is not None]


class TestOnThisMachine:
    def test_the_kernel_says_who_one_is(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        assert world.open(HERE).done
        assert world.ways == [Way()]
        assert world.asked == []

    def test_a_daemon_that_wants_a_password_gets_one(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.peer_login = False
        assert isinstance(world.open(HERE).answer, Session)
        assert [server is None for _, server in world.connections] == [True, False]
        assert world.servers[0].admitted == 1
        assert world.asked == ["/run/s: password of alice: "]
        assert not Path(world.pins.path).exists()

    def test_with_a_name_it_is_always_by_password(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET, by_name=True)
        assert world.open(HERE).done
        assert len(world.servers) == len(world.connections) == 1

    def test_noauth_asks_nobody(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET, noauth=True)
        world.peer_login = False
        with pytest.raises(PasswordWanted, match=r"^/run/s: .*'noauth'.* forbids"):
            assert world.open(HERE).answer
        assert (world.asked, world.servers) == ([], [])

    def test_without_anybody_to_ask_it_says_what_to_do(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        world.peer_login = False
        with pytest.raises(PasswordWanted, match="--password-fd N"):
            assert world.open(HERE).answer
        assert world.servers == []

    def test_what_else_goes_wrong_is_told(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.failure = Unreachable("/run/s: no such socket")
        with pytest.raises(Unreachable):
            assert world.open(HERE).answer
        assert world.asked == []


class TestByPassword:
    def test_the_first_time_the_password_proves_the_certificate(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        assert isinstance(world.open().answer, Session)
        [way] = world.ways
        assert (way.certificate, way.authorities, way.plain) == (None, None, False)
        assert Path(world.pins.path).read_text() == f"{PIN}\n"

    def test_from_then_on_no_other_is_taken(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.pins.remember(PIN)
        assert world.open().done
        [way] = world.ways
        assert way.certificate == CERTIFICATE
        assert "--accept-new-certificate" in way.advice
        assert world.pins.path in way.advice

    def test_for_every_user(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.pins.remember(
            Pin(host=PIN.host, user="bob", certificate=RENEWED, kdf=KDF, realm=REALM)
        )
        world.open()
        assert world.ways[0].certificate == RENEWED

    def test_a_new_one_is_taken_if_somebody_says_so_and_the_password_proves_it(
        self, tmp_path: Path
    ) -> None:
        world = World(tmp_path, "wrong", SECRET, trust=Trust(accept_new=True))
        world.pins.remember(PIN)
        world.binding = Binding(kind="tls-exporter", data=b"\x11" * 32, certificate=RENEWED)
        world.typed.insert(1, "wrong again")
        assert world.open().done
        assert {way.certificate for way in world.ways} == {None}
        assert [pin.certificate for pin in world.pins.of("db1:9001")] == [RENEWED]

    def test_one_that_is_not_proven_is_not_remembered(self, tmp_path: Path) -> None:
        world = World(tmp_path, "wrong", trust=Trust(accept_new=True))
        world.pins.remember(PIN)
        world.binding = Binding(kind="tls-exporter", data=b"\x11" * 32, certificate=RENEWED)
        with pytest.raises(PasswordWanted):
            assert world.open().answer
        assert world.pins.of("db1:9001") == [PIN]

    def test_a_port_alone_is_on_this_machine(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        assert world.open(TcpAddress(host="", port=9001)).done
        assert [pin.host for pin in world.pins.of("localhost:9001")] == ["localhost:9001"]

    def test_the_fingerprint_of_the_configuration_wins(self, tmp_path: Path) -> None:
        trust = Trust(fingerprints={"db1:9001": RENEWED}, accept_new=True, authorities="/no/file")
        world = World(tmp_path, SECRET, trust=trust)
        world.pins.remember(PIN)
        assert world.open().done
        assert world.ways[0].certificate == RENEWED
        assert "fingerprint" in world.ways[0].advice

    def test_authorities_take_the_place_of_what_is_known(self, tmp_path: Path) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(b"PEM")
        world = World(tmp_path, SECRET, trust=Trust(authorities=str(file), name="x.example"))
        world.pins.remember(PIN)
        assert world.open().done
        [way] = world.ways
        assert (way.certificate, way.authorities, way.name) == (None, b"PEM", "x.example")
        missing = World(tmp_path, SECRET, trust=Trust(authorities=str(tmp_path / "gone")))
        with pytest.raises(LocalError, match=r"cannot read .*gone"):
            assert missing.open().answer
        assert missing.asked == []

    def test_without_tls_nothing_is_remembered(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET, trust=Trust(plain=True))
        world.binding = UNBOUND
        assert world.open().done
        assert world.ways[0].plain
        assert not Path(world.pins.path).exists()

    def test_a_fingerprint_that_is_told_is_asked_for_also_where_others_do_without_tls(
        self, tmp_path: Path
    ) -> None:
        trust = Trust(plain=True, fingerprints={"db1:9001": CERTIFICATE})
        world = World(tmp_path, SECRET, trust=trust)
        assert world.open().done
        [way] = world.ways
        assert (way.plain, way.certificate) == (False, CERTIFICATE)

    def test_a_file_that_is_not_right_is_not_passed_over(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        Path(world.pins.path).touch(0o600)
        Path(world.pins.path).write_text("nonsense\n")
        with pytest.raises(ConfigError, match=r"known_hosts:1: "):
            assert world.open().answer
        assert (world.asked, world.connections) == ([], [])

    def test_what_cannot_be_remembered_is_told_and_the_session_is_open(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(tmp_path, SECRET)

        def fail(path: str, data: bytes) -> None:
            raise LocalError("cannot write x: no space")

        monkeypatch.setattr("supervisortw.client.privatefile.write", fail)
        assert isinstance(world.open().answer, Session)
        assert world.notices == [
            "db1:9001: its certificate is not remembered: cannot write x: no space"
        ]

    def test_noauth_needs_somebody_else_to_tell_whose_daemon_it_is(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET, noauth=True)
        with pytest.raises(Denied, match=r"^db1:9001: with 'noauth', only"):
            assert world.open().answer
        assert world.connections == []
        for trust in (Trust(fingerprints={"db1:9001": CERTIFICATE}), Trust(plain=True)):
            known = World(tmp_path, noauth=True, trust=trust)
            assert known.open().done
            assert known.ways[0].login is by_peer
            assert known.servers == []


class TestStretching:
    def test_what_is_known_is_stretched_before_we_connect(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.pins.remember(PIN)
        assert world.open().done
        assert world.stretched == [0]

    def test_what_is_not_known_after_the_daemon_has_said_it(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        assert world.open().done
        assert world.stretched == [1]
        assert world.open().done
        assert len(world.stretched) == 1

    def test_daemons_of_one_realm_share_it(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        for number in range(5):
            assert world.open(TcpAddress(host=f"db{number}", port=9001)).done
        assert (len(world.stretched), len(world.asked)) == (1, 1)

    def test_a_realm_that_has_changed(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.pins.remember(PIN)
        world.realm = b"a new realm it is"[:16]
        # The record is another one, too: only what is asked for is looked at here.
        with pytest.raises(PasswordWanted):
            assert world.open().answer
        assert world.stretched == [0, 1]

    def test_unknown_daemons_of_one_realm_wait_for_it_together(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.thread = Deferred()
        asked = [world.open(TcpAddress(host=f"db{n}", port=1)) for n in range(5)]
        assert (len(world.connections), world.stretched) == (5, [1])
        world.thread.callback(None)
        assert all(each.done for each in asked)
        assert (len(world.connections), world.stretched) == (5, [1])

    def test_a_daemon_that_would_wait_for_other_realms_is_come_back_to(
        self, tmp_path: Path
    ) -> None:
        world = World(tmp_path, SECRET)
        world.thread = Deferred()
        asked = []
        for number in range(3):
            world.realm = bytes([number]) * 16
            asked.append(world.open(TcpAddress(host=f"db{number}", port=1)))
        assert world.stretched == [1, 2]
        world.failure = Unreachable("gone")  # whoever connects from here on
        world.thread.callback(None)
        assert world.stretched == [1, 2, 3]
        with pytest.raises(Unreachable):
            assert asked[2].answer
        assert [host for host, _ in world.connections] == ["db0:1", "db1:1", "db2:1"]
        assert len(world.ways) == 3 + 1

    def test_so_many_log_in_at_once(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.wait = Deferred()
        number = LIMITS.logins_at_once + 3
        asked = [world.open(TcpAddress(host=f"db{n}", port=1)) for n in range(number)]
        assert len(world.connections) == LIMITS.logins_at_once
        waiting, world.wait = world.wait, None
        waiting.callback(None)
        assert all(isinstance(each.answer, Session) for each in asked)
        assert (len(world.connections), len(world.stretched)) == (number, 1)

    def test_known_ones_at_once(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        assert world.open().done
        for number in range(5):
            world.access._asked[f"db{number}:1"] = (KDF, REALM)
        world.wait = Deferred()
        asked = [world.open(TcpAddress(host=f"db{n}", port=1)) for n in range(5)]
        assert len(world.connections) == 6
        world.wait.callback(None)
        assert all(each.done for each in asked)


class TestFailures:
    def test_a_wrong_password_is_asked_for_again(self, tmp_path: Path) -> None:
        world = World(tmp_path, "wrong", "also wrong", SECRET)
        assert isinstance(world.open().answer, Session)
        assert world.asked == [
            "db1:9001: password of alice: ",
            "db1:9001: wrong password, or somebody in between; password of alice: ",
            "db1:9001: wrong password, or somebody in between; password of alice: ",
        ]

    def test_three_in_a_row_are_enough(self, tmp_path: Path) -> None:
        world = World(tmp_path, "1", "2", "3", SECRET)
        for _ in range(3):
            with pytest.raises(Denied, match=r"^db1:9001: the last 3 logins have failed: wrong"):
                assert world.open().answer
        assert len(world.servers) == 3
        assert world.open(TcpAddress(host="db2", port=9001)).done, "others are not touched by it"

    def test_who_opens_it_again_can_try_again(self, tmp_path: Path) -> None:
        world = World(tmp_path, "1", "2", "3", SECRET)
        world.open()
        world.access.begin_anew(THERE)
        assert isinstance(world.open().answer, Session)

    def test_success_ends_the_row(self, tmp_path: Path) -> None:
        world = World(tmp_path, "1", "2", SECRET)
        assert world.open().done
        world.second_answer = pack([b"\x00"])
        world.typed = ["x", "y"]
        world.open()
        assert len(world.servers) == 6

    def test_a_password_that_was_given_is_tried_once_each_time(self, tmp_path: Path) -> None:
        world = World(tmp_path, given=b"wrong")
        for _ in range(3):
            with pytest.raises(WrongPassword):
                assert world.open().answer
        with pytest.raises(Denied, match="no more are tried"):
            assert world.open().answer
        assert len(world.servers) == 3

    def test_an_impostor_gets_one_guess(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.second_answer = pack([ADMITTED, b"m" * 32])
        with pytest.raises(Impostor):
            assert world.open().answer
        with pytest.raises(Denied, match="no more are tried"):
            assert world.open().answer
        assert len(world.servers) == len(world.asked) == 1
        assert not Path(world.pins.path).exists()

    def test_a_proof_without_a_verdict_counts(self, tmp_path: Path) -> None:
        """Whoever has it has made a guess, and need not tell whether it was right."""
        world = World(tmp_path, SECRET)
        world.lost_after = 2
        self.fails_three_times(world)
        assert [len(server.frames) for server in world.servers] == [2, 2, 2]

    def test_work_for_nothing_counts(self, tmp_path: Path) -> None:
        """Whoever hangs up while we stretch a password could have us do so for ever."""
        world = World(tmp_path, SECRET)
        world.hangs_up = True
        self.fails_three_times(world)

    def fails_three_times(self, world: World) -> None:
        for _ in range(3):
            with pytest.raises(Unreachable):
                assert world.open().answer
        with pytest.raises(Denied, match="no more are tried"):
            assert world.open().answer
        assert len(world.asked) == 1

    def test_who_is_gone_before_any_answer_has_not_failed_us(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.lost_after = 1
        for _ in range(4):
            with pytest.raises(Unreachable):
                assert world.open().answer

    def test_who_is_interrupted_has_not_failed(self, tmp_path: Path) -> None:
        world = World(tmp_path, SECRET)
        world.verdict = Deferred()
        for _ in range(3):
            opening = Deferred.fromCoroutine(world.access.connect(THERE))
            opening.addErrback(lambda failure: failure.trap(CancelledError))
            opening.cancel()
            world.verdict = Deferred()
        world.verdict = None
        assert isinstance(world.open().answer, Session)

    @pytest.mark.parametrize("error", [TooManyFailures("wait"), Unreachable("gone"), Denied("no")])
    def test_other_errors_are_told_and_nobody_is_asked_again(
        self, tmp_path: Path, error: Exception
    ) -> None:
        world = World(tmp_path, SECRET)
        world.failure = error
        for _ in range(4):
            with pytest.raises(type(error)):
                assert world.open().answer
        assert len(world.asked) == 1
        world.failure = None
        assert isinstance(world.open().answer, Session)


def test_no_secret_shows(tmp_path: Path) -> None:
    world = World(tmp_path, "canary-canary")
    world.open()
    assert world.passwords._latest is not None
    shown = [repr(vars(world.access)), repr(vars(world.passwords)), *map(repr, world.ways)]
    assert not [text for text in shown if "canary" in text]
    assert "canary" not in repr(Password("alice", b"canary"))
