"""Logins by password over real connections: UNIX, TCP, and TCP with TLS."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import pytest
import pytest_twisted
from fakes.authority import Authority
from fakes.control import FakeControl
from fakes.passwordserver import KDF, REALM, SALT, SECRET, USER, stretched, verifier
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from supervisortw.core.fingerprint import digest_of
from supervisortw.core.model import TcpAddress, UnixAddress
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.core.srp import Kdf
from supervisortw.errors import Denied, Unreachable, WrongPassword
from supervisortw.remote import tls
from supervisortw.remote.connection import connect
from supervisortw.remote.dialling import Way
from supervisortw.remote.passwordlogin import PasswordLogin
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

ALICE = Record(
    user=USER,
    role=Role.ADMIN,
    kdf=KDF,
    realm=REALM,
    salt=SALT,
    verifier=verifier(),
    changed="2026-11-22T07:00:00Z",
)
CERTIFICATE, KEY = tls.make("here.example")
DIGEST = digest_of(CERTIFICATE)


class Accounts:
    def passwd(self) -> Passwd:
        records = MappingProxyType({USER: ALICE})
        return Passwd(secret=b"s" * 32, realm=REALM, kdf=KDF, records=records)


class Server:
    """A daemon's end of control connections, on a port or a socket of this machine."""

    def __init__(self) -> None:
        control = FakeControl(reactor, ["web"])
        self.factory = ControlFactory(
            control_portal(lambda who: control, accounts=Accounts()), reactor, Accounts()
        )
        self.ports: list[Any] = []

    def tcp(self, factory: Any, interface: str = "127.0.0.1") -> TcpAddress:
        port = reactor.listenTCP(0, factory, interface=interface)
        self.ports.append(port)
        return TcpAddress(host=interface, port=port.getHost().port)

    def with_tls(
        self, certificate: bytes = CERTIFICATE, key: bytes = KEY, **where: str
    ) -> TcpAddress:
        factory = self.factory.tls(digest_of(certificate))
        return self.tcp(tls.secured(factory, certificate, key, reactor), **where)

    async def stop(self) -> None:
        self.factory.close_sessions()
        while self.ports:
            await self.ports.pop().stopListening()
        while self.factory._sessions or self.factory._admission.waiting:
            await deferLater(reactor, 0.01)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


def login(password: str = SECRET) -> PasswordLogin:
    async def stretch(kdf: Kdf, realm: bytes) -> bytes:
        assert kdf == KDF
        return stretched(password, USER, realm)

    return PasswordLogin(USER, stretch)


async def asked(address: TcpAddress | UnixAddress, way: Way) -> list[str]:
    session = await connect(reactor, address, way)
    status = await session.status([])
    session.close()
    while not session.lost:
        await deferLater(reactor, 0.01)
    return [program.name for program in status.programs]


@pytest_twisted.ensureDeferred
async def test_over_tls(server: Server) -> None:
    mine = login()
    assert await asked(server.with_tls(), Way(login=mine)) == ["web"]
    assert mine.binding is not None
    assert (mine.binding.kind, mine.binding.certificate) == ("tls-exporter", DIGEST)
    assert mine.asked == (KDF, REALM)


@pytest_twisted.ensureDeferred
async def test_with_the_certificate_that_is_known(server: Server) -> None:
    assert await asked(server.with_tls(), Way(login=login(), certificate=DIGEST)) == ["web"]


@pytest_twisted.ensureDeferred
async def test_another_certificate_is_told_nothing(server: Server) -> None:
    mine = login()
    address = server.with_tls()
    way = Way(login=mine, certificate=b"\x22" * 32, advice="; ask")
    with pytest.raises(Denied) as caught:
        await connect(reactor, address, way)
    told = str(caught.value)
    assert told.startswith(f"{address}: its certificate is SHA256:{DIGEST.hex()}, and not SHA256:2")
    assert told.endswith("; nothing was sent; ask")
    assert mine.asked is None


@pytest_twisted.ensureDeferred
async def test_an_authority_can_vouch_for_it(server: Server) -> None:
    ours = Authority()
    address = server.with_tls(*ours.sign("127.0.0.1"))
    assert await asked(address, Way(login=login(), authorities=ours.pem)) == ["web"]
    with pytest.raises(Denied, match=r"not for other\.example"):
        await connect(
            reactor, address, Way(login=login(), authorities=ours.pem, name="other.example")
        )
    with pytest.raises(Denied, match="not believed here; nothing was sent"):
        await connect(reactor, address, Way(login=login(), authorities=Authority("theirs").pem))


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_told_as_such(server: Server) -> None:
    address = server.with_tls()
    with pytest.raises(WrongPassword, match=f"^{address}: wrong password for alice"):
        await connect(reactor, address, Way(login=login("another one")))
    assert await asked(address, Way(login=login())) == ["web"]


@pytest_twisted.ensureDeferred
async def test_over_tcp_without_tls_if_both_ends_say_so(server: Server) -> None:
    address = server.tcp(server.factory.plain())
    assert await asked(address, Way(login=login(), plain=True)) == ["web"]
    mine = login()
    with pytest.raises(Unreachable, match=r"closed before|does not speak TLS"):
        await connect(reactor, address, Way(login=mine))
    assert mine.asked is None
    with pytest.raises(Unreachable, match=r"does it speak TLS|no supervisord"):
        await connect(reactor, server.with_tls(), Way(login=mine, plain=True))
    assert mine.asked is None


@pytest_twisted.ensureDeferred
async def test_on_a_socket_of_this_machine(server: Server) -> None:
    directory = tempfile.mkdtemp(prefix="sv-", dir="/tmp")
    try:
        path = f"{directory}/s"
        server.ports.append(reactor.listenUNIX(path, server.factory.unix()))
        os.chmod(path, 0o600)
        assert await asked(UnixAddress(path=path), Way(login=login())) == ["web"]
        with pytest.raises(WrongPassword):
            await connect(reactor, UnixAddress(path=path), Way(login=login("another one")))
    finally:
        await server.stop()
        shutil.rmtree(directory)


class Babbler(Protocol):
    """Speaks something else."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"220 mail.example ESMTP\r\n")


@pytest_twisted.ensureDeferred
async def test_what_is_no_supervisord(server: Server) -> None:
    babbler = server.tcp(Factory.forProtocol(Babbler))
    with pytest.raises(
        Unreachable, match=rf"^{babbler}: what listens there does not speak TLS 1\.3"
    ):
        await connect(reactor, babbler, Way(login=login()))
    await server.stop()
    with pytest.raises(Unreachable, match=f"^{babbler}: nobody listens there"):
        await connect(reactor, babbler, Way(login=login()))
    nowhere = TcpAddress(host="no-such-host.invalid", port=9001)
    with pytest.raises(Unreachable, match=r"^no-such-host\.invalid:9001: "):
        await connect(reactor, nowhere, Way(login=login()))


@pytest_twisted.ensureDeferred
async def test_a_name_with_several_addresses(server: Server) -> None:
    address = server.with_tls()
    for host in ("localhost", ""):
        there = TcpAddress(host=host, port=address.port)
        assert await asked(there, Way(login=login())) == ["web"]
