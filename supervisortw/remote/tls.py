"""TLS for both ends of a control connection: version 1.3 and no other, no session twice, no early data.

Here is what TLS itself can tell: which certificate was shown, whether an authority vouches for it, and
by which values both ends know that nobody is in between (`server_binding`, `client_binding`). That a
password goes with it is the gate's business.

This module costs a process some 14 MiB: it is imported when the first TCP port or address asks for it.
"""

# Twisted's TLS has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from supervisortw.core.fingerprint import fingerprint
from supervisortw.core.srp import Binding
from supervisortw.errors import AuthError, LocalError
from supervisortw.remote import certificate

VERSION = "TLSv1.3"
EXPORTER = b"EXPORTER-Channel-Binding"  # RFC 9266
EXPORTED_BYTES = 32
_DONE = b"SSL negotiation finished successfully"

# What is most often wrong with a certificate, by the numbers of X509_verify_cert.
_WRONG = {
    7: "its signature is not that of the authority",
    9: "it is not valid yet; is the clock right?",
    10: "it has expired",
    18: "no authority has signed it",
    19: "it is signed by an authority that is not believed here",
    20: "it is signed by an authority that is not believed here",
    21: "it is signed by an authority that is not believed here",
    26: "it is not meant for servers",
}


# The daemon's end.


def make(host: str) -> tuple[bytes, bytes]:
    """Return a new certificate for ``host``, and its key, both as PEM."""
    return certificate.make(host, datetime.now(timezone.utc))


def secured(
    factory: IProtocolFactory, certificates: bytes, key: bytes, clock: IReactorTime
) -> IProtocolFactory:
    """Return a factory that speaks TLS, with that of ``factory`` inside.

    ``certificates`` is the daemon's own, with those that it was signed by behind it. Both are PEM.
    Raises LocalError for what cannot be used.
    """
    secure: IProtocolFactory = TLSMemoryBIOFactory(
        ServerConnections(_server_context(certificates, key)), False, factory, clock
    )
    return secure


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Begins TLS on the daemon's end of a connection."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return the state of a new connection."""
        return SSL.Connection(self._context, None)


def _server_context(certificates: bytes, key: bytes) -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD)
    own, *above = _certificates(certificates)
    try:
        secret = load_pem_private_key(key, None)
    except TypeError:
        raise LocalError("the key has a passphrase, which nobody could type") from None
    except (ValueError, UnsupportedAlgorithm):
        raise LocalError("there is no private key in it (PEM is expected)") from None
    try:
        context.use_certificate(own)
        for each in above:
            context.add_extra_chain_cert(each)
        context.use_privatekey(secret)  # type: ignore[arg-type]  # or TypeError, for other kinds
        context.check_privatekey()
    except TypeError:
        raise LocalError("a key of this kind cannot be used for TLS") from None
    except SSL.Error as error:
        raise LocalError(f"certificate and key cannot be used: {_reason(error)}") from None
    return context


def server_binding(transport: Any, certificate_sha256: bytes) -> Binding:
    """Return what a login on this connection is bound to, at the daemon's end.

    ``certificate_sha256`` is that of the daemon's own certificate. Raises AuthError if this is no TLS 1.3
    whose handshake is done.
    """
    exported = _exported(_connection(transport))
    return Binding(kind="tls-exporter", data=exported, certificate=certificate_sha256)


# The client's end.


Judge = Callable[
    [crypto.X509, int, int], "str | None"
]  # certificate, error and depth: what is wrong


def client_binding(transport: Any) -> Binding:
    """Return what a login on this connection is bound to, at the client's end.

    Its ``certificate`` is the SHA-256 of the one that the server has shown, whoever that is. Raises
    AuthError if this is no TLS 1.3 whose handshake is done.
    """
    connection = _connection(transport)
    exported = _exported(connection)
    shown = connection.get_peer_certificate()
    if shown is None:
        raise AuthError("the server has shown no certificate")
    return Binding(kind="tls-exporter", data=exported, certificate=_digest(shown))


