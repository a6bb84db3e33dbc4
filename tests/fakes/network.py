"""A client's Session and a daemon's ControlFactory, with a network in memory between them."""

from __future__ import annotations

from typing import Any

from fakes.asking import Asked
from fakes.passing import pass_time
from twisted.internet.task import Clock
from twisted.test import iosim

from supervisortw.core.model import UnixAddress
from supervisortw.daemon.asked import AskedBy
from supervisortw.daemon.supervisor import Supervisor
from supervisortw.interfaces import Control
from supervisortw.remote.clientchannels import UnixChannel
from supervisortw.remote.clientgate import ClientGate
from supervisortw.remote.connection import Session
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import Peer
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

ADDRESS = UnixAddress(path="/run/test.sock")
ROOT = Peer(pid=4321, uid=0, gid=0)


class Network:
    """One connection from the gate to a session, in front of ``control``."""

    def __init__(self, control: Control, clock: Clock, peer: Peer = ROOT) -> None:
        self.clock = clock
        self.control = control
        self.factory = ControlFactory(control_portal(self._control_of), clock)
        self.gate: ServerGate = self.factory.unix().buildProtocol(None)
        self.gate._peer_of = lambda transport: peer
        self.client = ClientGate(
            clock=clock,
            broker=lambda: LimitedBroker(1, clock=clock, who="daemon"),
            channel=UnixChannel(str(ADDRESS), lambda: {0}, lambda transport: ROOT),
        )
        self.pump = iosim.connect(
            self.gate,
            iosim.makeFakeServer(self.gate),
            self.client,
            iosim.makeFakeClient(self.client),
            clock=clock,
        )
        self.opened = Asked(self.client.opened)
        self.pump.flush()

    def _control_of(self, who: str) -> Control:
        is_real = isinstance(self.control, Supervisor)
        return AskedBy(self.control, who) if is_real else self.control

    def log_in(self) -> Session:
        """Return a session, as `connect` makes it."""
        session = Session(ADDRESS, self.opened.answer, self.clock)
        hello: Asked[Any] = Asked(session.call("hello"))
        self.pump.flush()
        session.hello = hello.answer
        return session

    def pass_time(self, seconds: float = 0) -> None:
        """Deliver what is on its way, let ``seconds`` pass, and deliver what follows from it."""
        self.pump.flush()
        pass_time(self.clock, seconds, self.pump.flush)
