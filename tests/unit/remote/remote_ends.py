"""What the tests of the wire have in common: brokers on transports in memory, and their log."""

from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.spread import banana, pb

from supervisortw.core.limits import LIMITS
from supervisortw.remote.expressions import Expressions
from supervisortw.remote.limited import LimitedBroker


class Root(pb.Root):
    """Something to call: what it was called with, and answers that come when they are fired."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.pending: list[Deferred] = []

    def remote_echo(self, *args, **kw):
        self.calls.append((args, kw))
        return args[0] if len(args) == 1 else list(args)

    def remote_later(self):
        self.pending.append(Deferred())
        return self.pending[-1]

    def remote_fail(self, text="secret"):
        raise KeyError(text)

    def remote_fail_later(self):
        self.pending.append(Deferred())
        return self.pending[-1]

    async def remote_coroutine(self, value):
        return value


class Turns(Clock):
    """A clock that can let one turn of a reactor pass: what is due now, and not what that adds."""

    def turn(self) -> None:
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Transport(StringTransport):
    """Bytes in memory, with what a real transport allows after the end."""

    def __init__(self) -> None:
        super().__init__(lenient=True)
        self.aborted = 0

    def abortConnection(self):
        self.aborted += 1
        super().abortConnection()


class End:
    """A `LimitedBroker` whose peer is the test, which writes whatever it likes."""

    def __init__(self, *, client: bool = False, root=None, limits=LIMITS, greet=True) -> None:
        self.clock = Turns()
        self.root = Root() if root is None else root
        self.transport = Transport()
        self.broker = LimitedBroker(
            int(client), clock=self.clock, root=self.root, who="uid 1 (pid 2)", limits=limits
        )
        self.broker.makeConnection(self.transport)
        if greet:
            self.send([b"pb"] if client else b"pb", [b"version", 6])
            self.sent()

    def write(self, data: bytes) -> None:
        self.broker.dataReceived(data)

    def send(self, *expressions) -> None:
        self.write(b"".join(encode(expression) for expression in expressions))

    def call(self, verb, *args, request=1, target=b"root", wanted=1, kw=(b"dictionary",)) -> None:
        self.send(message(verb, *args, request=request, target=target, wanted=wanted, kw=kw))

    def sent(self) -> list:
        """Return and forget the expressions that the broker has sent."""
        reader = Expressions()
        reader.feed(self.transport.value())
        self.transport.clear()
        found = []
        while (value := reader.next()) is not None:
            found.append(value)
        return found

    def lose(self) -> None:
        self.broker.connectionLost(Failure(ConnectionAborted()))

    @property
    def paused(self) -> bool:
        return self.transport.producerState == "paused"


def message(verb, *args, request=1, target=b"root", wanted=1, kw=(b"dictionary",)) -> list:
    return [b"message", request, target, verb, wanted, [b"tuple", *args], list(kw)]


def encode(expression) -> bytes:
    """Return banana as a peer without our limits would write it."""
    if isinstance(expression, (list, tuple)):
        return number(len(expression)) + banana.LIST + b"".join(map(encode, expression))
    if isinstance(expression, bytes):
        return number(len(expression)) + banana.STRING + expression
    if isinstance(expression, int):
        return number(abs(expression)) + (banana.LONGINT if expression >= 0 else banana.LONGNEG)
    return banana.encode(expression)


def number(value: int) -> bytes:
    told: list[bytes] = []
    banana.int2b128(value, told.append)
    return b"".join(told)


@contextmanager
def log_lines(level=LogLevel.info):
    """Collect the lines that are logged at ``level`` or above."""
    lines: list[str] = []

    def observe(event) -> None:
        if event.get("log_level", LogLevel.info) >= level:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)
