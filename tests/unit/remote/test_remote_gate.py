from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_ends import Transport, encode, log_lines
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.remote.admission import AdmissionCounter
from supervisortw.remote.frames import pack
from supervisortw.remote.gate import ServerGate, ServerGates
from supervisortw.remote.peers import Peer

HELLO = pack([b"PEER1"])
YES, NO, FULL = (pack([answer]) for answer in (b"\x01", b"\x00", b"\x04"))
ROOT = Peer(pid=1, uid=0, gid=0)
OWN_UID = 1000
LOST = Failure(ConnectionDone())


class Recorded(Protocol):
    """Stands for a broker: tells what it got."""

    def __init__(self, root, who) -> None:
        self.root, self.who = root, who
        self.got = b""
        self.lost = 0

    def dataReceived(self, data) -> None:
        self.got += data

    def connectionLost(self, reason=None) -> None:
        self.lost += 1


class Daemon:
    """A listener: gates that share a counter, and a login that the test decides."""

    def __init__(self, login=None, limits=LIMITS, peer=ROOT) -> None:
        self.clock = Clock()
        self.logins: list[Deferred] = []
        self.brokers: list[Recorded] = []
        self.logouts = 0
        self.limits = limits
        self.peer = peer
        self.admission = AdmissionCounter(frozenset({0, OWN_UID}), limits)
        self.login = login or self.admit
        self.gates = ServerGates(self.gate)

    def gate(self) -> ServerGate:
        return ServerGate(
            clock=self.clock,
            login=self.login,
            broker=self.broker,
            admission=self.admission,
            peer_of=lambda transport: self.peer,
            limits=self.limits,
        )

    def broker(self, root, who):
        self.brokers.append(Recorded(root, who))
        return self.brokers[-1]

    def logout(self) -> None:
        self.logouts += 1

    def admit(self, peer):
        return succeed((f"avatar of {peer.uid}", self.logout))

    def decide_later(self, peer):
        self.logins.append(Deferred())
        return self.logins[-1]

    def connect(self) -> ServerGate:
        gate = self.gates.buildProtocol(None)
        gate.makeConnection(Transport())
        return gate

    def idle(self) -> bool:
        return not (
            self.admission.waiting or self.admission.sessions or self.clock.getDelayedCalls()
        )


def lose(gate) -> None:
    gate.connectionLost(LOST)


def test_a_peer_is_let_in_and_its_connection_handed_over() -> None:
    daemon = Daemon()
    gate = daemon.connect()
    assert daemon.admission.waiting == 1
    gate.dataReceived(HELLO)
    assert gate.transport.value() == YES
    assert gate.transport.producerState == "producing"
    [broker] = daemon.brokers
    assert (broker.root, broker.who) == ("avatar of 0", "uid 0 (pid 1)")
    assert broker.transport is gate.transport
    assert (daemon.admission.waiting, daemon.admission.sessions) == (0, 1)
    assert not daemon.clock.getDelayedCalls()
    gate.dataReceived(b"banana")
    assert broker.got == b"banana"
    lose(gate)
    assert (broker.lost, daemon.logouts) == (1, 1)
    assert daemon.idle()


def test_byte_by_byte() -> None:
    daemon = Daemon()
    gate = daemon.connect()
    for byte in HELLO:
        assert not daemon.brokers
        gate.dataReceived(bytes([byte]))
    assert gate.transport.value() == YES


@pytest.mark.parametrize(
    "data",
    [
        b"\x02\x82pb" + encode([b"version", 6]) * 100,  # banana
        b"\xff\xff",  # 64 KiB are announced
        b"\x04\x01",
        b"\x00\x00",
        bytes(1000),
        b"GET / HTTP/1.1\r\n\r\n" + b"x" * 20_000,
        pack([b"PEER2"]),
        pack([b"SVTW1", b"user", b"A" * 383]),
        pack([b"peer1"]),
        pack([b"PEER1", b""]),
        pack([b"", b"PEER1"]),
        b"\x00\x08" + HELLO[2:] + b"\x00",
        b"\x00\x06" + HELLO[2:],
        HELLO + HELLO,
        HELLO + b"x" * 1025,
    ],
)
def test_what_is_not_the_first_message_ends_the_connection_without_an_answer(data) -> None:
    daemon = Daemon()
    gate = daemon.connect()
    with log_lines(LogLevel.debug) as lines:
        gate.dataReceived(data)
        gate.dataReceived(HELLO)
    assert gate.transport.aborted == 1
    assert gate.transport.value() == b""
    assert not daemon.brokers
    assert len(lines) == 1
    assert lines[0].isprintable()
    with log_lines(LogLevel.info) as lines:
        lose(gate)
    assert not lines
    assert daemon.idle()


