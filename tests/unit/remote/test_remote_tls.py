"""TLS between two ends in memory: what is taken, what is refused, and what a login is bound to."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from fakes.authority import Authority
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim
from zope.interface import implementer

from supervisortw.core.fingerprint import digest_of
from supervisortw.core.srp import Binding
from supervisortw.errors import AuthError, LocalError
from supervisortw.remote import certificate
from supervisortw.remote.tls import (
    ClientConnections,
    client_binding,
    make,
    pinned,
    proven_later,
    secured,
    server_binding,
    vouched_for,
)

HOST = "daemon.fleet.example"
HELLO = b"a first message"


class End(Protocol):
    """Says ``first`` as soon as it can, and remembers what it hears."""

    first = b""

    def __init__(self) -> None:
        self.heard = b""
        self.reason: Failure | None = None
        self.binding: Any = None

    def connectionMade(self) -> None:
        if self.first:
            self.transport.write(self.first)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


class Speaker(End):
    first = HELLO


class Pair:
    """A server with a certificate and a client, connected, as far as they get."""

    def __init__(self, own: tuple[bytes, bytes], client: Any) -> None:
        clock = Clock()
        factory = secured(Factory.forProtocol(End), *own, clock)
        outer = factory.buildProtocol(None)  # type: ignore[arg-type]
        wrapped = TLSMemoryBIOFactory(client, True, Factory.forProtocol(Speaker), clock)
        inner = wrapped.buildProtocol(None)
        self.digest = digest_of(own[0])
        self.server: End = outer.wrappedProtocol  # type: ignore[union-attr]
        self.client: Speaker = inner.wrappedProtocol
        pump = iosim.connect(
            outer, iosim.makeFakeServer(outer), inner, iosim.makeFakeClient(inner), greet=False
        )
        pump.flush()
        clock.advance(0)  # what is written in one turn is sent in one record
        pump.flush()

    def bindings(self) -> tuple[Binding, Binding]:
        """Return the server's and the client's."""
        theirs = server_binding(self.server.transport, self.digest)
        return theirs, client_binding(self.client.transport)


@cache
def own() -> tuple[bytes, bytes]:
    return make(HOST)


@cache
def authority() -> Authority:
    return Authority()


@implementer(IOpenSSLClientConnectionCreator)
class Old:
    """A client of an older version of TLS."""

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        return SSL.Connection(context, None)


class TestBinding:
    def test_both_ends_have_the_same(self) -> None:
        pair = Pair(own(), proven_later())
        theirs, ours = pair.bindings()
        assert theirs == ours
        assert ours.kind == "tls-exporter"
        assert len(ours.data) == 32
        assert ours.certificate == digest_of(own()[0])
        assert pair.server.heard == HELLO

    def test_another_connection_has_another(self) -> None:
        first, second = (Pair(own(), proven_later()).bindings()[0] for _ in range(2))
        assert first.data != second.data

    def test_before_the_handshake_there_is_none(self) -> None:
        end = secured(Factory.forProtocol(End), *own(), Clock()).buildProtocol(None)  # type: ignore[arg-type]
        assert end is not None
        end.makeConnection(StringTransport())  # type: ignore[arg-type]
        with pytest.raises(AuthError, match=r"TLS 1.3 is not established"):
            server_binding(end, b"x" * 32)
        with pytest.raises(AuthError, match=r"TLS 1.3 is not established"):
            client_binding(end)

    @pytest.mark.parametrize("transport", [StringTransport(), object(), None])
    def test_without_tls_there_is_none(self, transport: object) -> None:
        with pytest.raises(AuthError, match="this connection has no TLS"):
            server_binding(transport, b"x" * 32)
        with pytest.raises(AuthError, match="this connection has no TLS"):
            client_binding(transport)

    def test_after_the_end_there_is_none(self) -> None:
        pair = Pair(own(), proven_later())
        transport = pair.client.transport
        assert transport is not None
        transport.connectionLost(Failure(connectionDone.value))  # type: ignore[attr-defined]
        with pytest.raises(AuthError, match="this connection has no TLS"):
            client_binding(transport)

    def test_an_older_version_gives_none(self) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate(x509.load_pem_x509_certificate(own()[0]))
        context.use_privatekey(load_pem_private_key(own()[1], None))  # type: ignore[arg-type]
        server, client = SSL.Connection(context, None), SSL.Connection(context, None)
        server.set_accept_state()
        client.set_connect_state()
        for _ in range(4):
            for end, other in ((client, server), (server, client)):
                with_data(end, other)

        class Transport:
            def getHandle(self) -> SSL.Connection:
                return client

        assert client.get_protocol_version_name() == "TLSv1.2"
        with pytest.raises(AuthError, match=r"not established \(but TLSv1.2\)"):
            client_binding(Transport())


def with_data(end: SSL.Connection, other: SSL.Connection) -> None:
    """Let ``end`` go on with its handshake, and ``other`` have what it says."""
    with suppress(SSL.WantReadError):
        end.do_handshake()
    with suppress(SSL.WantReadError):
        other.bio_write(end.bio_read(65536))


def shaken_hands(end: Any, context: ssl.SSLContext, session: Any) -> ssl.SSLObject:
    """Return Python's own client of ``end``, after their handshake."""
    transport = StringTransport()
    end.makeConnection(transport)
    back, to = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, to, session=session)
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        data = to.read()
        if data:
            end.dataReceived(data)
        back.write(transport.value())
        transport.clear()
    with pytest.raises(ssl.SSLWantReadError):
        client.read()  # takes in tickets, if any have come
    return client


