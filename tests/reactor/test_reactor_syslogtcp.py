"""A syslog server behind TCP, with a real one: there, gone, slow, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from fakes.giver import FakeGiver
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client

from supervisortw.core.syslog import SyslogAddress, Transport, counted
from supervisortw.daemon.addresses import Addresses
from supervisortw.daemon.syslogtcp import TcpServer

LOST = counted(b"<28>something may be missing")


class Connection(Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connectionMade(self) -> None:
        self.server.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.server.data += data


class Server(Factory):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.data = b""
        self.connections: list[Connection] = []
        self.port: Any = None
        self.number = 0

    def buildProtocol(self, address: object) -> Connection:
        return Connection(self)

    def listen(self) -> None:
        self.port = reactor.listenTCP(self.number, self, interface="127.0.0.1")
        self.number = self.port.getHost().port

    def stop(self) -> Deferred[object]:
        """Listen no more, and end what is connected."""
        port, self.port = self.port, None
        for connection in self.connections:
            connection.transport.abortConnection()
        self.connections.clear()
        return port.stopListening()

    def messages(self) -> list[bytes]:
        """Return what has come, each message by its count."""
        found, rest = [], self.data
        while rest:
            count, _, rest = rest.partition(b" ")
            found.append(rest[: int(count)])
            rest = rest[int(count) :]
        return found


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens; the time-out of the test is the limit."""
    while not true():
        await deferLater(reactor, 0.01)


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        self.server.listen()
        self.giver = FakeGiver()
        self.target = self.make("127.0.0.1")

    def make(self, host: str) -> TcpServer:
        address = SyslogAddress(transport=Transport.TCP, host=host, port=self.server.number)
        return TcpServer(address, Addresses(self._look_up), reactor, lambda: LOST)

    def _look_up(self, function: object, host: str, *_: object) -> Deferred[Any]:
        return fail(OSError(0, f"{host} is not known"))

    def put(self, *messages: bytes) -> None:
        assert self.target.has_room(self.giver)
        self.target.put(self.giver, [counted(message) for message in messages])

    async def close(self) -> None:
        self.target.close()
        if self.server.port is not None:
            await self.server.stop()
        await until(lambda: not reactor.getWriters())
        await deferLater(reactor, 0.05)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest_twisted.ensureDeferred
async def test_messages_arrive_over_one_connection(bench: Bench) -> None:
    bench.put(b"one")
    bench.put(b"two", b"three\nwith a newline")
    await until(lambda: len(bench.server.messages()) == 3)
    bench.put(b"four")
    await until(lambda: len(bench.server.messages()) == 4)
    assert bench.server.messages() == [b"one", b"two", b"three\nwith a newline", b"four"]
    assert len(bench.server.connections) == 1
    assert bench.target.trouble == ""


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_there_yet_is_tried_again(bench: Bench) -> None:
    await bench.server.stop()
    bench.put(b"one")
    await until(lambda: bool(bench.target.trouble))
    assert bench.target.trouble == "Connection refused"
    bench.server.listen()
    await until(lambda: bench.server.messages() == [b"one"])
    assert bench.target.trouble == ""


@pytest_twisted.ensureDeferred
async def test_what_may_be_missing_after_a_lost_connection_is_told(bench: Bench) -> None:
    bench.put(b"one")
    await until(lambda: bench.server.messages() == [b"one"])
    await bench.server.stop()
    await until(lambda: not any(isinstance(each, Client) for each in reactor.getReaders()))
    bench.server.listen()
    bench.put(b"two")
    await until(lambda: len(bench.server.messages()) == 3)
    assert bench.server.messages() == [b"one", b"<28>something may be missing", b"two"]


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_read_is_not_waited_for(bench: Bench) -> None:
    bench.put(b"0")
    await until(lambda: len(bench.server.connections) == 1)
    bench.server.connections[0].transport.pauseProducing()
    count = 1
    while bench.target.has_room(bench.giver):
        bench.put(b"%d" % count + b"x" * 8000)
        count += 1
        await deferLater(reactor, 0)
    assert bench.target.trouble == "it does not take messages fast enough"
    assert bench.giver.lost_data == []
    bench.server.connections[0].transport.resumeProducing()
    await until(lambda: bench.giver.rooms == 1)
    await until(lambda: len(bench.server.messages()) == count)
    assert [int(each.rstrip(b"x")) for each in bench.server.messages()] == list(range(count))


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_not_known_is_told(bench: Bench) -> None:
    bench.target = bench.make("log.example.com")
    bench.put(b"one")
    await until(lambda: bool(bench.target.trouble))
    assert bench.target.trouble == "log.example.com is not known"


@pytest_twisted.ensureDeferred
async def test_the_end_waits_until_all_is_sent(bench: Bench) -> None:
    done: Deferred[None] = Deferred()
    for number in range(20):
        bench.put(b"%d" % number + b"x" * 5000)
    bench.target.finish(lambda: done.callback(None))
    assert not done.called
    await done
    await until(lambda: len(bench.server.messages()) == 20)


@pytest_twisted.ensureDeferred
async def test_the_end_does_not_wait_for_who_is_not_there(bench: Bench) -> None:
    done: list[bool] = []
    bench.target.finish(lambda: done.append(True))
    assert done.pop()
    await bench.server.stop()
    bench.put(b"one")
    await until(lambda: bool(bench.target.trouble))
    bench.target.finish(lambda: done.append(True))
    assert done == [True]


@pytest_twisted.ensureDeferred
async def test_what_waits_when_it_is_closed_is_counted_as_lost(bench: Bench) -> None:
    await bench.server.stop()
    bench.put(b"one")
    await until(lambda: bool(bench.target.trouble))
    bench.target.close()
    assert bench.giver.lost_data == [b"3 one"]
