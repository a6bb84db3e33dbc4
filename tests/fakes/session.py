"""A client's session with a daemon that only pretends, without a connection in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakes.control import FakeControl
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, UnixAddress
from supervisortw.core.status import LogPiece
from supervisortw.errors import Refused, SupervisorError, Unreachable
from supervisortw.interfaces import Cancel
from supervisortw.remote.follow import Follower, Receiver

VERBS = frozenset(
    {
        "status",
        "why",
        "start",
        "stop",
        "restart",
        "signal",
        "reload",
        "reread",
        "shutdown",
        "tail",
        "read_log",
        "clear",
        "events",
    }
)


class _Near:
    """An object of the client's, without a connection in between."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def callRemote(self, message: str, data: bytes) -> Deferred[None]:
        assert message == "piece"
        return maybeDeferred(self._receiver.remote_piece, data)


class FakeSession:
    """Asks a FakeControl; ``failure`` is what every question fails with, if it is set."""

    def __init__(self, address: Address, control: FakeControl) -> None:
        self.address = address
        self.control = control
        self.hello = {"version": "1.2.3", "pid": control.pid}
        self.lost = False
        self.closed = False
        self.failure: SupervisorError | None = None
        self.following = 0
        self._lost_listeners: list[Callable[[], None]] = []
        self._followers: list[Follower] = []

    def on_lost(self, listener: Callable[[], None]) -> Cancel:
        self._lost_listeners.append(listener)
        return lambda: self._lost_listeners.remove(listener) if not self.lost else None

    def expect_end(self) -> None:
        self._lost_listeners.clear()

    def close(self) -> None:
        self.expect_end()
        self.closed = self.lost = True
        self._end_followers()

    def lose(self) -> None:
        """Let the connection end by itself."""
        self.lost = True
        self._end_followers()
        listeners, self._lost_listeners = self._lost_listeners, []
        for listener in listeners:
            listener()

    def __getattr__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise AttributeError(verb)

        async def ask(*arguments: object, **keywords: object) -> Any:
            self._look()
            return await getattr(self.control, verb)(*arguments, **keywords)

        return ask

    async def follow(
        self,
        name: str | None,
        offset: int,
        received: Callable[[LogPiece], Deferred[None] | None],
        *,
        epoch: str = "",
        refused: Callable[[Refused], None],
    ) -> Cancel:
        self._look()
        near = _Near(Receiver(received, refused))
        follower = Follower(self.control, name, offset, epoch, near)
        self._followers.append(follower)
        self.following += 1

        def stop() -> None:
            if follower in self._followers:
                self._followers.remove(follower)
                self.following -= 1
            follower.stop()

        return stop

    def _end_followers(self) -> None:
        followers, self._followers = self._followers, []
        for follower in followers:
            follower.stop()
        self.following = 0

    async def follow_events(
        self, after: int, received: Callable[[EventsAnswer], Deferred[None] | None]
    ) -> Cancel:
        self._look()
        at = after

        def more() -> None:
            nonlocal at
            while (told := self.control.history.answer(at, LIMITS.events_at_once)).end:
                at = told.end
                received(told)

        unwatch = self.control.watch_events(more)
        self.following += 1
        more()

        def stop() -> None:
            self.following -= 1
            unwatch()

        return stop

    def _look(self) -> None:
        if self.lost:
            raise Unreachable(f"{self.address}: the connection was lost")
        if self.failure is not None:
            raise self.failure


class FakeNetwork:
    """The daemons that there are, by their addresses, and the sessions that were made with them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.daemons: dict[str, FakeControl] = {}
        self.sessions: dict[str, FakeSession] = {}
        self.connecting: dict[str, Deferred[None]] = {}
        self.refusals: dict[str, SupervisorError] = {}

    def add(self, path: str, *names: str) -> FakeControl:
        pid = 4000 + len(self.daemons)
        self.daemons[path] = FakeControl(self.clock, names, pid=pid)
        return self.daemons[path]

    async def connect(self, address: Address) -> FakeSession:
        path = str(address)
        if path in self.connecting:
            await self.connecting[path]
        if path in self.refusals:
            raise self.refusals[path]
        if path not in self.daemons:
            raise Unreachable(f"{path}: no such socket; is supervisord running?")
        self.sessions[path] = FakeSession(UnixAddress(path=path), self.daemons[path])
        return self.sessions[path]
