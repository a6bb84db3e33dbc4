"""The client's end of a control connection: a `Control` that asks a daemon somewhere else."""

# The broker underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.spread import pb

from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address
from supervisortw.core.status import (
    DaemonStatus,
    Explained,
    LogPiece,
    Outcome,
    Record,
    ReloadAnswer,
    from_plain,
)
from supervisortw.errors import (
    BadRequest,
    Denied,
    Refused,
    RemoteError,
    SupervisorError,
    TimedOut,
    Unreachable,
)
from supervisortw.interfaces import Cancel, Clock
from supervisortw.remote import wire
from supervisortw.remote.dialling import Way, dial
from supervisortw.remote.follow import EventReceiver, Receiver
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.security import Unsendable

NOT_UNDERSTOOD = "the daemon's answer is not understood; is it of another version?"


def _ignore(_: object) -> None:
    pass


async def connect(reactor: Any, address: Address, way: Way | None = None) -> Session:
    """Return a session with the daemon at ``address``, by default as who the kernel says that we are.

    Raises Unreachable, AuthError, TimedOut, or BadRequest for another version of the protocol, with a
    text that names the address.
    """
    broker = await dial(reactor, address, way or Way())
    session = Session(address, broker, reactor)
    try:
        session.hello = await session.call("hello")
        _check_hello(address, session.hello)
    except (SupervisorError, CancelledError):
        session.close()
        raise
    return session


def _check_hello(address: Address, hello: object) -> None:
    """Raise BadRequest if the daemon speaks another version, and RemoteError if it is none."""
    spoken = hello.get("protocol") if isinstance(hello, dict) else None
    if spoken != wire.PROTOCOL_VERSION:
        raise BadRequest(
            f"{address}: that daemon speaks version {spoken} of the protocol, "
            f"this supervisorctl version {wire.PROTOCOL_VERSION}; upgrade the older one"
        )
    if not isinstance(hello, dict) or not hello.keys() >= {"version", "pid"}:
        raise RemoteError(f"{address}: the daemon does not say who it is")


