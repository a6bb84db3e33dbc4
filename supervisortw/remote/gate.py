"""The gate that stands before Perspective Broker: who are you, in small messages each way.

Until it has opened, no byte of a peer reaches anything but a reader of frames. There are two ways in.
On a UNIX socket the client sends ``PEER1``, and the kernel says who it is. Everywhere it can send
``SVTW1``, and prove that it knows a user's password.
"""

# The broker that is handed over to inherits from one without annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.cred.credentials import Anonymous
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.auth.attempts import source_of
from supervisortw.auth.peer import PeerCredentials
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.interfaces import Clock, Timer
from supervisortw.remote.admission import AdmissionCounter, Waiter
from supervisortw.remote.channel import UNIX_CHANNEL, Channel
from supervisortw.remote.frames import (
    ADMITTED,
    FULL,
    PASSWORD,
    PASSWORD_WANTED,
    PEER,
    REFUSED,
    WAIT,
    FrameError,
    FrameReader,
    begins_with_frame,
    fields,
    pack,
)
from supervisortw.remote.passwords import PasswordLogin, PasswordLogins, read_hello, read_proof
from supervisortw.remote.peers import Peer, PeerOf, identified, peer_credentials
from supervisortw.remote.refusals import RefusalsTold
from supervisortw.remote.tcp import has_room, host_and_port, notice_death