def test_a_banana_greeting_alone_is_an_unfinished_frame_that_time_ends() -> None:
    daemon = Daemon()
    gate = daemon.connect()
    gate.dataReceived(b"\x02\x82pb")
    assert not gate.transport.aborted
    daemon.clock.advance(LIMITS.gate_seconds)
    assert gate.transport.aborted == 1
    lose(gate)
    assert daemon.idle()


@pytest.mark.parametrize("sent", [b"", b"\x00", HELLO[:-1]])
def test_silence_ends_the_connection(sent) -> None:
    daemon = Daemon()
    gate = daemon.connect()
    for byte in sent:
        daemon.clock.advance(0.5)
        gate.dataReceived(bytes([byte]))
    daemon.clock.advance(LIMITS.gate_seconds - len(sent) / 2 - 0.1)
    assert not gate.transport.aborted
    daemon.clock.advance(0.1)
    assert gate.transport.aborted == 1
    gate.dataReceived(HELLO)
    assert not daemon.brokers
    lose(gate)
    assert daemon.idle()


def test_a_login_that_takes_too_long_ends_the_connection() -> None:
    daemon = Daemon()
    daemon.login = daemon.decide_later
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    assert gate.transport.producerState == "paused"
    daemon.clock.advance(LIMITS.gate_seconds)
    assert gate.transport.aborted == 1
    lose(gate)
    assert daemon.idle()


def test_whoever_leaves_early_leaves_nothing_behind() -> None:
    daemon = Daemon()
    daemon.login = daemon.decide_later
    for sent in (b"", HELLO[:4], HELLO):
        gate = daemon.connect()
        gate.dataReceived(sent)
        lose(gate)
        assert daemon.idle()
    assert daemon.logins[0].called  # cancelled
    assert not daemon.brokers


def test_a_login_that_ends_after_its_connection_is_logged_out() -> None:
    stubborn: Deferred = Deferred(lambda deferred: deferred.callback(("avatar", daemon.logout)))
    daemon = Daemon(login=lambda peer: stubborn)
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    lose(gate)
    assert daemon.logouts == 1
    assert not daemon.brokers
    assert daemon.idle()


@pytest.mark.parametrize("peer", [None, Peer(pid=1, uid=65534, gid=65534)])
def test_a_peer_that_nobody_vouches_for_gets_no_answer(peer) -> None:
    daemon = Daemon(peer=peer)
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    assert gate.transport.aborted == 1
    assert gate.transport.value() == b""


def refuse(peer):
    raise UnauthorizedLogin


async def refuse_later(peer):
    raise UnauthorizedLogin


@pytest.mark.parametrize("login", [refuse, refuse_later])
def test_a_peer_that_may_not_come_in_is_told_so(login) -> None:
    daemon = Daemon(login=login)
    gate = daemon.connect()
    with log_lines(LogLevel.info) as lines:
        gate.dataReceived(HELLO)
    assert gate.transport.value() == NO
    assert gate.transport.disconnecting
    assert not gate.transport.aborted
    assert daemon.admission.waiting == 1
    gate.dataReceived(b"more")
    daemon.clock.advance(LIMITS.gate_seconds)  # it does not take the answer
    assert gate.transport.aborted == 1
    lose(gate)
    assert daemon.idle()
    assert len(lines) == 1
    assert lines[0].endswith("refused: not authorized (told once for each user)")