class Session:
    """A `Control` whose programs are those of a daemon at the other end of a connection.

    Every method raises TimedOut if the daemon stops answering, and Unreachable if it goes away.
    """

    def __init__(self, address: Address, broker: LimitedBroker, clock: Clock) -> None:
        self.address = address
        self.hello: dict[str, Any] = {}
        self.lost = False
        self._broker = broker
        self._root = broker.remoteForName("root")
        self._clock = clock
        self._lost_listeners: list[Callable[[], None]] = []
        broker.notifyOnDisconnect(self._connection_lost)

    def on_lost(self, listener: Callable[[], None]) -> Cancel:
        """Call ``listener`` when the connection ends without `close`."""
        self._lost_listeners.append(listener)
        return lambda: self._stop_telling(listener)

    def _stop_telling(self, listener: Callable[[], None]) -> None:
        if listener in self._lost_listeners:
            self._lost_listeners.remove(listener)

    def expect_end(self) -> None:
        """Tell no listener when the connection ends: that is what is asked for."""
        self._lost_listeners.clear()

    def close(self) -> None:
        """End the session."""
        self.expect_end()
        self._broker.close()

    def _connection_lost(self) -> None:
        self.lost = True
        listeners, self._lost_listeners = self._lost_listeners, []
        for listener in listeners:
            listener()

    # Control.

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        """Tell how the daemon and the named programs stand."""
        return _record(DaemonStatus, await self.call("status", list(names)))

    async def why(self, names: Sequence[str]) -> Explained:
        """Tell why the named programs are as they are."""
        return _record(Explained, await self.call("why", list(names)))

    async def start(self, names: Sequence[str]) -> list[Outcome]:
        """Start what is down and wait."""
        return _outcomes(await self.call("start", list(names)))

    async def stop(self, names: Sequence[str], *, all_of_it: bool = False) -> list[Outcome]:
        """Stop what is up and wait."""
        return _outcomes(await self.call("stop_all_of_it" if all_of_it else "stop", list(names)))

    async def restart(self, names: Sequence[str]) -> list[Outcome]:
        """Stop what is up, start all, and wait."""
        return _outcomes(await self.call("restart", list(names)))

    async def scale(self, name: str, count: int) -> list[Outcome]:
        """Have so many processes of a program, and wait for all of it."""
        return _outcomes(await self.call("scale", name, count))

    async def signal(self, signame: str, names: Sequence[str]) -> list[Outcome]:
        """Send a signal to the main process of each program that is up."""
        return _outcomes(await self.call("signal", signame, list(names)))

    async def write_stdin(self, data: bytes, names: Sequence[str]) -> list[Outcome]:
        """Write to the standard input of programs."""
        return _outcomes(await self.call("write_stdin", data, list(names)))

    async def reload(self) -> ReloadAnswer:
        """Read the configuration again and apply it."""
        return _record(ReloadAnswer, await self.call("reload"))

    async def reread(self) -> ReloadAnswer:
        """Tell what `reload` would do."""
        return _record(ReloadAnswer, await self.call("reread"))

    async def shutdown(self) -> list[Outcome]:
        """Stop everything and end the daemon."""
        return _outcomes(await self.call("shutdown"))

    async def tail(self, name: str | None, lines: int) -> LogPiece:
        """Return the last lines of a log."""
        return await self._piece("tail", name, lines)

    async def read_log(self, name: str | None, offset: int, length: int) -> LogPiece:
        """Return a piece of a log."""
        return await self._piece("read_log", name, offset, length)

    async def clear(self, names: Sequence[str]) -> list[Outcome]:
        """Empty logs."""
        return _outcomes(await self.call("clear", list(names)))

    async def follow(
        self,
        name: str | None,
        offset: int,
        received: Callable[[LogPiece], Deferred[None] | None],
        *,
        epoch: str = "",
        refused: Callable[[Refused], None] = _ignore,
    ) -> Cancel:
        """Call ``received`` with each new piece of a log from ``offset`` on; return a way to stop.

        ``epoch`` is that of the piece which told of the offset. If the log is another one by now, it
        goes on with its last lines. ``refused`` is called if there is no such log any more.
        """
        subscription = await self.call("follow", name, offset, epoch, Receiver(received, refused))
        return lambda: self._unfollow(subscription)

    async def events(self, after: int, limit: int) -> EventsAnswer:
        """Tell what has happened after the event of that number."""
        return wire.events_of(await self.call("events", after, limit))

    async def follow_events(
        self, after: int, received: Callable[[EventsAnswer], Deferred[None] | None]
    ) -> Cancel:
        """Call ``received`` with what happens after the event of that number; return a way to stop."""
        subscription = await self.call("follow_events", after, EventReceiver(received))
        return lambda: self._unfollow(subscription)

    def _unfollow(self, subscription: int) -> None:
        if not self.lost:
            ended = self._root.callRemote("unfollow", subscription)
            ended.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))

    # One call.

    async def call(self, verb: str, *arguments: object) -> Any:
        """Ask the daemon for ``verb``; return the plain answer, or raise what it says went wrong."""
        whole = await self._whole(verb, *arguments)
        with _saying_where(self.address):
            return wire.open_envelope(wire.unpack(whole))

    async def _piece(self, verb: str, *arguments: object) -> LogPiece:
        whole = await self._whole(verb, *arguments)
        with _saying_where(self.address):
            return wire.unpack_piece(whole)

    async def _whole(self, verb: str, *arguments: object) -> bytes:
        """Return the whole answer to a call, in however many pages it comes."""
        collector = wire.Collector(await self._ask(verb, *arguments))
        while collector.next_page is not None:
            collector.add(await self._ask("page", collector.answer_id, collector.next_page))
        return collector.data()

    async def _ask(self, verb: str, *arguments: object) -> Any:
        """Make one call. A long one is waited for as long as the daemon answers pings meanwhile."""
        answer = self._remote(verb, *arguments)
        watch = _Watch(self._clock, lambda: self._remote("ping"), answer)
        try:
            return await answer
        except (pb.PBConnectionLost, pb.DeadReferenceError):
            raise Unreachable(f"{self.address}: the daemon has closed the connection") from None
        except Unsendable as error:
            raise BadRequest(f"the request cannot be sent: {error}") from None
        except CancelledError:
            if not watch.silent:
                raise
            raise TimedOut(f"{self.address}: the daemon does not answer") from None
        finally:
            watch.stop()

    def _remote(self, verb: str, *arguments: object) -> Deferred[Any]:
        if self.lost:
            raise Unreachable(f"{self.address}: the connection was lost")
        answer: Deferred[Any] = self._root.callRemote(verb, *arguments)
        return answer


class _Watch:
    """Gives up waiting for an answer when the daemon does not even answer a ping any more."""

    def __init__(
        self, clock: Clock, ping: Callable[[], Deferred[Any]], answer: Deferred[Any]
    ) -> None:
        self.silent = False
        self._clock = clock
        self._ping = ping
        self._answer = answer
        self._timer = clock.callLater(LIMITS.ping_seconds, self._look)
        self._pinging: Deferred[Any] | None = None

    def stop(self) -> None:
        """The answer is there, or never will be."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LIMITS.answer_seconds, self._give_up)
        self._pinging = self._ping()
        # A ping that fails says nothing: the answer that it watches over fails as well.
        self._pinging.addCallbacks(self._answered, _ignore)

    def _answered(self, _: object) -> None:
        self._pinging = None
        self._timer.cancel()
        self._timer = self._clock.callLater(LIMITS.ping_seconds, self._look)

    def _give_up(self) -> None:
        self._timer = self._clock.callLater(0, _nothing)  # so that stop() finds one
        self.silent = True
        self._answer.cancel()


@contextlib.contextmanager
def _saying_where(address: Address) -> Iterator[None]:
    """Let the errors that a daemon answers with name it, but for a refusal, which is its answer."""
    try:
        yield
    except (Denied, BadRequest) as error:
        raise type(error)(f"{address}: {error}") from None
    except Refused:
        raise
    except RemoteError as error:
        raise RemoteError(f"{address}: {error}") from None


def _nothing() -> None:
    pass


def _outcomes(plain: Any) -> list[Outcome]:
    if not isinstance(plain, list):
        raise RemoteError(NOT_UNDERSTOOD)
    return [_record(Outcome, item) for item in plain]


def _record(kind: type[Record], plain: Any) -> Record:
    """Return the record that a daemon tells of. Raises RemoteError if it is none."""
    try:
        return from_plain(kind, plain)
    except (ValueError, TypeError):
        raise RemoteError(NOT_UNDERSTOOD) from None