Logout = Callable[[], object]
Login = Callable[[Any], Awaitable[tuple[Any, Logout]]]
MakeBroker = Callable[[Any, str], Protocol]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A login that is being decided: ``who`` in the log, and ``user`` whose sessions are counted.

    ``refused`` hears why somebody was not let in.
    """

    who: str
    user: str
    refused: Callable[[str], object]


class _State(enum.Enum):
    READING = enum.auto()  # a frame is expected
    DECIDING = enum.auto()  # the login is under way
    OPEN = enum.auto()  # all that comes is the broker's
    CLOSED = enum.auto()


class ServerGate(Protocol):
    """The daemon's side of one connection: reads, asks ``login``, answers, hands over.

    ``login`` is given credentials, for the kernel's word (PeerCredentials), for a password (SrpProof)
    or for an anonymous listener (Anonymous). It raises or fails with UnauthorizedLogin, or gives what
    the broker is to publish and what is to be called at the end of the session. ``broker`` is called
    with that and with the peer's description, after the answer was sent. Without ``passwords`` nobody
    gets in by one; ``wants_password()`` tells whether the kernel's word is not enough.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: Clock,
        login: Login,
        broker: MakeBroker,
        admission: AdmissionCounter,
        passwords: PasswordLogins | None = None,
        wants_password: Callable[[], bool] = lambda: False,
        channel: Channel = UNIX_CHANNEL,
        peer_of: PeerOf = peer_credentials,
        has_room: Callable[[Any], bool] = has_room,
        refusals: RefusalsTold | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self._clock = clock
        self._login = login
        self._make_broker = broker
        self._admission = admission
        self._passwords = passwords
        self._wants_password = wants_password
        self._channel = channel
        self._peer_of = peer_of
        self._has_room = has_room
        self._refusals = refusals
        self._limits = limits
        self._reader = FrameReader(maximum=limits.gate_frame_bytes)
        self._state = _State.CLOSED
        self._expected: Callable[[list[bytes]], None] = self._first_message
        self._first_messages = {PEER: self._peer_message, PASSWORD: self._password_message}
        self._answer: Sequence[bytes] = [ADMITTED]
        self._timer: Timer | None = None
        self._deciding: Deferred[Any] | None = None
        self._broker: Protocol | None = None
        self._peer: Peer | None = None
        self._waiter: Waiter = None
        self._where = ""  # the peer is, for the log
        self._source = ""  # the peer comes from, where failures are counted
        self._at_the_end: list[Callable[[], object]] = []
        self.transport: Any = None

    # From the transport.

    def connectionMade(self) -> None:
        """Give the peer its time, if there is room for one more to wait."""
        if self._channel.over_tcp:
            self._look_at_source()
        else:
            self._look_at_peer()
        if self._channel.over_tcp and not self._has_room(self.transport):
            self._turn_away("the last descriptors are kept for programs")
            return
        if not self._admission.wait(self._waiter):
            self._turn_away("too many connections wait for their login")
            return
        self._at_the_end.append(self._stop_waiting)
        self._state = _State.READING
        self._timer = self._clock.callLater(self._limits.gate_seconds, self._too_late)
        if self._channel.over_tcp:
            notice_death(self.transport, self._limits)

    def _look_at_source(self) -> None:
        host, self._where = host_and_port(self.transport)
        self._waiter = self._source = source_of(host)

    def _look_at_peer(self) -> None:
        self._peer = peer = identified(self._peer_of(self.transport))
        if peer is None:
            self._where = self._source = "an unknown user"
        else:
            self._waiter = peer.uid
            self._where, self._source = str(peer), f"uid {peer.uid}"

    def dataReceived(self, data: bytes) -> None:
        """Read the frame that is expected; keep, within bounds, what comes behind the last."""
        if self._broker is not None:
            self._broker.dataReceived(data)
        elif self._state is not _State.CLOSED:
            try:
                self._read(data)
            except FrameError as error:
                self._close(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything that belongs to the connection."""
        broker, self._broker = self._broker, None
        self._state = _State.CLOSED
        self._stop_timer()
        deciding, self._deciding = self._deciding, None
        if deciding is not None:
            deciding.cancel()
        if broker is not None:
            broker.connectionLost(reason)
        self._end()

    def _end(self) -> None:
        while self._at_the_end:
            self._at_the_end.pop()()

    def _stop_waiting(self) -> None:
        self._admission.leave(self._waiter)

    # Reading.

    def _read(self, data: bytes) -> None:
        for payload in self._reader.feed(data):
            self._expected(fields(payload))
        if self._state is _State.DECIDING:
            self._judge_rest()

    def _judge_rest(self) -> None:
        """Bear a little of what belongs to the broker, and no further frame."""
        rest = self._reader.rest
        if len(rest) > self._limits.gate_frame_bytes or begins_with_frame(rest):
            raise FrameError("more came before the answer")

    def _first_message(self, message: list[bytes]) -> None:
        begin = self._first_messages.get(message[0])
        if begin is None:
            raise FrameError("an unknown first message")
        begin(message)

    # By the kernel's word.

    def _peer_message(self, message: list[bytes]) -> None:
        if len(message) != 1:
            raise FrameError("a first message of another form")
        self._judge_rest()
        peer = self._peer
        if self._channel.anonymous:
            attempt = self._attempt("anonymous", "anonymous")
            self._decide(attempt, lambda: self._login(Anonymous()))
        elif self._channel.over_tcp:
            self._refuse(PASSWORD_WANTED)
        elif peer is None:
            raise FrameError("a peer that the system does not vouch for")
        elif self._wants_password():
            self._refuse(PASSWORD_WANTED)
        else:
            attempt = _Attempt(who=str(peer), user=f"uid {peer.uid}", refused=self._not_authorized)
            self._decide(attempt, lambda: self._login(PeerCredentials(uid=peer.uid)))

    def _not_authorized(self, _: str) -> None:
        if self._admission.first_refusal_of(self._source):
            told = "not authorized (told once for each user)"
            self._log.warn("{who} refused: {told}", who=self._where, told=told)

    # By password.

    def _password_message(self, message: list[bytes]) -> None:
        hello = read_hello(message)
        if self._reader.rest:
            raise FrameError("more came before the answer")
        passwords = None if self._channel.anonymous else self._passwords
        if passwords is None:
            self._refuse(REFUSED)
        elif seconds := passwords.wait(self._source):
            self._refuse(WAIT, seconds.to_bytes(2, "big"))
        elif self._channel.over_tcp and not passwords.may_begin():
            self._turn_away("too many logins begin")
        elif (begun := passwords.begin(hello)) is None:
            self._refuse(REFUSED)
        else:
            self._at_the_end.append(self._given_up)
            self._expected = partial(self._proof_message, passwords, begun)
            self._reader.expect()
            self.transport.write(begun.second)

    def _proof_message(
        self, passwords: PasswordLogins, begun: PasswordLogin, message: list[bytes]
    ) -> None:
        told = read_proof(message)
        self._judge_rest()
        self._expected = self._first_message  # of which none comes; what was secret is forgotten
        attempt = self._attempt(begun.user, f"user {begun.user}")
        self._decide(attempt, lambda: self._prove(passwords, begun, told))

    async def _prove(
        self, passwords: PasswordLogins, begun: PasswordLogin, told: bytes
    ) -> tuple[Any, Logout]:
        delay = passwords.delay(begun.user)
        if delay:
            clock: Any = self._clock
            await deferLater(clock, delay)
        self._at_the_end.remove(self._given_up)
        credentials = begun.credentials(told, self._channel.binding_of(self.transport))
        session = await self._login(credentials)
        self._answer = [ADMITTED, credentials.answer]
        return session

    def _given_up(self) -> None:
        assert self._passwords is not None, "who has begun one"
        self._passwords.given_up(self._source)

    def _attempt(self, name: str, user: str) -> _Attempt:
        who = f"{name} from {self._where}"
        return _Attempt(who=who, user=user, refused=lambda why: self._failed(name, who, why))

    def _failed(self, name: str, who: str, why: str) -> None:
        if self._passwords is not None:
            self._passwords.failed(self._source, name, who, why)

    # Deciding.

    def _decide(self, attempt: _Attempt, ask: Callable[..., Any]) -> None:
        self._state = _State.DECIDING
        self.transport.pauseProducing()
        self._deciding = deciding = maybeDeferred(ask)
        deciding.addCallback(self._decided, attempt)
        deciding.addErrback(self._not_decided, attempt)

    def _decided(self, session: tuple[Any, Logout], attempt: _Attempt) -> None:
        self._deciding = None
        root, logout = session
        self._at_the_end.append(logout)
        if self._state is not _State.DECIDING:
            self._end()
        elif not self._admission.enter(attempt.user, self._waiter):
            if self._admission.first_refusal():
                self._log.warn("{who} refused: too many sessions are open", who=attempt.who)
            self._refuse(FULL)
        else:
            self._at_the_end.append(lambda: self._admission.depart(attempt.user, self._waiter))
            self._open(root, attempt.who)

    def _not_decided(self, failure: Failure, attempt: _Attempt) -> None:
        self._deciding = None
        if self._state is _State.CLOSED:
            return
        if failure.check(UnauthorizedLogin):
            attempt.refused(str(failure.value))
            self._refuse(REFUSED)
        else:
            self._log.failure("letting {who} in failed", failure, who=attempt.who)
            self._close("letting it in failed")

    # The ways out.

    def _open(self, root: Any, who: str) -> None:
        self._stop_timer()
        self._stop_waiting()
        self._at_the_end.remove(self._stop_waiting)
        self._state = _State.OPEN
        self.transport.write(pack(self._answer))
        self._broker = self._make_broker(root, who)
        self.transport.resumeProducing()
        self._broker.makeConnection(self.transport)
        rest = self._reader.take_rest()
        if rest and self._broker is not None:
            self._broker.dataReceived(rest)

    def _refuse(self, *answer: bytes) -> None:
        """Say no and close; the timer goes on until the connection is gone."""
        self._state = _State.CLOSED
        self.transport.write(pack(answer))
        self.transport.resumeProducing()  # TLS ends when the peer has said goodbye as well
        self.transport.loseConnection()

    def _close(self, reason: str) -> None:
        """End the connection without an answer."""
        self._state = _State.CLOSED
        self._stop_timer()
        self._log.debug("connection closed at the gate: {reason}", reason=reason)
        self.transport.abortConnection()

    def _turn_away(self, reason: str) -> None:
        """End the connection without an answer, for want of room, which an operator may wonder at."""
        if self._refusals is not None:
            self._refusals.tell(self._where, reason)
        self._close(reason)

    def _too_late(self) -> None:
        self._timer = None
        self._close("it took too long")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ServerGates(Factory):
    """Makes a gate for each connection to a listener; give them all the same `AdmissionCounter`."""

    noisy = False

    def __init__(self, make_gate: Callable[[], ServerGate]) -> None:
        self._make_gate = make_gate

    def buildProtocol(self, addr: IAddress | None) -> ServerGate:
        """Return the gate of one new connection."""
        gate = self._make_gate()
        gate.factory = self
        return gate
