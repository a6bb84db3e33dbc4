"""Many hosts of one realm, opened by one client over real TLS: the password is stretched once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest_twisted
from fakes.control import FakeControl
from fakes.passwordserver import KDF, REALM, SALT, SECRET, USER, verifier
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from supervisortw.client.access import Access, Trust
from supervisortw.client.passwords import Passwords, Stretching
from supervisortw.client.pins import Pins
from supervisortw.core.fingerprint import digest_of
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import TcpAddress
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.remote import tls
from supervisortw.remote.connection import Session, connect
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

MANY = LIMITS.logins_at_once + 2
SOON = 6 * LIMITS.gate_seconds


class OneUser:
    """The accounts of each host."""

    def passwd(self) -> Passwd:
        record = Record(
            user=USER,
            role=Role.ADMIN,
            kdf=KDF,
            realm=REALM,
            salt=SALT,
            verifier=verifier(),
            changed="2026-11-28T00:00:00Z",
        )
        records = MappingProxyType({USER: record})
        return Passwd(secret=b"s" * 32, realm=REALM, kdf=KDF, records=records)


class Host:
    """A daemon's end of control connections, on a port of its own and with its own certificate."""

    def __init__(self) -> None:
        accounts = OneUser()
        portal = control_portal(lambda who: FakeControl(reactor), accounts=accounts)
        self.factory = ControlFactory(portal, reactor, accounts)
        certificate, key = tls.make("localhost")
        served = tls.secured(self.factory.tls(digest_of(certificate)), certificate, key, reactor)
        self.port = reactor.listenTCP(0, served, interface="127.0.0.1")
        self.address = TcpAddress(host="127.0.0.1", port=self.port.getHost().port)

    async def close(self) -> None:
        await self.port.stopListening()
        while self.factory._admission.waiting or self.factory._admission.sessions:
            await deferLater(reactor, 0.01)


class Client:
    """One run of a client, with what it remembers in ``place``."""

    def __init__(self, place: Path) -> None:
        self.stretches = 0
        self.connected: list[int] = []  # how often it had stretched when it connected
        self.access = Access(
            self.connect,
            Passwords(lambda: None, user=USER, given=SECRET.encode()),
            Stretching(self.in_thread),
            lambda: Pins(str(place / "known_hosts")),
            notice=lambda text: None,
            trust=Trust(),
        )

    def in_thread(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        self.stretches += 1
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    def connect(self, address: object, way: object) -> object:
        self.connected.append(self.stretches)
        return connect(reactor, address, way)  # type: ignore[arg-type]

    async def open_and_close(self, hosts: list[Host]) -> None:
        opening = [Deferred.fromCoroutine(self.access.connect(each.address)) for each in hosts]
        sessions: list[Session] = await gatherResults(opening).addTimeout(SOON, reactor)
        answers = [Deferred.fromCoroutine(session.status([])) for session in sessions]
        assert len(await gatherResults(answers)) == MANY
        for session in sessions:
            session.close()


@pytest_twisted.ensureDeferred
async def test_many_hosts_of_one_realm_stretch_once(tmp_path: Path) -> None:
    hosts = [Host() for _ in range(MANY)]
    try:
        for known in (
            0,
            1,
        ):  # then the realm is known, and stretched before anybody is connected to
            client = Client(tmp_path)
            await client.open_and_close(hosts)
            assert client.stretches == 1
            assert (len(client.connected), min(client.connected)) == (MANY, known)
    finally:
        closing = [Deferred.fromCoroutine(host.close()) for host in hosts]
        await gatherResults(closing).addTimeout(SOON, reactor)
