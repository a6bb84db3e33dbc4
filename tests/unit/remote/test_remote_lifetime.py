"""How long sessions last, and when those of users who have changed are closed."""

from dataclasses import replace

import pytest
from fakes.control import FakeControl
from fakes.passing import pass_time
from fakes.passwords import ALICE, FakeAccounts, PasswordClient, passwd_of, record
from remote_ends import encode, log_lines, message
from test_remote_gate_password import EXPORTED, Daemon
from twisted.internet.task import Clock

from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.remote.frames import pack
from supervisortw.remote.lifetime import Lifetime
from supervisortw.remote.peers import Peer

ROOT = Peer(pid=1, uid=0, gid=0)
BOB = record("bob", Role.OBSERVER)
HOUR = 3600.0


class Session:
    def __init__(self) -> None:
        self.clock = Clock()
        self.following = False
        self.ends: list[str] = []
        self.lifetime = Lifetime(self.clock, lambda: self.following, self.ends.append)


def test_an_idle_session_ends() -> None:
    session = Session()
    session.clock.advance(LIMITS.idle_seconds - 1)
    assert session.ends == []
    session.clock.advance(1)
    assert session.ends == ["idle for 60 minutes"]
    assert not session.clock.getDelayedCalls()


def test_a_session_that_is_used_is_not_idle_from_then_on() -> None:
    session = Session()
    session.clock.advance(LIMITS.idle_seconds - 1)
    session.lifetime.touch()
    session.clock.advance(LIMITS.idle_seconds - 1)
    assert session.ends == []
    session.clock.advance(1)
    assert session.ends == ["idle for 60 minutes"]


def test_who_follows_something_is_not_idle() -> None:
    session = Session()
    session.following = True
    for _ in range(5):
        session.clock.advance(HOUR)
    assert session.ends == []
    session.following = False
    session.clock.advance(HOUR)
    assert session.ends == ["idle for 60 minutes"]


def test_no_session_lasts_longer_than_a_day() -> None:
    session = Session()
    session.following = True
    for _ in range(24):
        assert session.ends == []
        session.clock.advance(HOUR)
    assert session.ends == ["open for 24 hours"]
    assert not session.clock.getDelayedCalls()


def test_a_session_that_is_over_waits_for_nothing() -> None:
    session = Session()
    session.lifetime.stop()
    session.lifetime.stop()
    assert not session.clock.getDelayedCalls()


@pytest.fixture
def daemon() -> Daemon:
    return Daemon(FakeAccounts(ALICE, BOB))


def logged_in(daemon, user="alice"):
    connection = daemon.tcp()
    connection.log_in(PasswordClient(user, binding=EXPORTED))
    connection.send(encode(b"pb") + encode([b"version", 6]))
    assert connection in live(connection)
    return connection


def live(*connections) -> list:
    return [connection for connection in connections if not connection.closed]


def call(connection, verb: bytes, *arguments: object, number: int = 1) -> None:
    assert connection.send(encode(message(verb, *arguments, request=number)))


def test_a_ping_is_no_use_of_a_session_and_a_call_is(daemon) -> None:
    pinging, calling = logged_in(daemon), logged_in(daemon)
    for number in range(1, 7):
        pass_time(daemon.clock, LIMITS.idle_seconds / 6 - 1)
        call(pinging, b"ping", number=number)
        call(calling, b"hello", number=number)
    with log_lines() as lines:
        pass_time(daemon.clock, 60)
    assert live(pinging, calling) == [calling]
    assert lines == [
        "the session of alice from 192.0.2.1:5000 is closed: idle for 60 minutes",
    ]
    pinging.lose()
    calling.lose()
    assert daemon.idle


def test_sessions_by_the_kernels_word_are_not_limited(daemon) -> None:
    connection = daemon.unix(ROOT)
    connection.send(pack([b"PEER1"]))
    assert not daemon.are_open
    pass_time(daemon.clock, LIMITS.session_seconds + 1)
    assert not connection.closed
    daemon.factory.revise(passwd_of())
    assert not connection.closed


def test_anonymous_sessions_end_as_well(daemon) -> None:
    connection = daemon.over(daemon.factory.anonymous())
    connection.send(pack([b"PEER1"]))
    daemon.factory.revise(passwd_of())
    assert not connection.closed
    daemon.clock.advance(LIMITS.idle_seconds)
    assert connection.closed


@pytest.mark.parametrize(
    "now",
    [
        passwd_of(BOB),
        passwd_of(replace(ALICE, locked=True), BOB),
        passwd_of(replace(ALICE, role=Role.OPERATOR), BOB),
        passwd_of(record("alice", password="new"), BOB),
    ],
)
def test_the_sessions_of_a_user_who_has_changed_are_closed_and_no_others(daemon, now) -> None:
    alice, again, bob = logged_in(daemon), logged_in(daemon), logged_in(daemon, "bob")
    assert daemon.are_open
    with log_lines() as lines:
        daemon.factory.revise(now)
    assert live(alice, again, bob) == [bob]
    assert len(lines) == 2
    alice.lose()
    again.lose()
    assert daemon.are_open
    bob.lose()
    assert not daemon.are_open


@pytest.mark.parametrize("now", [None, passwd_of(BOB, replace(ALICE, comment="on call"))])
def test_nothing_is_closed_if_nothing_is_known_to_have_changed(daemon, now) -> None:
    alice, bob = logged_in(daemon), logged_in(daemon, "bob")
    daemon.factory.revise(now)
    assert live(alice, bob) == [alice, bob]


def test_who_follows_a_log_keeps_the_session(daemon) -> None:
    daemon.control = FakeControl(daemon.clock, ["web"])
    connection = logged_in(daemon)
    call(connection, b"follow", [b"unicode", b"web"], 0, [b"unicode", b""], [b"remote", 1])
    pass_time(daemon.clock, 3 * LIMITS.idle_seconds)
    assert not connection.closed
    connection.send(encode(message(b"unfollow", 1, request=2)))
    pass_time(daemon.clock, LIMITS.idle_seconds)
    assert connection.closed
