"""The gate that stands before Perspective Broker: who are you, in one small message each way.

Until it has opened, no byte of a peer reaches anything but a reader of frames. There is one way
in: on a UNIX socket the client sends ``PEER1``, and the kernel says who it is. Another way would be
another first message, with a method of its own in `ServerGate` that may wait for more frames.
"""

# The broker that is handed over to inherits from one without annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Awaitable, Callable, Container
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.interfaces import Clock, Timer
from supervisortw.remote.frames import (
    ADMITTED,
    PEER,
    REFUSED,
    FrameError,
    FrameReader,
    begins_with_frame,
    fields,
    pack,
)
from supervisortw.remote.peers import Peer, PeerOf, identified, peer_credentials

Logout = Callable[[], object]
Login = Callable[[Peer], Awaitable[tuple[Any, Logout]]]
MakeBroker = Callable[[Any, str], Protocol]


class AdmissionCounter:
    """Counts who waits at the gate and who is inside, for all listeners that share it.

    Each user has a share of the room to wait. Only users ``at_home`` have theirs whoever else waits.
    """

    def __init__(self, at_home: Container[int], limits: Limits = LIMITS) -> None:
        self._at_home = at_home
        self._limits = limits
        self._waiting: Counter[int | None] = Counter()
        self._users: dict[str, int] = {}
        self._refused: set[str] = set()
        self._told = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting.total()

    @property
    def sessions(self) -> int:
        """How many are inside."""
        return sum(self._users.values())

    def wait(self, uid: int | None) -> bool:
        """Let one more of ``uid``, or of those without one, wait; false if there is no room."""
        room = self._waiting[uid] < self._limits.unix_connections_before_login and (
            uid in self._at_home or self._strangers() < self._limits.strangers_before_login
        )
        if room:
            self._waiting[uid] += 1
        return room

    def leave(self, uid: int | None) -> None:
        """One of ``uid`` does not wait any more."""
        self._waiting[uid] -= 1
        if not self._waiting[uid]:
            del self._waiting[uid]

    def _strangers(self) -> int:
        return sum(n for uid, n in self._waiting.items() if uid not in self._at_home)

    def enter(self, user: str) -> bool:
        """Let ``user`` in with one more session; false if there is no room."""
        mine = self._users.get(user, 0)
        if self.sessions >= self._limits.sessions or mine >= self._limits.sessions_per_user:
            return False
        self._users[user] = mine + 1
        return True

    def depart(self, user: str) -> None:
        """End one session of ``user``."""
        self._told = False
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]

    def first_refusal_of(self, user: str) -> bool:
        """Tell whether the refusal of ``user`` is news; who is refused cannot fill the log."""
        news = user not in self._refused and len(self._refused) < self._limits.refusals_told
        if news:
            self._refused.add(user)
        return news

    def first_refusal(self) -> bool:
        """Tell whether nobody was refused yet since there was room."""
        first, self._told = not self._told, True
        return first


class _State(enum.Enum):
    READING = enum.auto()  # a frame is expected
    DECIDING = enum.auto()  # the login is under way
    OPEN = enum.auto()  # all that comes is the broker's
    CLOSED = enum.auto()


class ServerGate(Protocol):
    """The daemon's side of one connection: reads, asks ``login``, answers, hands over.

    ``login`` raises or fails with UnauthorizedLogin, or gives what the broker is to publish and
    what is to be called at the end of the session. ``broker`` is called with that and with the
    peer's description, after the answer was sent.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: Clock,
        login: Login,
        broker: MakeBroker,
        admission: AdmissionCounter,
        peer_of: PeerOf = peer_credentials,
        limits: Limits = LIMITS,
    ) -> None:
        self._clock = clock
        self._login = login
        self._make_broker = broker
        self._admission = admission
        self._peer_of = peer_of
        self._limits = limits
        self._reader = FrameReader(maximum=limits.gate_frame_bytes)
        self._state = _State.CLOSED
        self._expected: Callable[[list[bytes]], None] = self._first_message
        self._first_messages = {PEER: self._peer_login}
        self._timer: Timer | None = None
        self._deciding: Deferred[Any] | None = None
        self._broker: Protocol | None = None
        self._peer: Peer | None = None
        self._at_the_end: list[Callable[[], object]] = []
        self.transport: Any = None

    # From the transport.

    def connectionMade(self) -> None:
        """Give the peer its time, if there is room for one more to wait."""
        self._peer = identified(self._peer_of(self.transport))
        if not self._admission.wait(self._uid):
            self._close("too many connections wait for their login")
            return
        self._at_the_end.append(self._stop_waiting)
        self._state = _State.READING
        self._timer = self._clock.callLater(self._limits.gate_seconds, self._too_late)

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

    @property
    def _uid(self) -> int | None:
        return None if self._peer is None else self._peer.uid

    def _stop_waiting(self) -> None:
        self._admission.leave(self._uid)

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

    def _peer_login(self, message: list[bytes]) -> None:
        peer = self._peer
        if len(message) != 1 or peer is None:
            raise FrameError("a peer that the system does not vouch for")
        self._decide(str(peer), f"uid {peer.uid}", self._login, peer)

    # Deciding.

    def _decide(self, who: str, user: str, login: Callable[..., Any], *args: object) -> None:
        self._judge_rest()
        self._state = _State.DECIDING
        self.transport.pauseProducing()
        self._deciding = deciding = maybeDeferred(login, *args)
        deciding.addCallback(self._decided, who, user)
        deciding.addErrback(self._not_decided, who, user)

    def _decided(self, session: tuple[Any, Logout], who: str, user: str) -> None:
        self._deciding = None
        root, logout = session
        self._at_the_end.append(logout)
        if self._state is not _State.DECIDING:
            self._end()
        elif not self._admission.enter(user):
            if self._admission.first_refusal():
                self._log.warn("{who} refused: too many sessions are open", who=who)
            self._refuse()
        else:
            self._at_the_end.append(lambda: self._admission.depart(user))
            self._open(root, who)

    def _not_decided(self, failure: Failure, who: str, user: str) -> None:
        self._deciding = None
        if self._state is _State.CLOSED:
            return
        if failure.check(UnauthorizedLogin):
            if self._admission.first_refusal_of(user):
                self._log.warn("{who} refused: not authorized (told once for each user)", who=who)
            self._refuse()
        else:
            self._log.failure("letting {who} in failed", failure, who=who)
            self._close("letting it in failed")

    # The ways out.

    def _open(self, root: Any, who: str) -> None:
        self._stop_timer()
        self._stop_waiting()
        self._at_the_end.remove(self._stop_waiting)
        self._state = _State.OPEN
        self.transport.write(pack([ADMITTED]))
        self._broker = self._make_broker(root, who)
        self.transport.resumeProducing()
        self._broker.makeConnection(self.transport)
        rest = self._reader.take_rest()
        if rest and self._broker is not None:
            self._broker.dataReceived(rest)

    def _refuse(self) -> None:
        """Say no and close; the timer goes on until the connection is gone."""
        self._state = _State.CLOSED
        self.transport.write(pack([REFUSED]))
        self.transport.loseConnection()

    def _close(self, reason: str) -> None:
        """End the connection without an answer."""
        self._state = _State.CLOSED
        self._stop_timer()
        self._log.debug("connection closed at the gate: {reason}", reason=reason)
        self.transport.abortConnection()

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