class TestServer:
    def test_tls_12_is_refused(self) -> None:
        pair = Pair(own(), Old())
        assert pair.server.heard == b""
        assert pair.client.reason is not None
        assert "protocol version" in str(pair.client.reason.value)

    def test_no_session_is_resumed(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        factory = secured(Factory.forProtocol(End), *own(), Clock())
        session = None
        for _ in range(2):
            end = factory.buildProtocol(None)  # type: ignore[arg-type]
            assert end is not None
            client = shaken_hands(end, context, session)
            assert client.version() == "TLSv1.3"
            assert not client.session_reused
            session = client.session

    def test_a_certificate_can_come_with_those_above_it(self) -> None:
        signed, key = authority().sign(HOST)
        pair = Pair((signed + authority().pem, key), proven_later())
        assert pair.server.heard == HELLO
        assert pair.bindings()[1].certificate == digest_of(signed)

    @pytest.mark.parametrize(
        ("certificates", "key", "reason"),
        [
            (b"", own()[1], "there is no certificate in it"),
            (own()[1], own()[1], "there is no certificate in it"),
            (own()[0], b"", "there is no private key in it"),
            (own()[0], own()[0], "there is no private key in it"),
            (own()[0], make(HOST)[1], "certificate and key cannot be used: .*mismatch"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, certificates: bytes, key: bytes, reason: str
    ) -> None:
        with pytest.raises(LocalError, match=reason):
            secured(Factory.forProtocol(End), certificates, key, Clock())

    def test_a_key_with_a_passphrase_is_refused(self) -> None:
        secret = load_pem_private_key(own()[1], None)
        locked = secret.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        with pytest.raises(LocalError, match="the key has a passphrase"):
            secured(Factory.forProtocol(End), own()[0], locked, Clock())

    def test_a_key_that_cannot_sign_is_refused(self) -> None:
        other = x25519.X25519PrivateKey.generate()
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(LocalError, match="cannot be used"):
            secured(Factory.forProtocol(End), own()[0], pem, Clock())

    def test_a_key_of_another_kind_is_a_mismatch(self) -> None:
        other = ed25519.Ed25519PrivateKey.generate()
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(LocalError, match="certificate and key cannot be used"):
            secured(Factory.forProtocol(End), own()[0], pem, Clock())


def refused(pair: Pair, client: ClientConnections) -> str:
    """Return why a client has refused a server, which has heard nothing."""
    assert pair.server.heard == b""
    assert pair.client.reason is not None
    assert client.refusal is not None
    return client.refusal


class TestPinned:
    def test_the_right_one(self) -> None:
        client = pinned(digest_of(own()[0]))
        assert Pair(own(), client).server.heard == HELLO
        assert client.refusal is None

    def test_an_expired_one_is_still_the_right_one(self) -> None:
        long_ago = certificate.make(HOST, datetime.now(timezone.utc) - timedelta(days=9000))
        assert Pair(long_ago, pinned(digest_of(long_ago[0]))).server.heard == HELLO

    def test_one_that_an_authority_has_signed(self) -> None:
        signed, key = authority().sign(HOST)
        pair = Pair((signed + authority().pem, key), pinned(digest_of(signed)))
        assert pair.server.heard == HELLO

    def test_another_one(self) -> None:
        client = pinned(digest_of(make(HOST)[0]))
        wrong = refused(Pair(own(), client), client)
        assert wrong.startswith(f"its certificate is SHA256:{digest_of(own()[0]).hex()}, and not ")

    def test_the_right_one_above_another_one(self) -> None:
        signed, key = authority().sign(HOST)
        client = pinned(digest_of(authority().pem))
        assert "and not" in refused(Pair((signed + authority().pem, key), client), client)

    def test_a_later_server_may_be_right(self) -> None:
        client = pinned(digest_of(own()[0]))
        assert refused(Pair(make(HOST), client), client)
        assert Pair(own(), client).server.heard == HELLO
        assert client.refusal is None


class TestVouchedFor:
    @pytest.mark.parametrize(
        ("names", "name"),
        [
            ((HOST,), HOST),
            (("other.example", HOST), HOST),
            (("*.fleet.example",), HOST),
            (("192.0.2.7",), "192.0.2.7"),
            (("2001:db8::7", HOST), "2001:db8::7"),
        ],
    )
    def test_the_right_name(self, names: tuple[str, ...], name: str) -> None:
        client = vouched_for(name, authority().pem)
        assert Pair(authority().sign(*names), client).server.heard == HELLO
        assert client.refusal is None

    @pytest.mark.parametrize(
        ("names", "name", "reason"),
        [
            (("other.example",), HOST, f"its certificate is not for {HOST}"),
            (("192.0.2.8",), "192.0.2.7", "its certificate is not for 192.0.2.7"),
            ((HOST,), "192.0.2.7", "its certificate is not for 192.0.2.7"),
            (("192.0.2.7",), HOST, f"its certificate is not for {HOST}"),
            ((), HOST, f"its certificate does not say that it is for {HOST}"),
        ],
    )
    def test_a_wrong_name(self, names: tuple[str, ...], name: str, reason: str) -> None:
        client = vouched_for(name, authority().pem)
        assert refused(Pair(authority().sign(*names), client), client) == reason

    def test_an_expired_one(self) -> None:
        client = vouched_for(HOST, authority().pem)
        pair = Pair(authority().sign(HOST, days_ago=30), client)
        assert refused(pair, client) == "its certificate does not pass: it has expired"

    def test_one_that_is_not_valid_yet(self) -> None:
        client = vouched_for(HOST, authority().pem)
        pair = Pair(authority().sign(HOST, days_ago=-30), client)
        assert "it is not valid yet; is the clock right?" in refused(pair, client)

    def test_another_authority(self) -> None:
        client = vouched_for(HOST, authority().pem)
        wrong = refused(Pair(Authority("another").sign(HOST), client), client)
        assert "an authority that is not believed here" in wrong

    def test_no_authority(self) -> None:
        client = vouched_for(HOST, authority().pem)
        assert "no authority has signed it" in refused(Pair(own(), client), client)

    def test_what_is_no_authority_is_refused(self) -> None:
        with pytest.raises(LocalError, match="there is no certificate in it"):
            vouched_for(HOST, b"nothing")


class TestMade:
    NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)

    def made(self, host: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(certificate.make(host, self.NOW)[0])

    def test_it_is_for_servers_and_no_authority(self) -> None:
        made = self.made(HOST)
        extension = made.extensions.get_extension_for_class
        assert not extension(x509.BasicConstraints).value.ca
        assert list(extension(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
        [name] = extension(x509.SubjectAlternativeName).value
        assert name == x509.DNSName(HOST)
        assert made.not_valid_before_utc < self.NOW
        assert made.not_valid_after_utc - self.NOW > timedelta(days=3650)

    def test_each_is_another(self) -> None:
        assert certificate.make(HOST, self.NOW) != certificate.make(HOST, self.NOW)

    @pytest.mark.parametrize("host", ["", "böse.example", "a b", "-x", "a..b", "x" * 254])
    def test_an_odd_name_is_left_out(self, host: str) -> None:
        made = self.made(host)
        [common] = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert common.value == "supervisortw"
        with pytest.raises(x509.ExtensionNotFound):
            made.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)

    def test_a_long_name_is_cut_where_it_must_be(self) -> None:
        host = f"{'x' * 63}.{'y' * 63}.example"
        [common] = self.made(host).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert len(common.value) == 64
        assert str(common.value).startswith("supervisortw xxx")
