"""A login by password, from the client's side: what it says, and what it does not believe."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.passwordserver import KDF, REALM, SECRET, USER, PasswordServer, stretched
from remote_ends import Transport
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import GROUP, UNBOUND, UNIX, Binding, Kdf
from supervisortw.errors import (
    AuthError,
    Denied,
    Impostor,
    TimedOut,
    TooManyFailures,
    Unreachable,
    WrongPassword,
)
from supervisortw.remote.clientchannels import PlainChannel, TlsChannel, UnixChannel
from supervisortw.remote.clientgate import ClientGate
from supervisortw.remote.frames import (
    ADMITTED,
    FULL,
    PASSWORD_WANTED,
    REFUSED,
    WAIT,
    fields,
    pack,
)
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.passwordlogin import PasswordLogin
from supervisortw.remote.peers import Peer

WHERE = "db.example:9001"
N = GROUP.prime
BINDING = Binding(kind="tls-exporter", data=b"\x11" * 32, certificate=b"\x22" * 32)


class Connections:
    """Makes no TLS, but may have refused a certificate."""

    def __init__(self, refusal: str | None) -> None:
        self.refusal = refusal


def tls_channel(binding_of: Any = lambda transport: BINDING, refusal: Any = None) -> TlsChannel:
    connections = Connections(refusal)
    advice = "; ask somebody"
    return TlsChannel(WHERE, connections=connections, binding_of=binding_of, advice=advice)


class Client:
    """A client that has connected, in front of ``server``."""

    def __init__(
        self,
        server: PasswordServer | None = None,
        *,
        user: str = USER,
        password: str = SECRET,
        channel: Any = None,
        waits: bool = False,
    ) -> None:
        self.clock = Clock()
        self.server = server or PasswordServer()
        self.password = password
        self.user = user
        self.wanted: list[tuple[Kdf, bytes]] = []
        self.stretching: Deferred[bytes] | None = Deferred() if waits else None
        self.login = PasswordLogin(user, self.stretch)
        root = Peer(pid=1, uid=0, gid=0)
        self.gate = ClientGate(
            clock=self.clock,
            broker=lambda: LimitedBroker(1, clock=self.clock),
            channel=channel or UnixChannel(WHERE, lambda: {0}, lambda transport: root),
            login=self.login,
        )
        self.results: list[Any] = []
        self.gate.opened.addBoth(self.results.append)
        self.transport = Transport()
        self.gate.makeConnection(self.transport)
        self.sent = 0

    def stretch(self, kdf: Kdf, realm: bytes) -> Deferred[bytes]:
        self.wanted.append((kdf, realm))
        return self.stretching or succeed(stretched(self.password, self.user, realm))

    def deliver(self) -> bytes:
        """Hand what was sent to the server, and return its answer."""
        written: bytes = self.transport.value()
        answer = self.server.receive(written[self.sent :])
        self.sent = len(written)
        return answer

    def talk(self) -> None:
        """Deliver everything in both directions."""
        while answer := self.deliver():
            self.gate.dataReceived(answer)

    def fails(self, *errors: type[Exception]) -> str:
        """Return the text of the one error that there is."""
        [result] = self.results
        assert isinstance(result, Failure)
        assert result.check(*errors), result
        assert self.transport.aborted
        self.gate.connectionLost(Failure(ConnectionDone()))
        assert not self.clock.getDelayedCalls()
        assert len(self.results) == 1
        return str(result.value)


def test_the_right_password_opens() -> None:
    client = Client()
    client.talk()
    assert client.server.admitted == 1
    assert client.wanted == [(KDF, REALM)] == [client.login.asked]
    assert client.login.binding == UNIX
    assert client.gate._broker is not None
    assert client.results == []  # the broker has to say hello yet
    client.clock.advance(LIMITS.answer_seconds)
    client.fails(TimedOut)


@pytest.mark.parametrize("password", ["password123", "pässword124", "x"])
def test_a_wrong_password_does_not(password: str) -> None:
    client = Client(password=password)
    client.talk()
    assert client.server.admitted == 0
    text = f"{WHERE}: wrong password for alice, or somebody in between"
    assert client.fails(WrongPassword) == text
    assert client.login.binding is None


def test_nothing_that_is_sent_depends_on_the_password_but_the_proof() -> None:
    client = Client()
    client.talk()
    [first, second] = client.server.frames
    assert [first[0], first[1]] == [b"SVTW1", b"alice"]
    assert (len(first[2]), len(second[0]), len(first), len(second)) == (384, 32, 3, 1)
    sent: bytes = client.transport.value()
    assert SECRET.encode() not in sent
    assert stretched() not in sent
    other = Client()
    other.deliver()
    assert other.server.frames[0][2] != first[2]


class Talk:
    """The gate in front of an honest server, without a connection."""

    where = WHERE

    def __init__(self) -> None:
        self._server = PasswordServer()

    def ask(self, message: Any) -> Deferred[list[bytes]]:
        return succeed(fields(self._server.receive(pack(message))[2:]))


def test_nothing_that_takes_long_is_computed_twice() -> None:
    powers: list[tuple[int, int]] = []

    def powmod(base: int, exponent: int, modulus: int) -> int:
        powers.append((base, exponent))
        return pow(base, exponent, modulus)

    async def stretch(kdf: Kdf, realm: bytes) -> bytes:
        return stretched(SECRET, USER, realm)

    login = PasswordLogin(USER, stretch, powmod=powmod)
    done = Asked(login(Talk(), UNIX))
    assert done.answer is None
    assert login.binding == UNIX
    assert len(powers) == len(set(powers)) == 4  # A, two for the verifier, and S


def test_somebody_in_between_has_another_channel() -> None:
    channel = tls_channel()
    for server_binding, opens in [
        (BINDING, True),
        (Binding(kind="tls-exporter", data=b"\x12" * 32, certificate=BINDING.certificate), False),
        (Binding(kind="tls-exporter", data=BINDING.data, certificate=b"\x23" * 32), False),
        (UNIX, False),
        (UNBOUND, False),
    ]:
        client = Client(PasswordServer(server_binding), channel=channel)
        assert client.transport.value() == b""
        client.gate.handshakeCompleted()
        client.talk()
        assert client.server.admitted == int(opens)
        if not opens:
            client.fails(WrongPassword)


def test_nothing_is_said_where_the_channel_is_not_safe() -> None:
    def refuse(transport: Any) -> Binding:
        raise AuthError("TLS 1.3 is not established (but TLSv1.2)")

    client = Client(channel=tls_channel(binding_of=refuse))
    client.gate.handshakeCompleted()
    assert client.transport.value() == b""
    assert client.fails(Denied) == (
        f"{WHERE}: TLS 1.3 is not established (but TLSv1.2); nothing was sent"
    )


def test_a_handshake_has_its_time() -> None:
    client = Client(channel=tls_channel(binding_of=lambda transport: pytest.fail("too early")))
    client.clock.advance(LIMITS.answer_seconds)
    client.fails(TimedOut)
    client.gate.handshakeCompleted()
    assert client.transport.value() == b""


@pytest.mark.parametrize(
    ("refusal", "reason", "expected"),
    [
        ("it has expired", ConnectionDone(), "it has expired; nothing was sent; ask somebody"),
        ("it has expired", OSError(), "it has expired; nothing was sent; ask somebody"),
        (None, OSError(), "what listens there does not speak TLS 1.3"),
        (None, ConnectionDone(), "the connection was closed before it was of use"),
        (None, ConnectionLost(), "the connection was closed before it was of use"),
    ],
)
def test_a_handshake_that_fails_says_why(
    refusal: str | None, reason: Exception, expected: str
) -> None:
    client = Client(channel=tls_channel(refusal=refusal))
    client.gate.connectionLost(Failure(reason))
    [result] = client.results
    assert result.check(Denied if refusal else Unreachable)
    assert str(result.value) == f"{WHERE}: {expected}"


def test_without_tls_a_login_is_bound_to_nothing() -> None:
    client = Client(PasswordServer(UNBOUND), channel=PlainChannel(WHERE))
    client.talk()
    assert client.server.admitted == 1
    relayed = Client(PasswordServer(BINDING), channel=PlainChannel(WHERE))
    relayed.talk()
    relayed.fails(WrongPassword)


@pytest.mark.parametrize(
    "kdf",
    [
        "scrypt$ln=30,r=8,p=1",
        "scrypt$ln=2,r=8,p=1",
        "scrypt$ln=13,r=8,p=1",
        "scrypt$ln=19,r=8,p=1",
        "scrypt$ln=17,r=8,p=999",
        "scrypt$ln=17,r=8,p=5",
        "scrypt$ln=17,r=8,p=0",
        "scrypt$ln=17,r=9,p=1",
        "scrypt$ln=017,r=8,p=1",
        "scrypt$ln=17,r=8,p=1 ",
        "scrypt$ln=17,r=8",
        "md5$",
        "",
        "scrypt$ln=\uff11\uff17,r=8,p=1",
    ],
)
def test_a_server_cannot_say_how_much_a_client_computes(kdf: str) -> None:
    client = Client(PasswordServer(kdf=kdf))
    client.talk()
    assert client.wanted == []
    assert len(client.server.frames) == 1
    assert client.fails(Unreachable) == f"{WHERE}: what listens there is no supervisord"


@pytest.mark.parametrize("size", [0, 2, 15, 17, 32])
@pytest.mark.parametrize("which", ["realm", "salt"])
def test_salts_have_their_size(which: str, size: int) -> None:
    client = Client()
    setattr(client.server, which, b"s" * size)
    client.talk()
    assert client.wanted == []
    client.fails(Unreachable)


@pytest.mark.parametrize(
    "public",
    [
        *(GROUP.packed(number) for number in (0, 1, N - 1, N)),
        (N + 1).to_bytes(384, "big"),
        b"\xff" * 384,
        b"",
        b"\x05",
        GROUP.packed(5) + b"\0",
        (2 * N).to_bytes(385, "big"),
    ],
)
def test_public_values_that_give_secrets_away_are_refused(public: bytes) -> None:
    client = Client()
    client.server.public = public
    client.talk()
    assert client.wanted == []
    assert len(client.server.frames) == 1
    client.fails(Unreachable)


def test_a_public_value_that_takes_the_password_out_is_refused() -> None:
    # B = k * v: then S does not depend on what the client has drawn.
    from fakes.passwordserver import verifier

    client = Client()
    client.server.public = GROUP.packed(GROUP.multiplier * verifier() % N)
    client.talk()
    assert len(client.server.frames) == 1
    client.fails(Unreachable)


@pytest.mark.parametrize(
    "answer",
    [
        pack([ADMITTED]),
        pack([ADMITTED, b"m" * 32]),
        pack([PASSWORD_WANTED]),
        pack([WAIT]),
        pack([WAIT, b"\x01"]),
        pack([WAIT, b"\0\0\0"]),
        pack([b"SVTW1", str(KDF).encode(), REALM, REALM]),
        pack([b"SVTW1", str(KDF).encode(), REALM, REALM, GROUP.packed(5), b""]),
        pack([b"SVTW2", str(KDF).encode(), REALM, REALM, GROUP.packed(5)]),
        b"\xff\xff",
        b"\x00\x00",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_a_first_answer_that_no_supervisord_gives(answer: bytes) -> None:
    client = Client()
    client.server.first_answer = answer
    client.talk()
    assert client.wanted == []
    assert client.fails(Unreachable) == f"{WHERE}: what listens there is no supervisord"


def test_a_daemon_without_passwords_says_so() -> None:
    client = Client()
    client.server.first_answer = pack([REFUSED])
    client.talk()
    assert "lets nobody in by password now" in client.fails(Denied)


def test_a_daemon_that_had_enough_says_for_how_long() -> None:
    client = Client()
    client.server.first_answer = pack([WAIT, (3600).to_bytes(2, "big")])
    client.talk()
    assert "takes none for another 3600 seconds" in client.fails(TooManyFailures)


def test_a_daemon_without_room_says_so_and_does_not_call_the_password_wrong() -> None:
    client = Client()
    client.server.second_answer = pack([FULL])
    client.talk()
    assert "no room for one more session" in client.fails(Denied)


@pytest.mark.parametrize(
    "answer",
    [
        pack([ADMITTED]),
        pack([ADMITTED, b"m" * 31]),
        pack([ADMITTED, b"m" * 33]),
        pack([ADMITTED, b"m" * 32, b""]),
        pack([b"\x02", b"m" * 32]),
        pack([REFUSED, b""]),
    ],
)
def test_a_second_answer_that_no_supervisord_gives(answer: bytes) -> None:
    client = Client()
    client.server.second_answer = answer
    client.talk()
    assert client.gate._broker is None
    client.fails(Unreachable)


@pytest.mark.parametrize("proof", [b"\0" * 32, b"m" * 32, hashlib.sha256(b"M2").digest()])
def test_who_cannot_prove_it_is_not_believed(proof: bytes) -> None:
    client = Client()
    client.server.second_answer = pack([ADMITTED, proof]) + b"\x02\x82pb"
    client.talk()
    assert client.gate._broker is None
    assert client.login.binding is None
    assert "is not that daemon" in client.fails(Impostor)


def test_our_own_proof_is_not_theirs() -> None:
    client = Client()
    client.gate.dataReceived(client.deliver())
    client.server.second_answer = b""
    client.deliver()
    [_, [mine]] = client.server.frames
    client.gate.dataReceived(pack([ADMITTED, mine]))
    client.fails(Impostor)


def test_what_comes_before_it_is_asked_for_ends_it() -> None:
    client = Client(waits=True)
    client.gate.dataReceived(client.deliver())
    client.gate.dataReceived(pack([ADMITTED, b"m" * 32]))
    client.fails(Unreachable)
    glued = Client(waits=True)
    glued.gate.dataReceived(glued.deliver() + b"\0")
    glued.fails(Unreachable)


def test_while_the_client_computes_nobody_is_late() -> None:
    client = Client(waits=True)
    client.gate.dataReceived(client.deliver())
    client.clock.advance(2 * LIMITS.answer_seconds)
    assert client.results == []
    assert client.stretching is not None
    client.stretching.callback(stretched())
    client.talk()
    assert client.server.admitted == 1


@pytest.mark.parametrize("frames", [0, 1])
def test_a_server_that_does_not_answer_has_its_time(frames: int) -> None:
    client = Client()
    for _ in range(frames):
        client.gate.dataReceived(client.deliver())
    client.clock.advance(LIMITS.answer_seconds)
    client.fails(TimedOut)


@pytest.mark.parametrize("frames", [0, 1])
def test_a_server_that_goes_away(frames: int) -> None:
    client = Client(waits=True)
    for _ in range(frames):
        client.gate.dataReceived(client.deliver())
    client.gate.connectionLost(Failure(ConnectionDone()))
    [result] = client.results
    assert result.check(Unreachable)
    assert not client.clock.getDelayedCalls()
    assert client.stretching is not None
    assert client.stretching.called is bool(frames)


def test_a_client_can_give_up_while_it_computes() -> None:
    client = Client(waits=True)
    client.gate.dataReceived(client.deliver())
    client.gate.opened.cancel()
    assert client.transport.aborted
    assert client.stretching is not None
    assert client.stretching.called
    client.gate.connectionLost(Failure(ConnectionDone()))
    assert not client.clock.getDelayedCalls()


def test_a_mistake_of_ours_is_told_as_it_is() -> None:
    client = Client()
    client.stretching = Deferred()
    client.stretching.errback(KeyError("ours"))
    client.talk()
    client.fails(KeyError)