def test_who_is_refused_again_and_again_cannot_fill_the_log() -> None:
    daemon = Daemon(login=refuse)
    with log_lines(LogLevel.info) as lines:
        for _ in range(5):
            gate = daemon.connect()
            gate.dataReceived(HELLO)
            lose(gate)
    assert len(lines) == 1
    told = [daemon.admission.first_refusal_of(f"uid {uid}") for uid in range(10_000)]
    assert sum(told) < LIMITS.refusals_told


def test_a_login_that_breaks_is_logged_and_gets_no_answer() -> None:
    def broken(peer):
        raise KeyError("secret")

    daemon = Daemon(login=broken)
    gate = daemon.connect()
    with log_lines(LogLevel.info) as lines:
        gate.dataReceived(HELLO)
    assert gate.transport.value() == b""
    assert gate.transport.aborted == 1
    assert len(lines) == 1


def test_a_broker_that_cannot_be_made_ends_the_connection() -> None:
    daemon = Daemon()
    daemon.broker = lambda root, who: 1 / 0
    gate = daemon.connect()
    with log_lines(LogLevel.info) as lines:
        gate.dataReceived(HELLO)
    assert gate.transport.aborted == 1
    assert len(lines) == 1
    lose(gate)
    assert daemon.logouts == 1
    assert daemon.idle()


def test_glued_bytes_reach_the_broker_only_after_success() -> None:
    daemon = Daemon()
    daemon.login = daemon.decide_later
    gate = daemon.connect()
    gate.dataReceived(HELLO + b"\x02\x82")
    gate.dataReceived(b"pb")
    assert not daemon.brokers
    daemon.logins[0].callback(("avatar", daemon.logout))
    assert daemon.brokers[0].got == b"\x02\x82pb"

    refused = daemon.connect()
    refused.dataReceived(HELLO + b"\x02\x82pb")
    daemon.logins[1].errback(UnauthorizedLogin())
    refused.dataReceived(b"more")
    assert len(daemon.brokers) == 1
    assert refused.transport.value() == NO


@pytest.mark.parametrize("more", [HELLO, b"x" * 1025])
def test_more_while_the_login_is_decided_ends_the_connection(more) -> None:
    daemon = Daemon()
    daemon.login = daemon.decide_later
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    gate.dataReceived(more[:4])
    assert not gate.transport.aborted
    gate.dataReceived(more[4:])
    assert gate.transport.aborted == 1
    assert gate.transport.value() == b""
    lose(gate)
    assert daemon.logins[0].called
    assert daemon.idle()


def test_only_so_many_of_one_user_wait_before_their_login() -> None:
    daemon = Daemon()
    waiting = [daemon.connect() for _ in range(LIMITS.unix_connections_before_login)]
    newest = daemon.connect()
    assert newest.transport.aborted == 1
    newest.dataReceived(HELLO)
    assert not daemon.brokers
    lose(newest)
    assert not any(gate.transport.aborted for gate in waiting)
    waiting[0].dataReceived(HELLO)  # a session does not wait any more
    assert not daemon.connect().transport.aborted
    lose(waiting[1])
    assert not daemon.connect().transport.aborted
    assert daemon.connect().transport.aborted


def wait_in_silence(daemon, *uids) -> int:
    """Let each of ``uids`` connect as often as it may, and once more; return how many wait."""
    for uid in uids:
        daemon.peer = Peer(pid=5, uid=uid, gid=5)
        while not daemon.connect().transport.aborted:
            pass
    return daemon.admission.waiting


def comes_in(daemon, uid) -> bool:
    daemon.peer = Peer(pid=6, uid=uid, gid=6)
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    return gate.transport.value() == YES


def test_silent_connections_of_one_user_keep_nobody_else_out() -> None:
    daemon = Daemon()
    assert wait_in_silence(daemon, 7) == LIMITS.unix_connections_before_login
    assert not comes_in(daemon, 7)
    assert comes_in(daemon, 8)
    assert comes_in(daemon, ROOT.uid)


def test_many_users_together_keep_neither_root_nor_the_daemons_own_user_out() -> None:
    daemon = Daemon()
    assert wait_in_silence(daemon, *range(1, 50)) == LIMITS.strangers_before_login
    assert not comes_in(daemon, 60)
    assert comes_in(daemon, ROOT.uid)
    assert comes_in(daemon, OWN_UID)


