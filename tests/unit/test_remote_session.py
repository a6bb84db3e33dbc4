"""The client's end of a connection: waiting, giving up, and answers that are none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.control import FakeControl
from fakes.logged import log_lines
from fakes.network import ADDRESS, Network
from fakes.passing import pass_time
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.test import iosim

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import TcpAddress
from supervisortw.errors import (
    BadRequest,
    Denied,
    PasswordWanted,
    Refused,
    RemoteError,
    SupervisorError,
    TimedOut,
    Unreachable,
)
from supervisortw.remote import connection, dialling, peers, wire
from supervisortw.remote.connection import Session, connect
from supervisortw.remote.dialling import trusted_uids
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.peers import Peer
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

PING, ANSWER = LIMITS.ping_seconds, LIMITS.answer_seconds
EMPTY = {"source": "/etc/x", "lines": [], "warnings": [], "outcomes": []}


def reply(plain: object) -> list[object]:
    """Return the reply with an answer, as a daemon makes it."""
    return wire.Pages().first(wire.pack(wire.answer(plain)))


class Broker:
    """Stands for a connection: what was asked, and answers when the test gives them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self.answers: list[Deferred[Any]] = []
        self.raises: Exception | None = None
        self.closed = False
        self.lost: list[Any] = []

    def remoteForName(self, name: str) -> Broker:
        assert name == "root"
        return self

    def notifyOnDisconnect(self, notify: Any) -> None:
        self.lost.append(notify)

    def callRemote(self, verb: str, *arguments: object) -> Deferred[Any]:
        if self.raises is not None:
            raise self.raises
        self.asked.append((verb, arguments))
        self.answers.append(Deferred())
        return self.answers[-1]

    def close(self) -> None:
        self.closed = True

    def lose(self) -> None:
        for notify in self.lost:
            notify()
        for answer in self.answers:
            if not answer.called:
                answer.errback(pb.PBConnectionLost("gone"))


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker()
        self.session = Session(ADDRESS, self.broker, self.clock)  # type: ignore[arg-type]

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.broker.asked]

    def pass_time(self, seconds: float) -> None:
        pass_time(self.clock, seconds)

    def idle(self) -> bool:
        return not self.clock.getDelayedCalls()


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestWaiting:
    def test_a_quick_answer_needs_no_ping(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("reload"))
        bench.pass_time(PING - 0.1)
        bench.broker.answers[0].callback(reply({"a": 1}))
        assert asked.answer == {"a": 1}
        assert bench.verbs() == ["reload"]
        assert bench.idle()

    def test_a_long_wait_goes_on_as_long_as_pings_are_answered(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        for number in range(1, 20):
            bench.pass_time(PING)
            assert bench.verbs() == ["stop", *["ping"] * number]
            bench.pass_time(ANSWER - 0.1)
            bench.broker.answers[number].callback(reply({}))
        assert not asked.done
        bench.broker.answers[0].callback(reply([]))
        assert asked.answer == []
        assert bench.idle()

    def test_without_an_answer_to_a_ping_it_gives_up(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        bench.pass_time(PING + ANSWER - 0.1)
        assert not asked.done
        bench.pass_time(0.1)
        with pytest.raises(TimedOut) as caught:
            assert asked.answer
        assert str(caught.value) == f"{ADDRESS}: the daemon does not answer"
        assert bench.idle()

    def test_answers_that_come_after_that_do_no_harm(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        bench.pass_time(PING + ANSWER)
        for answer in bench.broker.answers:
            answer.callback(reply([]))
        with pytest.raises(TimedOut):
            assert asked.answer
        assert bench.idle()

    def test_the_answer_may_come_while_a_ping_is_under_way(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        bench.pass_time(PING)
        bench.broker.answers[0].callback(reply([]))
        assert asked.answer == []
        assert bench.idle()
        with log_lines() as lines:
            bench.broker.answers.pop().callback(reply({}))
        assert bench.idle()
        assert lines == []

    def test_a_ping_that_fails_says_nothing(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        bench.pass_time(PING)
        bench.broker.answers[1].errback(RemoteError("no such verb"))
        bench.broker.answers[0].callback(reply([]))
        assert asked.answer == []
        assert bench.idle()

    def test_who_stops_waiting_is_not_told_of_a_silent_daemon(self, bench: Bench) -> None:
        waiting = Deferred.fromCoroutine(bench.session.call("stop", ["all"]))
        asked = Asked(waiting)
        waiting.cancel()
        with pytest.raises(CancelledError):
            assert asked.answer
        assert bench.idle()

    def test_every_page_is_waited_for(self, bench: Bench) -> None:
        pages = wire.Pages()
        first = pages.first(wire.pack(wire.answer(os.urandom(2 * LIMITS.page_bytes).hex())))
        asked = Asked(bench.session.call("status", []))
        bench.broker.answers[0].callback(first)
        number = 1
        while not asked.done:
            assert bench.broker.asked[number] == ("page", (first[1], number))
            bench.broker.answers[number].callback(pages.page(first[1], number))  # type: ignore[arg-type]
            number += 1
        assert number == first[0]
        assert len(asked.answer) == 4 * LIMITS.page_bytes
        assert bench.idle()


class TestLosing:
    def test_those_who_wait_learn_it(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("stop", ["all"]))
        bench.pass_time(PING)
        bench.broker.lose()
        with pytest.raises(Unreachable, match="the daemon has closed the connection"):
            assert asked.answer
        assert bench.idle()

    def test_those_who_ask_then_learn_it_too(self, bench: Bench) -> None:
        bench.broker.lose()
        assert bench.session.lost
        with pytest.raises(Unreachable, match=f"{ADDRESS}: the connection was lost"):
            assert Asked(bench.session.status([])).answer
        assert bench.idle()

    def test_a_dead_reference_is_the_same(self, bench: Bench) -> None:
        asked = Asked(bench.session.call("ping"))
        bench.broker.answers[0].errback(pb.DeadReferenceError("gone"))
        with pytest.raises(Unreachable):
            assert asked.answer

    def test_listeners_are_told_once(self, bench: Bench) -> None:
        told: list[int] = []
        bench.session.on_lost(lambda: told.append(1))
        bench.broker.lose()
        bench.broker.lose()
        assert told == [1]

    def test_not_after_it_was_closed_or_is_expected(self, bench: Bench) -> None:
        bench.session.on_lost(lambda: pytest.fail("told"))
        bench.session.expect_end()
        bench.broker.lose()
        bench.session.on_lost(lambda: pytest.fail("told"))
        bench.session.close()
        bench.broker.lose()
        assert bench.broker.closed

    def test_what_was_followed_is_not_given_back_to_nobody(self, bench: Bench) -> None:
        following = Asked(bench.session.follow("web", 0, lambda piece: None))
        bench.broker.answers[0].callback(reply(5))
        stop = following.answer
        stop()
        assert bench.broker.asked[-1] == ("unfollow", (5,))
        bench.broker.answers[-1].errback(pb.PBConnectionLost("gone"))
        bench.broker.lose()
        stop()
        assert bench.verbs() == ["follow", "unfollow"]


class TestRequests:
    @pytest.mark.parametrize(
        ("verb", "arguments", "answer"),
        [
            ("start", (["web"],), []),
            ("stop", (["web"],), []),
            ("restart", (["web"],), []),
            ("clear", (["web"],), []),
            ("signal", ("HUP", ["web"]), []),
            ("reload", (), EMPTY),
            ("reread", (), EMPTY),
            ("shutdown", (), []),
        ],
    )
    def test_each_is_one_call(
        self, bench: Bench, verb: str, arguments: tuple[object, ...], answer: object
    ) -> None:
        asked = Asked(getattr(bench.session, verb)(*arguments))
        assert bench.broker.asked == [(verb, arguments)]
        bench.broker.answers[0].callback(reply(answer))
        assert asked.done

    @pytest.mark.parametrize(
        "ask",
        [
            lambda session: session.start(["\udcff"]),
            lambda session: session.signal("HUP", ["\ud800"]),
            lambda session: session.tail("web", 2**63),
            lambda session: session.status(["x" * 200_000]),
        ],
    )
    def test_one_that_cannot_be_sent_is_an_error_that_people_can_read(self, ask: Any) -> None:
        network = Network(FakeControl(Clock(), ["web"]), Clock())
        session = network.log_in()
        asked = Asked(ask(session))
        network.pass_time()
        with pytest.raises(SupervisorError):
            assert asked.answer
        again = Asked(session.start([]))
        network.pass_time()
        assert again.answer == []


class TestAnswersThatAreNone:
    """What a daemon of another version, or something that is no daemon, may say."""

    @pytest.mark.parametrize(
        "told",
        [
            None,
            5,
            b"",
            b"\x00{}",
            [1, 0],
            [1, 0, ""],
            [1, 0, b"\x07x"],
            [1, 0, b"\x00{nonsense"],
            [0, 0, b"\x00{}"],
            [1, 0, b"\x00[]"],
            [1, 0, wire.pack({"error": 5})],
            [1, 0, wire.pack({"error": "strange", "message": "odd"})],
        ],
    )
    def test_no_reply(self, bench: Bench, told: object) -> None:
        asked = Asked(bench.session.call("status", []))
        bench.broker.answers[0].callback(told)
        with pytest.raises(RemoteError):
            assert asked.answer
        assert bench.idle()

    @pytest.mark.parametrize("plain", [None, 5, "web", [], ["web"], {}, {"programs": 5}])
    @pytest.mark.parametrize("verb", ["status", "reload", "start"])
    def test_no_record(self, bench: Bench, verb: str, plain: object) -> None:
        if verb == "start" and plain == []:
            return  # that is an answer
        arguments = () if verb == "reload" else ([],)
        asked = Asked(getattr(bench.session, verb)(*arguments))
        bench.broker.answers[0].callback(reply(plain))
        with pytest.raises(RemoteError):
            assert asked.answer

    def test_no_piece_of_a_log(self, bench: Bench) -> None:
        for told in (reply({}), [1, 0, b"\x02short"]):
            asked = Asked(bench.session.tail("web", 1))
            bench.broker.answers[-1].callback(told)
            with pytest.raises(RemoteError):
                assert asked.answer

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("bad request", BadRequest),
            ("refused", Refused),
            ("denied", Denied),
            ("internal", RemoteError),
        ],
    )
    def test_an_error_is_raised_as_what_it_is_and_names_the_daemon(
        self, bench: Bench, kind: str, error: type[Exception]
    ) -> None:
        """But for a refusal, which is an answer and is marked as one."""
        asked = Asked(bench.session.tail("web", 1))
        envelope = wire.failure(kind, "the reason")
        bench.broker.answers[0].callback(wire.Pages().first(wire.pack(envelope)))
        where = "" if error is Refused else "/run/test.sock: "
        with pytest.raises(error, match=rf"^{where}the reason$"):
            assert asked.answer


class Dialled:
    """A client that connects to a socket where ``control`` answers."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.control = FakeControl(self.reactor, ["web"])
        self.asked = Asked(connect(self.reactor, ADDRESS))
        path, self.client_factory, self.seconds, _ = self.reactor.unixClients[0]
        assert path == str(ADDRESS)
        self.handle, self.other = socket.socketpair()

    def answer(self) -> None:
        """Let the daemon answer."""
        factory = ControlFactory(control_portal(lambda who: self.control), self.reactor)
        gate: ServerGate = factory.unix().buildProtocol(None)
        gate._peer_of = lambda transport: Peer(pid=1, uid=0, gid=0)
        client = self.client_factory.buildProtocol(None)
        self.transport = iosim.makeFakeClient(client)
        self.transport.getHandle = lambda: self.handle
        self.pump = iosim.connect(
            gate, iosim.makeFakeServer(gate), client, self.transport, clock=self.reactor
        )
        self.pump.flush()

    def fail(self, error: ConnectError) -> str:
        self.client_factory.clientConnectionFailed(None, Failure(error))
        with pytest.raises((Unreachable, Denied)) as caught:
            assert self.asked.answer
        assert isinstance(caught.value, Denied) is (error.osError in (errno.EACCES, errno.EPERM))
        return str(caught.value)


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dialled]:
    monkeypatch.setattr(peers, "_asked", lambda handle: Peer(pid=7, uid=0, gid=0))
    dialled = Dialled()
    yield dialled
    dialled.handle.close()
    dialled.other.close()


class TestConnect:
    def test_a_session_that_knows_who_answers(self, dialled: Dialled) -> None:
        dialled.answer()
        session = dialled.asked.answer
        assert session.address == ADDRESS
        assert session.hello["pid"] == os.getpid()
        assert dialled.seconds == LIMITS.answer_seconds
        session.close()
        dialled.pump.flush()
        assert dialled.reactor.getDelayedCalls() == []

    def test_another_version_of_the_protocol_is_left(
        self, dialled: Dialled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisortw.remote.avatar.wire.PROTOCOL_VERSION", 99)
        monkeypatch.setattr(connection, "wire", _Wire(1))
        dialled.answer()
        with pytest.raises(BadRequest, match="speaks version 99 of the protocol"):
            assert dialled.asked.answer
        dialled.pump.flush()
        assert dialled.transport.disconnected

    @pytest.mark.parametrize("told", [[], 5, None, {}, {"protocol": wire.PROTOCOL_VERSION}])
    def test_a_hello_that_is_none_is_left(
        self, dialled: Dialled, told: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def hello(avatar: object) -> object:
            return told

        monkeypatch.setattr("supervisortw.remote.avatar.ControlAvatar.perspective_hello", hello)
        dialled.answer()
        with pytest.raises(RemoteError):
            assert dialled.asked.answer
        dialled.pump.flush()
        assert dialled.transport.disconnected

    def test_a_hello_that_fails_is_left(
        self, dialled: Dialled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def hello(avatar: object) -> object:
            raise Refused("not now")

        monkeypatch.setattr("supervisortw.remote.avatar.ControlAvatar.perspective_hello", hello)
        dialled.answer()
        with pytest.raises(Refused, match="not now"):
            assert dialled.asked.answer
        dialled.pump.flush()
        assert dialled.transport.disconnected

    def test_over_tcp_nobody_is_asked_without_a_login(self) -> None:
        reactor = MemoryReactorClock()
        address = TcpAddress(host="::1", port=9001)
        with pytest.raises(PasswordWanted, match=r"^\[::1\]:9001: .*-u NAME"):
            assert Asked(connect(reactor, address)).answer
        assert reactor.tcpClients == []

    def test_nobody_listens(self, dialled: Dialled, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os.path, "exists", lambda path: True)
        expected = f"{ADDRESS}: nobody listens there; supervisord is not running"
        assert dialled.fail(ConnectionRefusedError(osError=errno.ECONNREFUSED)) == expected

    def test_no_such_socket(self, dialled: Dialled) -> None:
        expected = f"{ADDRESS}: no such socket; is supervisord running?"
        assert dialled.fail(ConnectError(osError=errno.ENOENT)) == expected

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
    def test_no_permission_says_whose_it_is(
        self, dialled: Dialled, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialling, "_whose", lambda path: "that daemon belongs to root")
        expected = f"{ADDRESS}: that daemon belongs to root: use sudo"
        assert dialled.fail(ConnectError(osError=code)) == expected

    def test_whose_it_is(self, tmp_path: Any) -> None:
        me = dialling.user_name(os.geteuid())
        (tmp_path / "s").write_text("")
        assert dialling._whose(f"{tmp_path}/s") == f"that daemon belongs to {me}"
        assert dialling._whose(f"{tmp_path}/gone") == f"that daemon belongs to {me}"
        expected = "that daemon belongs to another user"
        assert dialling._whose(f"{tmp_path}/gone/gone") == expected


class _Wire:
    """The module, in another version."""

    def __init__(self, version: int) -> None:
        self.PROTOCOL_VERSION = version

    def __getattr__(self, name: str) -> Any:
        return getattr(wire, name)


class TestTrustedUids:
    def trusted(self, monkeypatch: pytest.MonkeyPatch, *, file: int, directory: int) -> Any:
        class Found:
            def __init__(self, uid: int) -> None:
                self.st_uid = uid

        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(os, "lstat", lambda path: Found(file))
        monkeypatch.setattr(os, "stat", lambda path: Found(directory))
        return trusted_uids("/run/x/s")

    def test_root_and_ourselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.trusted(monkeypatch, file=0, directory=0) == {0, 1000}

    def test_the_owner_of_the_socket_and_of_its_directory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.trusted(monkeypatch, file=2000, directory=2000) == {0, 1000, 2000}

    @pytest.mark.parametrize(("file", "directory"), [(2000, 0), (0, 2000), (2000, 3000)])
    def test_not_a_socket_in_the_directory_of_somebody_else(
        self, file: int, directory: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.trusted(monkeypatch, file=file, directory=directory) == {0, 1000}

    def test_a_socket_that_is_not_there(self) -> None:
        assert trusted_uids("/no/such/directory/s") == {0, os.geteuid()}