@implementer(IOpenSSLClientConnectionCreator)
class ClientConnections:
    """Begins TLS on the client's end; give it to ``wrapClientTLS`` or ``TLSMemoryBIOFactory``.

    A server whose certificate does not pass gets no byte but an alert; ``refusal`` says then what is
    wrong with it. Made by `proven_later`, `pinned` and `vouched_for`.
    """

    refusal: str | None = None

    def __init__(self, judge: Judge | None, authorities: bytes = b"", name: str = "") -> None:
        self._name = name
        self._judge = judge
        self._context = context = _context(SSL.TLS_CLIENT_METHOD)
        if judge is None:
            context.set_verify(SSL.VERIFY_NONE)
        else:
            context.set_verify(SSL.VERIFY_PEER, self._passes)
        if authorities:
            store = context.get_cert_store()
            assert store is not None, "a context has a store"
            for each in _certificates(authorities):
                store.add_cert(crypto.X509.from_cryptography(each))

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return the state of a new connection."""
        self.refusal = None
        connection = SSL.Connection(self._context, None)
        if self._name and not _is_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection

    def _passes(
        self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        assert self._judge is not None, "nobody else is called"
        wrong = self._judge(shown, 0 if ok else error, depth)
        if wrong is not None:
            self.refusal = wrong
        return wrong is None


def proven_later() -> ClientConnections:
    """Take any certificate: a login that is bound to the channel proves whose it is."""
    return ClientConnections(None)


def pinned(digest: bytes) -> ClientConnections:
    """Take only the certificate whose SHA-256 is ``digest``, also when it has expired."""

    def judge(shown: crypto.X509, error: int, depth: int) -> str | None:
        if depth > 0:
            return None
        found = _digest(shown)
        if hmac.compare_digest(found, digest):
            return None
        return f"its certificate is {fingerprint(found)}, and not {fingerprint(digest)}"

    return ClientConnections(judge)


def vouched_for(name: str, authorities: bytes) -> ClientConnections:
    """Take only a certificate for ``name`` that one of ``authorities`` (PEM) has signed.

    ``name`` is a host name or an IP address. Raises LocalError if there are no such certificates.
    """

    def judge(shown: crypto.X509, error: int, depth: int) -> str | None:
        if error:
            wrong = _WRONG.get(error, f"error {error} of X509_verify_cert")
            return f"its certificate does not pass: {wrong}"
        return None if depth > 0 else _wrong_name(shown, name)

    return ClientConnections(judge, authorities, name)


def _wrong_name(shown: crypto.X509, name: str) -> str | None:
    verify = verify_certificate_ip_address if _is_address(name) else verify_certificate_hostname
    try:
        verify(shown.to_cryptography(), name)
    except VerificationError:
        return f"its certificate is not for {name}"
    except (CertificateError, ValueError):
        return f"its certificate does not say that it is for {name}"
    return None


# What both have in common.


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    # The tickets that OpenSSL still gives are names of sessions that nobody keeps.
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _connection(transport: Any) -> SSL.Connection:
    connection = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(connection, SSL.Connection):
        raise AuthError("this connection has no TLS")
    return connection


def _exported(connection: SSL.Connection) -> bytes:
    version = connection.get_protocol_version_name()
    if version != VERSION or connection.get_state_string() != _DONE:
        raise AuthError(f"TLS 1.3 is not established (but {version})")
    try:
        return connection.export_keying_material(EXPORTER, EXPORTED_BYTES, b"")
    except SSL.Error:
        raise AuthError("TLS gives nothing that a login could be bound to") from None


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise LocalError("there is no certificate in it (PEM is expected)") from None


def _digest(shown: crypto.X509) -> bytes:
    return hashlib.sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)).digest()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _reason(error: SSL.Error) -> str:
    """Return what OpenSSL says, without its own names for where."""
    queue = error.args[0] if error.args else ()
    return "; ".join(each[-1] for each in queue) or "for no reason that OpenSSL tells"
