"""Logins by password at the gate: the messages, their order, and what a hostile client may try."""

import gc
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from fakes.control import FakeControl
from fakes.passwords import ALICE, PASSWORD, FakeAccounts, PasswordClient
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_ends import Transport, encode, log_lines
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from supervisortw.auth.password import Challenge, SrpProof
from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import GROUP, UNBOUND, UNIX, Binding, Proofs
from supervisortw.remote.channel import Channel
from supervisortw.remote.frames import FrameReader, fields, pack
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.passwords import PasswordLogin
from supervisortw.remote.peers import Peer
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

NO, WANTED, FULL = (pack([answer]) for answer in (b"\x00", b"\x03", b"\x04"))
GREETING = b"\x01\x80\x02\x82pb"  # of the broker, which is the first that it sends
HERE, THERE = "192.0.2.1", "192.0.2.2"
SOMEBODY = Peer(pid=7, uid=1001, gid=1001)
EXPORTED = Binding(kind="tls-exporter", data=bytes(32), certificate=bytes(32))
N = GROUP.prime


class Connection:
    """One connection to a daemon."""

    def __init__(self, gate: ServerGate, address) -> None:
        self.gate = gate
        self.transport = Transport()
        self.transport.peerAddr = address
        gate.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send bytes and return what is answered."""
        self.transport.clear()
        self.gate.dataReceived(data)
        return self.transport.value()

    def log_in(self, client: PasswordClient) -> bytes:
        """Return S2 and what is behind it, or the answer to C1 if there is no S1."""
        second = self.send(client.hello())
        if len(second) < 100:
            return second
        return self.send(client.proof(second))

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.aborted)

    @property
    def is_silent(self) -> bool:
        """True if the connection ends without an answer."""
        return self.transport.aborted == 1 and self.transport.value() == b""

    def lose(self) -> None:
        self.gate.connectionLost(Failure(ConnectionDone()))


class Daemon:
    def __init__(self, accounts=None, limits=LIMITS) -> None:
        self.clock = Clock()
        self.accounts = accounts or FakeAccounts()
        self.control = FakeControl(self.clock)
        self.names: list[str] = []
        portal = control_portal(self.control_of, accounts=self.accounts)
        self.are_open: bool | None = None
        self.factory = ControlFactory(
            portal, self.clock, self.accounts, limits=limits, sessions_open=self.sessions_open
        )

    def sessions_open(self, are_open: bool) -> None:
        self.are_open = are_open

    def control_of(self, name: str) -> FakeControl:
        self.names.append(name)
        return self.control

    def unix(self, peer=SOMEBODY) -> Connection:
        gate = self.factory.unix().buildProtocol(None)
        gate._peer_of = lambda transport: peer
        return Connection(gate, None)

    def tcp(self, host=HERE, binding=EXPORTED, port=5000) -> Connection:
        channel = Channel(over_tcp=True, binding_of=lambda transport: binding)
        return self.over(self.factory._through(channel), host, port)

    def over(self, factory, host=HERE, port=5000) -> Connection:
        kind = IPv6Address if ":" in host else IPv4Address
        return Connection(factory.buildProtocol(None), kind("TCP", host, port))

    def guess(self, host=HERE, user="alice") -> bytes:
        """Log in with a wrong password, and be gone."""
        connection = self.tcp(host)
        answer = connection.log_in(PasswordClient(user, "wrong", binding=EXPORTED))
        self.clock.advance(LIMITS.login_delay_seconds_most)
        answer = answer or connection.transport.value()
        connection.lose()
        return answer

    @property
    def idle(self) -> bool:
        admission = self.factory._admission
        waits = [call for call in self.clock.getDelayedCalls() if not tells(call)]
        return not (admission.waiting or admission.sessions or self.factory._sessions or waits)


def tells(call) -> bool:
    return "_tell_number" in repr(call.func)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def is_in(answer: bytes, client: PasswordClient) -> bool:
    return answer.startswith(client.admitted()) and answer.endswith(GREETING)


class TestIn:
    def test_over_tls(self, daemon) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        with log_lines() as lines:
            assert is_in(connection.log_in(client), client)
        assert lines == ["alice from 192.0.2.1:5000 logged in"]
        assert daemon.names == ["alice"]
        assert connection.transport.producerState == "producing"
        assert daemon.are_open
        connection.lose()
        assert daemon.idle
        assert not daemon.are_open

    @pytest.mark.parametrize("peer", [SOMEBODY, None, Peer(pid=1, uid=65534, gid=0)])
    def test_over_a_unix_socket_whoever_the_peer_is(self, daemon, peer) -> None:
        client = PasswordClient()
        assert is_in(daemon.unix(peer).log_in(client), client)

    def test_over_plain_tcp(self, daemon) -> None:
        client = PasswordClient(binding=UNBOUND)
        assert is_in(daemon.over(daemon.factory.plain()).log_in(client), client)

    def test_through_tls_with_the_binding_of_that_module(self, daemon, monkeypatch) -> None:
        asked = []

        def server_binding(transport, certificate):
            asked.append((transport, certificate))
            return EXPORTED

        tls = ModuleType("supervisortw.remote.tls")
        tls.server_binding = server_binding
        monkeypatch.setitem(sys.modules, tls.__name__, tls)
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.over(daemon.factory.tls(b"hash"))
        assert is_in(connection.log_in(client), client)
        assert asked == [(connection.transport, b"hash")]

    def test_byte_by_byte(self, daemon) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        for byte in client.hello():
            connection.gate.dataReceived(bytes([byte]))
        proof = client.proof(connection.transport.value())
        connection.transport.clear()
        for byte in proof:
            connection.gate.dataReceived(bytes([byte]))
        assert is_in(connection.transport.value(), client)

    def test_what_is_behind_the_proof_is_for_the_broker(self, daemon) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        second = connection.send(client.hello())
        glued = encode(b"pb") + encode([b"version", 6])
        answer = connection.send(client.proof(second) + glued)
        assert answer.startswith(client.admitted())
        assert not connection.closed
        [broker] = daemon.factory._sessions
        assert broker.currentDialect == b"pb"

    def test_an_anonymous_listener_lets_everybody_in(self, daemon) -> None:
        connection = daemon.over(daemon.factory.anonymous(), "::1")
        with log_lines() as lines:
            answer = connection.send(pack([b"PEER1"]))
        assert answer == pack([b"\x01"]) + GREETING
        assert daemon.names == ["anonymous"]
        assert lines == ["anonymous from [::1]:5000 logged in"]
        password = daemon.over(daemon.factory.anonymous())
        assert password.send(PasswordClient().hello()) == NO
        assert password.closed


@pytest.mark.parametrize(
    ("user", "password"),
    [("alice", "guessed"), ("nobody", PASSWORD), ("locked", PASSWORD), ("locked", "guessed")],
)
def test_whoever_is_refused_sees_the_same(daemon, user, password) -> None:
    right = PasswordClient(binding=EXPORTED)
    daemon.tcp(THERE).log_in(right)
    client = PasswordClient(user, password, binding=EXPORTED)
    connection = daemon.tcp()
    with log_lines() as lines:
        assert connection.log_in(client) == NO
    assert [len(part) for part in client.told] == [len(part) for part in right.told]
    assert client.told[:3] == right.told[:3]
    assert connection.transport.disconnecting
    assert connection.transport.producerState == "producing"  # for what TLS has to say at the end
    assert len(lines) == 1
    assert lines[0].startswith(f"{user} from 192.0.2.1:5000 refused: ")
    for secret in (password, client.proofs.client.hex(), client.proofs.server.hex()):
        assert secret not in lines[0]
    assert connection.send(pack([client.proofs.client])) == b""
    connection.lose()


def test_nobody_gets_in_without_a_usable_file(daemon) -> None:
    daemon.accounts.now = None
    assert daemon.tcp().send(PasswordClient().hello()) == NO
    assert daemon.unix().send(PasswordClient().hello()) == NO


def test_a_file_that_turns_bad_meanwhile_is_no_way_in(daemon) -> None:
    client = PasswordClient(binding=EXPORTED)
    connection = daemon.tcp()
    second = connection.send(client.hello())
    daemon.accounts.now = None
    assert connection.send(client.proof(second)) == NO


class TestWantsPassword:
    def test_over_tcp_the_kernels_word_is_never_enough(self, daemon) -> None:
        for factory in (daemon.factory.plain(), None):
            connection = daemon.over(factory) if factory else daemon.tcp()
            assert connection.send(pack([b"PEER1"])) == WANTED
            assert connection.closed
        assert daemon.names == []

    def test_where_the_daemon_is_told_so(self, daemon) -> None:
        root = Peer(pid=1, uid=0, gid=0)
        assert daemon.unix(root).send(pack([b"PEER1"])).startswith(pack([b"\x01"]))
        daemon.factory.peer_login = False
        connection = daemon.unix(root)
        assert connection.send(pack([b"PEER1"])) == WANTED
        assert connection.closed

    @pytest.mark.parametrize("accounts", [None, FakeAccounts(replace(ALICE, locked=True)).now])
    def test_unless_nobody_could_get_in_then(self, daemon, accounts) -> None:
        daemon.factory.peer_login = False
        daemon.accounts.now = accounts
        root, other = Peer(pid=1, uid=0, gid=0), SOMEBODY
        assert daemon.unix(root).send(pack([b"PEER1"])).startswith(pack([b"\x01"]))
        assert daemon.unix(other).send(pack([b"PEER1"])) == NO


A = GROUP.packed(GROUP.client_public(12345, pow))


class TestHostile:
    @pytest.mark.parametrize(
        "public",
        [
            *(GROUP.packed(number) for number in (0, 1, N - 1, N, N + 1)),
            (2 * N).to_bytes(385, "big"),
            *(b"", A[1:], A + b"\0", b"\xff" * 384, b"\xff" * 500),
        ],
    )
    def test_public_values_that_no_client_sends(self, daemon, public) -> None:
        connection = daemon.tcp()
        connection.send(pack([b"SVTW1", b"alice", public]))
        assert connection.is_silent
        assert daemon.accounts.asked == 0

    @pytest.mark.parametrize(
        "user",
        [
            *(b"", b"x" * 65, b"al\0ice", "älice".encode(), b"../alice", b"alice\n", b"\xff"),
            b"alice bob",
        ],
    )
    def test_names_that_are_none(self, daemon, user) -> None:
        connection = daemon.tcp()
        connection.send(pack([b"SVTW1", user, A]))
        assert connection.is_silent

    @pytest.mark.parametrize(
        "first",
        [
            b"\xff\xff",
            b"\x00\x00",
            b"\x04\x01",
            pack([b"SVTW1"]),
            pack([b"SVTW1", b"alice"]),
            pack([b"SVTW1", b"alice", A, b""]),
            pack([b"SVTW2", b"alice", A]),
            pack([b"svtw1", b"alice", A]),
            b"\x01\x91" + pack([b"SVTW1", b"alice", A])[2:-1] + b"\0\0\0",
            pack([b"SVTW1", b"alice", A]) + b"\0",
            pack([b"SVTW1", b"alice", A]) * 2,
            pack([b"SVTW1", b"alice", A]) + pack([bytes(32)]),
        ],
    )
    def test_first_messages_of_another_form(self, daemon, first) -> None:
        connection = daemon.tcp()
        with log_lines() as lines:
            connection.send(first)
        assert connection.is_silent
        assert lines == []
        connection.lose()
        assert daemon.idle

    @pytest.mark.parametrize(
        "second",
        [
            *(pack([bytes(size)]) for size in (0, 31, 33)),
            pack([bytes(32), b""]),
            pack([b"PEER1"]),
            pack([b"SVTW1", b"alice", A]),
            b"\xff\xff",
            b"\x00\x00",
            pack([bytes(32)]) + pack([bytes(32)]),
            pack([bytes(32)]) + b"x" * 1025,
        ],
    )
    def test_second_messages_of_another_form(self, daemon, second) -> None:
        connection = daemon.tcp()
        connection.send(PasswordClient().hello())
        connection.send(second)
        assert connection.is_silent
        connection.lose()
        assert daemon.idle
        assert daemon.names == []

    def test_a_frame_after_success_is_the_brokers_who_does_not_like_it(self, daemon) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        connection.log_in(client)
        assert connection.send(pack([client.proofs.client])) == b""
        assert daemon.factory._admission.sessions == 1
        connection.send(b"\x80" * 100)
        assert connection.transport.aborted
        connection.lose()
        assert daemon.idle

    def test_what_was_recorded_is_of_no_use(self, daemon) -> None:
        client = PasswordClient(binding=EXPORTED)
        first = client.hello()
        connection = daemon.tcp()
        proof = client.proof(connection.send(first))
        assert connection.send(proof).startswith(client.admitted())
        replayed = daemon.tcp()
        replayed.send(first)
        assert replayed.send(proof) == NO

    @pytest.mark.parametrize(
        "binding",
        [
            replace(EXPORTED, data=b"\1" * 32),
            replace(EXPORTED, certificate=b"\1" * 32),
            UNBOUND,
            UNIX,
        ],
    )
    def test_somebody_in_between_has_another_channel_at_each_end(self, daemon, binding) -> None:
        assert daemon.tcp().log_in(PasswordClient(binding=binding)) == NO

    def test_a_channel_without_a_binding_lets_nobody_in(self, daemon) -> None:
        def no_binding(transport):
            raise ValueError("not TLS 1.3")

        channel = Channel(over_tcp=True, binding_of=no_binding)
        connection = daemon.over(daemon.factory._through(channel))
        with log_lines(LogLevel.critical) as lines:
            connection.log_in(PasswordClient())
        assert connection.is_silent
        assert len(lines) == 1

    # A byte of the name of the protocol, of the parameters, realm, salt and public value.
    @pytest.mark.parametrize("at", [4, 20, 30, 33, 48, 51, 66, 452])
    def test_nothing_in_the_second_message_can_be_changed(self, daemon, at) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        second = bytearray(connection.send(client.hello()))
        changed = bytes(second[:at] + bytes([second[at] ^ 1]) + second[at + 1 :])
        assert connection.send(client.proof(changed)) == NO

    @pytest.mark.parametrize("at", [0, 15, 31])
    def test_a_proof_is_right_in_every_byte(self, daemon, at) -> None:
        client = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        proof = bytearray(client.proof(connection.send(client.hello())))
        proof[4 + at] ^= 0x80
        assert connection.send(bytes(proof)) == NO

    @pytest.mark.parametrize("password", [PASSWORD, "wrong"])
    def test_what_was_secret_is_gone_with_the_login(self, daemon, password) -> None:
        def held() -> int:
            gc.collect()
            secret = (Challenge, PasswordLogin, SrpProof, Proofs)
            return sum(isinstance(each, secret) for each in gc.get_objects())

        client = PasswordClient(password=password, binding=EXPORTED)
        before = held()
        connection = daemon.tcp()
        connection.log_in(client)
        assert held() == before + (1 if gc.is_tracked(client.proofs) else 0)  # the client's
        connection.lose()

    def test_glued_calls_are_not_made_if_the_proof_is_wrong(self, daemon) -> None:
        connection = daemon.tcp()
        connection.send(PasswordClient().hello())
        glued = encode(b"pb") + encode([b"version", 6])
        assert connection.send(pack([bytes(32)]) + glued) == NO
        assert connection.send(glued) == b""
        assert daemon.names == []
        assert not daemon.factory._sessions

    def test_silence_at_any_place_ends_in_fifteen_seconds(self, daemon) -> None:
        for first in (b"", b"\x01", PasswordClient().hello()[:-1], PasswordClient().hello()):
            connection = daemon.tcp()
            connection.send(first)
            daemon.clock.advance(LIMITS.gate_seconds - 0.1)
            assert not connection.closed
            daemon.clock.advance(0.1)
            assert connection.transport.aborted
            connection.lose()
        assert daemon.idle

    def test_one_byte_a_second_is_as_slow_as_silence(self, daemon) -> None:
        connection = daemon.tcp()
        for byte in PasswordClient().hello()[: int(LIMITS.gate_seconds)]:
            assert not connection.closed
            connection.send(bytes([byte]))
            daemon.clock.advance(1)
        assert connection.transport.aborted

    def test_whoever_leaves_before_the_proof_leaves_nothing_behind(self) -> None:
        limits = replace(LIMITS, login_starts_at_once=1000, failures_per_source=1000)
        daemon = Daemon(limits=limits)
        first = PasswordClient().hello()

        def come_and_go(times: int) -> int:
            for _ in range(times):
                connection = daemon.tcp()
                assert len(connection.send(first)) == 453
                connection.lose()
            del connection
            gc.collect()
            return len(gc.get_objects())

        come_and_go(3)
        before = come_and_go(3)
        assert come_and_go(200) <= before + 20
        assert daemon.idle

    @settings(deadline=None, max_examples=30)
    @given(
        st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.sampled_from(["", "C1", "C2"])
    )
    def test_any_bytes_are_answered_or_not_but_never_raise(self, chunks, after) -> None:
        daemon = Daemon()
        connection = daemon.tcp()
        if after:
            connection.send(PasswordClient().hello())
        if after == "C2":
            connection.send(pack([bytes(32)]))
        for chunk in chunks:
            connection.gate.dataReceived(chunk)
        daemon.clock.advance(LIMITS.gate_seconds)
        connection.lose()
        assert daemon.idle
        assert daemon.names == []


class TestLimits:
    def test_who_guesses_from_one_address_is_locked_out_and_nobody_else(self, daemon) -> None:
        with log_lines() as lines:
            answers = [daemon.guess() for _ in range(LIMITS.failures_per_source)]
        assert set(answers) == {NO}
        assert len(lines) == LIMITS.failures_per_source + 1
        assert lines[-1] == f"{HERE} refused: no login by password from there for 60 seconds"
        asked = daemon.accounts.asked
        right = PasswordClient(binding=EXPORTED)
        connection = daemon.tcp()
        [payload] = FrameReader().feed(connection.send(right.hello()))
        kind, seconds = fields(payload)
        assert kind == b"\x02"
        assert 45 <= int.from_bytes(seconds, "big") <= 60
        assert connection.closed
        assert daemon.accounts.asked == asked
        assert is_in(daemon.tcp(THERE).log_in(right), right)
        daemon.clock.advance(60)
        assert is_in(daemon.tcp().log_in(right), right)

    @pytest.mark.parametrize("connect", ["tcp", "unix"])
    def test_who_has_us_compute_for_nothing_is_locked_out_alone(self, daemon, connect) -> None:
        """Else one address could use up all logins that may begin, and one user the processor."""
        connect = getattr(daemon, connect)
        for number in range(LIMITS.failures_per_source):
            connection = connect()
            assert len(connection.send(PasswordClient().hello())) == 453
            if number == 0:
                connection.send(pack([b"no proof"]))
            elif number == 1:
                daemon.clock.advance(LIMITS.gate_seconds)
            connection.lose()
        asked = daemon.accounts.asked
        assert connect().send(PasswordClient().hello())[2:5] == b"\0\1\2"
        assert daemon.accounts.asked == asked
        client = PasswordClient(binding=EXPORTED)
        assert is_in(daemon.tcp(THERE).log_in(client), client), "and nobody waits for it"

    def test_who_gets_in_has_given_nothing_up(self, daemon) -> None:
        for _ in range(2 * LIMITS.failures_per_source):
            client = PasswordClient(binding=EXPORTED)
            connection = daemon.tcp()
            assert is_in(connection.log_in(client), client)
            connection.lose()

    def test_an_ipv6_network_is_one_address(self, daemon) -> None:
        for number in range(LIMITS.failures_per_source):
            daemon.guess(f"2001:db8::{number + 1}")
        assert daemon.tcp("2001:db8::99").send(PasswordClient().hello())[2:5] == b"\0\1\2"
        assert len(daemon.tcp("2001:db8:0:1::99").send(PasswordClient().hello())) == 453

    def test_a_local_user_who_guesses_is_locked_out_alone(self, daemon) -> None:
        for _ in range(LIMITS.failures_per_source):
            connection = daemon.unix()
            assert connection.log_in(PasswordClient(password="wrong")) == NO
            connection.lose()
        assert daemon.unix().send(PasswordClient().hello())[2:5] == b"\0\1\2"
        other = Peer(pid=1, uid=1002, gid=1)
        assert len(daemon.unix(other).send(PasswordClient().hello())) == 453
        root = Peer(pid=1, uid=0, gid=0)
        assert daemon.unix(root).send(pack([b"PEER1"])).startswith(pack([b"\x01"]))

    @pytest.mark.parametrize("user", ["alice", "nobody"])
    def test_the_answer_for_a_user_who_is_guessed_at_waits(self, daemon, user) -> None:
        for number in range(LIMITS.failures_per_user - 1):
            daemon.guess(f"192.0.2.{number + 10}", user)
        for password in ("wrong", PASSWORD):
            connection = daemon.tcp(f"198.51.100.{len(password)}")
            client = PasswordClient(user, password, binding=EXPORTED)
            assert connection.log_in(client) == b""
            daemon.clock.advance(0.9)
            assert connection.transport.value() == b""
            assert connection.transport.producerState == "paused"
            daemon.clock.advance(1.2)
            if password == PASSWORD and user == "alice":
                assert is_in(connection.transport.value(), client)
            else:
                assert connection.transport.value() == NO

    def test_who_does_not_wait_for_the_answer_has_learned_nothing(self, daemon) -> None:
        for number in range(LIMITS.failures_per_user + 5):
            daemon.guess(f"192.0.2.{number + 10}")
        connection = daemon.tcp("198.51.100.1")
        asked = daemon.accounts.asked
        connection.log_in(PasswordClient(binding=EXPORTED))
        connection.lose()
        daemon.clock.advance(LIMITS.login_delay_seconds_most)
        assert daemon.accounts.asked == asked + 1
        assert daemon.idle
        for _ in range(LIMITS.failures_per_source - 1):
            connection = daemon.tcp("198.51.100.1")
            connection.log_in(PasswordClient(binding=EXPORTED))
            connection.lose()
        assert daemon.tcp("198.51.100.1").send(PasswordClient().hello())[2:5] == b"\0\1\2"

    def test_so_many_logins_begin_over_tcp_and_others_are_closed(self, daemon) -> None:
        def begin(connection) -> int:
            length = len(connection.send(PasswordClient().hello()))
            silent = connection.is_silent
            connection.lose()
            return -1 if silent else length

        begun = [begin(daemon.tcp(f"192.0.2.{n}")) for n in range(LIMITS.login_starts_at_once + 3)]
        assert begun == [453] * LIMITS.login_starts_at_once + [-1] * 3
        assert begin(daemon.unix()) == 453
        daemon.clock.advance(1)
        begun = [begin(daemon.tcp(f"192.0.2.{n}")) for n in range(12)]
        assert begun == [453] * int(LIMITS.login_starts_per_second) + [-1] * 2

    def test_so_many_of_one_address_wait_and_so_many_in_all(self, daemon) -> None:
        mine = [daemon.tcp() for _ in range(LIMITS.tcp_connections_before_login_per_source + 1)]
        assert [connection.closed for connection in mine] == [False] * 4 + [True]
        others = [daemon.tcp(f"198.51.100.{n}") for n in range(40)]
        assert sum(not connection.closed for connection in others) == 28
        assert not daemon.unix().closed
        root = Peer(pid=1, uid=0, gid=0)
        assert daemon.unix(root).send(pack([b"PEER1"])).startswith(pack([b"\x01"]))
        for connection in [*mine, *others]:
            connection.lose()
        assert not daemon.tcp().closed

    def test_who_waits_on_unix_sockets_keeps_nobody_out_over_tcp(self, daemon) -> None:
        for uid in range(100):
            while not daemon.unix(Peer(pid=1, uid=uid, gid=1)).closed:
                pass
        assert not daemon.tcp().closed

    def test_the_last_descriptors_are_not_for_tcp(self, daemon) -> None:
        connection = daemon.tcp()
        gate = daemon.factory.plain().buildProtocol(None)
        gate._has_room = lambda transport: False
        with log_lines() as lines:
            refused = Connection(gate, IPv4Address("TCP", HERE, 1))
        assert refused.is_silent
        assert lines == ["192.0.2.1:1 refused: the last descriptors are kept for programs"]
        assert not connection.closed
        refused.lose()

    def test_a_flood_hides_no_guesses_in_the_log(self, daemon) -> None:
        with log_lines() as lines:
            for _ in range(1000):
                daemon.tcp(THERE)
            assert len(lines) == LIMITS.refusals_told_at_once
            assert set(lines) == {
                "192.0.2.2:5000 refused: too many connections wait for their login"
            }
            daemon.guess()
            assert len(lines) == LIMITS.refusals_told_at_once + 1
            daemon.clock.advance(LIMITS.refusals_told_seconds)
        assert lines[-1] == "986 more were refused in the last minute"

    def test_many_failures_are_counted_in_the_log(self) -> None:
        daemon = Daemon(limits=replace(LIMITS, login_starts_at_once=1000, failures_per_user=10**6))

        def guess(number: int) -> None:
            connection = daemon.tcp(f"192.0.{number}.1")
            assert connection.log_in(PasswordClient(f"user{number}", "wrong")) == NO
            connection.lose()

        with log_lines() as lines:
            for number in range(50):
                guess(number)
            assert len(lines) == LIMITS.refusals_told_at_once
            daemon.clock.advance(LIMITS.refusals_told_seconds)
            assert lines.pop() == "40 more were refused in the last minute"
            guess(60)
            assert len(lines) == LIMITS.refusals_told_at_once + 1
            daemon.clock.advance(10 * LIMITS.refusals_told_seconds)
            guess(61)
            assert len(lines) == LIMITS.refusals_told_at_once + 2
        assert daemon.idle

    def test_a_user_has_so_many_sessions(self) -> None:
        daemon = Daemon(limits=replace(LIMITS, sessions_per_user=2))
        client = PasswordClient(binding=EXPORTED)
        connections = [daemon.tcp() for _ in range(3)]
        answers = [connection.log_in(client) for connection in connections]
        assert answers[-1] == FULL, "who has proven who they are may know"
        assert daemon.factory._admission.sessions == 2
        connections[0].lose()
        assert is_in(daemon.tcp().log_in(client), client)

    def test_root_with_a_password_finds_room_at_the_unix_socket_alone(self) -> None:
        daemon = Daemon(limits=replace(LIMITS, sessions=1))
        client = PasswordClient(binding=EXPORTED)
        assert is_in(daemon.tcp().log_in(client), client)
        root = PasswordClient()
        assert daemon.unix().log_in(root) == FULL
        assert is_in(daemon.unix(Peer(pid=5, uid=0, gid=0)).log_in(root), root)
        assert daemon.tcp().log_in(client) == FULL