def test_root_cannot_keep_the_daemons_own_user_out_nor_that_one_root() -> None:
    daemon = Daemon()
    wait_in_silence(daemon, *range(1, 50), ROOT.uid)
    assert comes_in(daemon, OWN_UID)
    daemon = Daemon()
    wait_in_silence(daemon, *range(1, 50), OWN_UID)
    assert comes_in(daemon, ROOT.uid)


def test_peers_that_nobody_vouches_for_share_one_part_of_the_room() -> None:
    daemon = Daemon(peer=None)
    waiting = [daemon.connect() for _ in range(LIMITS.unix_connections_before_login)]
    daemon.peer = Peer(pid=1, uid=65534, gid=65534)
    assert daemon.connect().transport.aborted
    assert not any(gate.transport.aborted for gate in waiting)
    assert comes_in(daemon, 7)


@pytest.mark.parametrize(
    ("room", "users"), [(LIMITS.sessions_per_user, [7]), (LIMITS.sessions, range(1, 100))]
)
def test_only_so_many_sessions(room, users) -> None:
    daemon = Daemon()

    def connect(number: int) -> ServerGate:
        daemon.peer = Peer(pid=5, uid=list(users)[number % len(users)], gid=0)
        gate = daemon.connect()
        gate.dataReceived(HELLO)
        return gate

    with log_lines() as lines:
        inside = [connect(number) for number in range(room)]
        assert {gate.transport.value() for gate in inside} == {YES}
        for number in range(3):
            refused = connect(number)
            assert refused.transport.value() == FULL
            assert refused.transport.disconnecting
            lose(refused)
    assert len(lines) == 1
    assert "too many sessions" in lines[0]
    assert daemon.logouts == 3
    assert len(daemon.brokers) == room
    lose(inside[0])
    assert connect(0).transport.value() == YES


@pytest.mark.parametrize("owner", [ROOT.uid, OWN_UID])
def test_a_full_house_has_room_for_its_owners(owner) -> None:
    daemon = Daemon()

    def connect(uid: int) -> ServerGate:
        daemon.peer = Peer(pid=5, uid=uid, gid=0)
        gate = daemon.connect()
        gate.dataReceived(HELLO)
        return gate

    inside = [connect(2001 + number % 4) for number in range(LIMITS.sessions)]
    assert {gate.transport.value() for gate in inside} == {YES}
    assert connect(2000).transport.value() == FULL
    ours = [connect(owner) for _ in range(LIMITS.sessions_per_user)]
    assert {gate.transport.value() for gate in ours} == {YES}
    assert connect(owner).transport.value() == FULL, "their room has its bound, too"
    lose(ours[0])
    assert connect(owner).transport.value() == YES
    assert connect(2000).transport.value() == FULL
    lose(inside[0])
    assert connect(2000).transport.value() == YES


def test_owners_take_no_room_from_others() -> None:
    daemon = Daemon(limits=replace(LIMITS, sessions=2))
    assert [comes_in(daemon, uid) for uid in (0, 0, OWN_UID, 7, 8, 9)] == [True] * 5 + [False]


def test_somebody_else_still_gets_in() -> None:
    daemon = Daemon(peer=Peer(pid=5, uid=7, gid=7))
    for _ in range(LIMITS.sessions_per_user + 1):
        daemon.connect().dataReceived(HELLO)
    daemon.peer = ROOT
    gate = daemon.connect()
    gate.dataReceived(HELLO)
    assert gate.transport.value() == YES


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.booleans())
def test_any_bytes_are_answered_or_not_but_never_raise(chunks, hello) -> None:
    daemon = Daemon()
    gate = daemon.connect()
    for chunk in [HELLO[:3], HELLO[3:], *chunks] if hello else chunks:
        gate.dataReceived(chunk)
    daemon.clock.advance(LIMITS.gate_seconds)
    lose(gate)
    assert daemon.idle()


def test_a_transport_without_a_handle_is_nobody() -> None:
    gate = ServerGate(
        clock=Clock(), login=refuse, broker=SimpleNamespace, admission=AdmissionCounter(frozenset())
    )
    gate.makeConnection(Transport())
    gate.dataReceived(HELLO)
    assert gate.transport.aborted
