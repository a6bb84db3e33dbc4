"""Logins by password over real TCP, with and without TLS around it."""

from __future__ import annotations

import datetime
import hashlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.control import FakeControl
from fakes.passwords import PASSWORD, FakeAccounts, PasswordClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
)
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.task import deferLater

from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import UNBOUND, Binding
from supervisortw.remote.channel import PLAIN_CHANNEL, Channel
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

SOON = LIMITS.gate_seconds - 5  # before the gate would end a connection by itself


def certificate() -> tuple[CertificateOptions, bytes]:
    """Return what serves TLS with a certificate that was just made, and its hash."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    options = CertificateOptions(
        privateKey=key, certificate=made, raiseMinimumTo=TLSVersion.TLSv1_3
    )
    return options, hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).digest()


class Client(Protocol):
    """Logs in; ``answered`` fires with whether that went well, and ``ended`` at the end."""

    def __init__(self, password: str, binding_of: Callable[[Any], Binding]) -> None:
        self._client = PasswordClient(password=password)
        self._binding_of = binding_of
        self._buffer = b""
        self.answered: Deferred[bool] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._client.hello())

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if self._client.proofs is None:
            if len(self._buffer) == 453:
                self._client._binding = self._binding_of(self.transport)
                self.transport.write(self._client.proof(self._buffer))
                self._buffer = b""
        elif not self.answered.called and len(self._buffer) >= 5:
            self.answered.callback(self._buffer.startswith(self._client.admitted()))

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


class Daemon:
    def __init__(self, *, tls: bool) -> None:
        accounts = FakeAccounts()
        portal = control_portal(lambda who: FakeControl(reactor), accounts=accounts)
        self.factory = ControlFactory(portal, reactor, accounts)
        self._tls = tls
        self.binding_of: Callable[[Any], Binding] = lambda transport: UNBOUND
        self._channel = PLAIN_CHANNEL
        if tls:
            self._options, self._digest = certificate()
            self.binding_of = self._binding
            self._channel = Channel(over_tcp=True, binding_of=self._binding)

    def _binding(self, transport: Any) -> Binding:
        connection = transport.getHandle()
        assert connection.get_protocol_version_name() == "TLSv1.3"
        exported = connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        return Binding(kind="tls-exporter", data=exported, certificate=self._digest)

    async def listen(self) -> None:
        endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        if self._tls:
            endpoint = SSL4ServerEndpoint(reactor, 0, self._options, interface="127.0.0.1")
        self.port = await endpoint.listen(self.factory._through(self._channel))

    async def connect(self, password: str) -> Client:
        port = self.port.getHost().port
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        if self._tls:
            endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", port, CertificateOptions())
        client = Client(password, self.binding_of)
        return await connectProtocol(endpoint, client)

    async def all_gone(self) -> None:
        admission = self.factory._admission
        while admission.waiting or admission.sessions:
            await deferLater(reactor, 0.01)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest_twisted.ensureDeferred
async def test_who_knows_the_password_comes_in_and_nobody_else(tls: bool) -> None:
    daemon = Daemon(tls=tls)
    await daemon.listen()
    try:
        right = await daemon.connect(PASSWORD)
        assert await right.answered.addTimeout(SOON, reactor)
        [broker] = daemon.factory._sessions
        server: socket.socket = broker.transport.socket
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wrong = await daemon.connect("wrong")
        assert not await wrong.answered.addTimeout(SOON, reactor)
        await wrong.ended.addTimeout(SOON, reactor)
        assert daemon.factory._admission.sessions == 1
        right.transport.loseConnection()
        await right.ended.addTimeout(SOON, reactor)
        gone: Deferred[None] = Deferred.fromCoroutine(daemon.all_gone())
        await gone.addTimeout(SOON, reactor)
    finally:
        await daemon.port.stopListening()
