"""Both ends, from the gate to a call and back, on a simulated network."""

import pytest
from remote_ends import Root
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.spread import pb
from twisted.test import iosim

from supervisortw.core.limits import LIMITS
from supervisortw.errors import RemoteError
from supervisortw.remote.admission import AdmissionCounter
from supervisortw.remote.clientchannels import UnixChannel
from supervisortw.remote.clientgate import ClientGate
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import Peer
from supervisortw.remote.security import call_verb

ME = Peer(pid=1, uid=0, gid=0)


class Receiver(pb.Referenceable):
    """A client's object for the daemon to call."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def remote_piece(self, data) -> None:
        self.pieces.append(data)

    def remote_break(self):
        raise KeyError("what the daemon need not know")


class Facade(pb.Referenceable):
    """What a session publishes: a closed table of verbs."""

    def __init__(self) -> None:
        self.receiver = None
        self.verbs = {"follow": self.follow, "push": self.push, "echo": lambda *values: values}

    def remoteMessageReceived(self, broker, message, args, kw):
        return call_verb(self.verbs, broker, message, args, kw)

    def follow(self, receiver) -> int:
        self.receiver = receiver
        return 1

    async def push(self, data: bytes) -> str:
        return repr(await self.receiver.callRemote("piece", data))


class Network:
    def __init__(self, root) -> None:
        self.clock = Clock()
        self.server_broker = None
        self.logouts = 0
        admission = AdmissionCounter(frozenset({0}))
        self.server = ServerGate(
            clock=self.clock,
            login=self.login,
            broker=self.broker,
            admission=admission,
            peer_of=lambda transport: ME,
        )
        self.client = ClientGate(
            clock=self.clock,
            broker=lambda: LimitedBroker(1, clock=self.clock),
            channel=UnixChannel("memory", lambda: {0}, lambda transport: ME),
        )
        self.root = root
        self.admission = admission
        self.pump = iosim.connect(
            self.server,
            iosim.makeFakeServer(self.server),
            self.client,
            iosim.makeFakeClient(self.client),
            clock=self.clock,
        )

    async def login(self, peer):
        assert peer.uid == ME.uid
        return self.root, self.logout

    def logout(self) -> None:
        self.logouts += 1

    def broker(self, root, who):
        self.server_broker = LimitedBroker(0, clock=self.clock, root=root, who=who)
        return self.server_broker

    def wait_for(self, deferred: Deferred):
        results: list = []
        deferred.addBoth(results.append)
        self.pump.flush()
        [result] = results
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def connect(self) -> pb.RemoteReference:
        return self.wait_for(self.client.opened).remoteForName("root")


def test_from_the_gate_to_a_callback_and_back() -> None:
    network = Network(Facade())
    root = network.connect()
    value = (None, True, -(2**63), 2.5, "täxt", b"\x00\xff", [{"key": ()}], ())
    assert network.wait_for(root.callRemote("echo", *value)) == value
    receiver = Receiver()
    assert network.wait_for(root.callRemote("follow", receiver)) == 1
    assert network.wait_for(root.callRemote("push", b"line\n")) == "None"
    assert receiver.pieces == [b"line\n"]
    with pytest.raises(RemoteError, match="bad request"):
        network.wait_for(root.callRemote("nosuch"))


def test_an_error_of_the_client_stays_there() -> None:
    facade = Facade()
    network = Network(facade)
    root = network.connect()
    network.wait_for(root.callRemote("follow", Receiver()))
    with pytest.raises(RemoteError, match=r"^internal error$"):
        network.wait_for(facade.receiver.callRemote("break"))


def test_references_are_given_back_at_both_ends() -> None:
    facade = Facade()
    network = Network(facade)
    root = network.connect()
    network.wait_for(root.callRemote("follow", Receiver()))
    client_broker = network.client._broker
    assert len(client_broker.localObjects) == 1
    facade.receiver = None
    network.pump.flush()
    assert not client_broker.localObjects
    assert list(network.server_broker.localObjects) == [b"root"]


def test_a_thousand_calls_at_once_are_all_answered_in_order() -> None:
    network = Network(Facade())
    root = network.connect()
    answers: list = []
    for number in range(1000):
        root.callRemote("echo", number).addCallback(answers.append)
    network.pump.flush()
    assert answers == [(number,) for number in range(1000)]


def test_more_calls_than_may_be_owed_are_all_answered() -> None:
    served = Root()
    network = Network(served)
    root = network.connect()
    answers: list = []
    for _ in range(3 * LIMITS.broker_answers_owed):
        root.callRemote("later").addCallback(answers.append)
    network.pump.flush()
    assert len(served.pending) == LIMITS.broker_answers_owed
    while served.pending:
        served.pending.pop(0).callback(1)
        network.pump.flush()
    assert len(answers) == 3 * LIMITS.broker_answers_owed


@pytest.mark.parametrize("end", ["client", "server"])
def test_when_an_end_closes_everybody_knows(end) -> None:
    network = Network(Root())
    root = network.connect()
    waiting = root.callRemote("later")
    network.pump.flush()
    gone: list = []
    root.notifyOnDisconnect(gone.append)
    (network.client._broker if end == "client" else network.server_broker).close()
    with pytest.raises(pb.PBConnectionLost):
        network.wait_for(waiting)
    assert gone == [root]
    network.pump.flush()
    assert network.logouts == 1
    assert network.admission.sessions == 0
    assert not network.clock.getDelayedCalls()
