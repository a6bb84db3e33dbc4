import pytest
from remote_ends import Transport, encode
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.errors import Denied, TimedOut, Unreachable
from supervisortw.remote.clientchannels import UnixChannel
from supervisortw.remote.clientgate import ClientGate
from supervisortw.remote.frames import pack
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import Peer

HELLO = pack([b"PEER1"])
YES, NO = pack([b"\x01"]), pack([b"\x00"])
ROOT = Peer(pid=1, uid=0, gid=0)


def lose(gate) -> None:
    gate.connectionLost(Failure(ConnectionDone()))


class Client:
    def __init__(self, peer=ROOT, trusted=(0, 1000), connect=True) -> None:
        self.clock = Clock()
        self.brokers: list[LimitedBroker] = []
        self.gate = ClientGate(
            clock=self.clock,
            broker=self.broker,
            channel=UnixChannel("/run/control.sock", lambda: trusted, lambda transport: peer),
        )
        self.results: list = []
        self.gate.opened.addBoth(self.results.append)
        self.transport = Transport()
        if connect:
            self.gate.makeConnection(self.transport)

    def broker(self) -> LimitedBroker:
        self.brokers.append(LimitedBroker(1, clock=self.clock))
        return self.brokers[-1]

    def says(self, *errors) -> str:
        """Return the text of the one error that there is, all being cleared up."""
        [result] = self.results
        assert result.check(*errors)
        lose(self.gate)
        assert not self.clock.getDelayedCalls()
        assert len(self.results) == 1
        return str(result.value)


def test_a_client_is_let_in() -> None:
    client = Client()
    assert client.transport.value() == HELLO
    client.gate.dataReceived(YES + encode([b"pb", b"none"]))
    assert client.results == client.brokers
    assert not client.clock.getDelayedCalls()
    assert client.transport.value().startswith(HELLO + b"\x02\x82pb")
    lose(client.gate)
    assert client.brokers[0].disconnected
    assert len(client.results) == 1


def test_a_server_of_somebody_else_is_told_nothing() -> None:
    client = Client(peer=Peer(pid=9, uid=1001, gid=1001))
    assert client.transport.value() == b""
    assert client.transport.aborted
    text = "/run/control.sock: a process of another user (uid 1001) listens there; nothing was sent"
    assert client.says(Denied) == text


@pytest.mark.parametrize("peer", [None, Peer(pid=9, uid=65534, gid=0)])
def test_a_server_that_nobody_vouches_for_is_told_nothing(peer) -> None:
    client = Client(peer=peer, trusted=(0, 65534))
    assert client.transport.value() == b""
    assert "nothing was sent" in client.says(Denied)


def test_a_client_that_may_not_come_in_hears_so() -> None:
    client = Client()
    client.gate.dataReceived(NO)
    client.gate.dataReceived(YES)
    assert client.says(Denied) == "/run/control.sock: the daemon does not let this user in"
    assert not client.brokers


@pytest.mark.parametrize(
    "answer",
    [b"\xff\xff", b"HTTP/1.1 400 Bad Request\r\n", pack([b"\x02"]), pack([b"\x01", b""]), b"\0\0"],
)
def test_something_else_that_listens_is_no_supervisord(answer) -> None:
    client = Client()
    client.gate.dataReceived(answer)
    assert client.transport.aborted
    assert client.says(Unreachable).endswith("what listens there is no supervisord")


@pytest.mark.parametrize("answer", [b"", YES[:3], YES])
def test_a_daemon_that_does_not_answer_has_its_time(answer) -> None:
    client = Client()
    client.gate.dataReceived(answer)
    client.clock.advance(LIMITS.answer_seconds)
    assert client.transport.aborted
    assert client.says(TimedOut) == "/run/control.sock: no answer in 10 seconds"


@pytest.mark.parametrize("answer", [b"", YES, YES + encode([b"none"])])
def test_a_daemon_that_closes_is_unreachable(answer) -> None:
    client = Client()
    client.gate.dataReceived(answer)
    lose(client.gate)
    assert "the connection was closed" in client.says(Unreachable)


def test_a_client_can_give_up() -> None:
    client = Client()
    client.gate.opened.cancel()
    assert client.transport.aborted
    client.says(CancelledError)
    early = Client(connect=False)
    early.gate.opened.cancel()
    early.gate.makeConnection(early.transport)
    assert early.transport.aborted
    assert early.transport.value() == b""
    early.says(CancelledError)


def test_no_connection_is_told_to_whoever_still_waits() -> None:
    client = Client(connect=False)
    client.gate.not_connected(Unreachable("nobody listens"))
    assert client.says(Unreachable) == "nobody listens"
    early = Client(connect=False)
    early.gate.opened.cancel()
    early.gate.not_connected(Unreachable("nobody listens"))
    early.says(CancelledError)
