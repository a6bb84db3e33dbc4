"""The daemon's end of control connections: gate, then login, then a broker for the session."""

# The broker underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import socket
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.protocol import Protocol
from twisted.spread import pb

from supervisortw.auth.peer import PeerCredentials
from supervisortw.auth.users import at_home
from supervisortw.interfaces import Clock
from supervisortw.remote.gate import AdmissionCounter, Logout, ServerGate, ServerGates
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import Peer, peer_credentials


class ControlFactory(ServerGates):
    """Serves every control connection of a daemon; the sessions of all listeners count together."""

    def __init__(self, portal: Portal, clock: Clock) -> None:
        super().__init__(self._gate)
        self._portal = portal
        self._clock = clock
        self._admission = AdmissionCounter(at_home())
        self._brokers: set[LimitedBroker] = set()

    def unix(self) -> ControlFactory:
        """Return the factory for a UNIX socket."""
        return self

    def tls(self, certificate_sha256: bytes) -> ControlFactory:
        """Return the factory for what comes out of TLS."""
        return self

    def plain(self) -> ControlFactory:
        """Return the factory for TCP without TLS."""
        return self

    def anonymous(self) -> ControlFactory:
        """Return the factory that lets everybody in."""
        return self

    def close_sessions(self) -> None:
        """End every session, once what was answered is on its way."""
        for broker in list(self._brokers):
            broker.close()

    def _gate(self) -> ServerGate:
        return ServerGate(
            clock=self._clock, login=self._login, broker=self._broker, admission=self._admission
        )

    async def _login(self, peer: Peer) -> tuple[Any, Logout]:
        credentials = PeerCredentials(uid=peer.uid)
        _, avatar, logout = await self._portal.login(credentials, None, pb.IPerspective)
        return avatar, logout

    def _broker(self, avatar: Any, who: str) -> Protocol:
        broker = LimitedBroker(0, clock=self._clock, root=avatar, who=who)
        self._brokers.add(broker)
        broker.notifyOnDisconnect(lambda: self._brokers.discard(broker))
        return broker


def peer_pid(connected: socket.socket) -> int | None:
    """Return the pid of the process at the other end of a UNIX socket, if the system tells it."""
    peer = peer_credentials(_Handle(connected))
    return peer.pid or None if peer else None


class _Handle:
    """A socket where a transport is asked for."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected

    def getHandle(self) -> socket.socket:
        return self._connected
