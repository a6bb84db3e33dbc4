"""How often, and where, a connection to a syslog server is tried."""

from __future__ import annotations

import socket
from typing import Any

from fakes.giver import FakeGiver
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.core.syslog import SyslogAddress, Transport
from supervisortw.daemon.addresses import Addresses
from supervisortw.daemon.syslogtcp import TcpServer


class Bench:
    def __init__(self, host: str = "127.0.0.1") -> None:
        self.reactor = MemoryReactorClock()
        self.looked_up: list[Deferred[Any]] = []
        address = SyslogAddress(transport=Transport.TCP, host=host, port=601)
        addresses = Addresses(self._look_up)
        self.target = TcpServer(address, addresses, self.reactor, lambda: b"lost")
        self.giver = FakeGiver()

    def _look_up(self, *_: object) -> Deferred[Any]:
        self.looked_up.append(Deferred())
        return self.looked_up[-1]

    def put(self) -> None:
        self.target.put(self.giver, [b"3 one"])

    @property
    def tried(self) -> list[tuple[str, int]]:
        return [(client[0], client[1]) for client in self.reactor.tcpClients]

    def refuse(self, error: Exception | None = None) -> None:
        """Let the last try fail."""
        factory = self.reactor.tcpClients[-1][2]
        failure = Failure(error or ConnectionRefusedError(osError=111))
        factory.clientConnectionFailed(None, failure)

    def accept(self) -> StringTransport:
        """Let the last try succeed."""
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return transport


def test_nothing_is_tried_before_there_is_something_to_send() -> None:
    bench = Bench()
    assert bench.tried == []
    bench.put()
    bench.put()
    assert bench.tried == [("127.0.0.1", 601)]
    assert bench.accept().value() == b"3 one3 one"


def test_tries_are_made_less_and_less_often() -> None:
    bench = Bench()
    bench.put()
    delays = []
    for _ in range(7):
        bench.refuse()
        [call] = bench.reactor.getDelayedCalls()
        delays.append(call.getTime() - bench.reactor.seconds())
        bench.put()
        assert bench.reactor.getDelayedCalls() == [call], "it is not tried the sooner"
        bench.reactor.advance(delays[-1])
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert max(delays) == LIMITS.syslog_retry_seconds_max


def test_whoever_asks_for_it_has_it_tried_at_once() -> None:
    bench = Bench()
    bench.put()
    bench.refuse()
    bench.target.reopen()
    assert len(bench.tried) == 2
    assert bench.reactor.getDelayedCalls() == []


def test_a_connection_that_has_lasted_is_made_again_soon() -> None:
    bench = Bench()
    bench.put()
    for _ in range(3):
        bench.refuse()
        bench.reactor.advance(LIMITS.syslog_retry_seconds_max)
    bench.accept()
    bench.reactor.advance(LIMITS.syslog_retry_seconds_max + 1)
    bench.target.disconnected("it has closed the connection")
    bench.put()
    assert len(bench.tried) == 5, "at once"


def test_all_addresses_of_a_name_are_tried() -> None:
    bench = Bench("log.example.com")
    bench.put()
    [lookup] = bench.looked_up
    found = [("::1", 601, 0, 0), ("127.0.0.1", 601)]
    lookup.callback([(socket.AF_INET6, found[0]), (socket.AF_INET, found[1])])
    assert bench.tried == [("::1", 601)]
    bench.refuse(TimeoutError())
    assert bench.tried == [("::1", 601), ("127.0.0.1", 601)]
    assert bench.target.trouble == ""
    bench.refuse(TimeoutError())
    assert bench.target.trouble == "it does not answer"


def test_each_try_looks_the_name_up_anew() -> None:
    bench = Bench("log.example.com")
    bench.put()
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    bench.looked_up[0].errback(Failure(unknown))
    assert bench.target.trouble == "Name or service not known"
    bench.reactor.advance(1)
    assert len(bench.looked_up) == 2
    bench.target.close()
    assert bench.looked_up[1].called, "nobody waits for it"
    assert bench.reactor.getDelayedCalls() == []
    assert bench.giver.lost_data == [b"3 one"]


def test_a_connection_that_takes_no_more_gets_no_more() -> None:
    bench = Bench()
    bench.put()
    transport = bench.accept()
    bench.target.pauseProducing()
    bench.put()
    assert transport.value() == b"3 one"
    bench.target.resumeProducing()
    assert transport.value() == b"3 one" * 2


def test_what_was_given_to_a_connection_that_is_lost_is_in_doubt() -> None:
    bench = Bench()
    bench.put()
    bench.accept()
    bench.target.disconnected("it has closed the connection")
    bench.put()
    bench.reactor.advance(1)
    assert bench.accept().value() == b"lost3 one"


def test_it_is_not_tried_any_more_once_it_is_closed() -> None:
    bench = Bench("log.example.com")
    bench.put()
    bench.looked_up[0].callback(
        [(socket.AF_INET, ("127.0.0.1", 601)), (socket.AF_INET, ("::1", 1))]
    )
    bench.target.close()
    bench.refuse()
    assert len(bench.tried) == 1
    assert bench.reactor.getDelayedCalls() == []
