"""A daemon on a TCP port: its users, its port, and a client made by hand, for what ours never does."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from functional_daemon import Daemon
from OpenSSL import SSL

from supervisortw.core import srp
from supervisortw.core.passwd import Passwd, Record, written
from supervisortw.core.roles import Role
from supervisortw.remote.frames import PASSWORD, fields, pack

QUICK = srp.Kdf(ln=14)
REALM = bytes(range(16))
EXPORTER = b"EXPORTER-Channel-Binding"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def record(user: str, password: str, role: Role = Role.ADMIN, realm: bytes = REALM) -> Record:
    """Return a user whose password is stretched quickly."""
    salt = secrets.token_bytes(16)
    key = srp.private_key(srp.stretch(srp.password_bytes(password), user, QUICK, realm), salt)
    return Record(
        user=user,
        role=role,
        kdf=QUICK,
        realm=realm,
        salt=salt,
        verifier=srp.GROUP.verifier(key, pow, secrets.randbits(srp.BLIND_BITS)),
        changed="2026-11-28T00:00:00Z",
    )


def passwd(*records: Record, realm: bytes = REALM) -> Passwd:
    """Return a password file with these users."""
    whole = Passwd(secret=secrets.token_bytes(32), realm=realm, kdf=QUICK)
    for each in records:
        whole = whole.put(each)
    return whole


def save_passwd(daemon: Daemon, whole: Passwd) -> Path:
    """Write it where `remote_settings` names it; whole or not at all, as an administrator does."""
    fresh = daemon.save(daemon.place / "passwd.new", written(whole), 0o600)
    return fresh.rename(daemon.place / "passwd")


def remote_settings(daemon: Daemon, *addresses: str, more: str = "") -> str:
    """Return the keys of a daemon on its UNIX socket and on these TCP addresses."""
    lines = [f"socket-name {daemon.socket}", *(f"socket-name {each}" for each in addresses)]
    return "\n".join([*lines, f"passwdfile {daemon.place / 'passwd'}", more])


def certificate(
    place: Path,
    name: str,
    *hosts: str,
    issuer: tuple[Path, Path] | None = None,
    days: int = 30,
    is_authority: bool = False,
) -> tuple[Path, Path]:
    """Make the files of a certificate and its key, self-signed if there is no ``issuer``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False
        )
    signer = key
    if issuer is None:
        builder = builder.issuer_name(subject)
    else:
        authority = x509.load_pem_x509_certificate(issuer[0].read_bytes())
        builder = builder.issuer_name(authority.subject)
        loaded = serialization.load_pem_private_key(issuer[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    signed = builder.sign(signer, hashes.SHA256())
    files = place / f"{name}.pem", place / f"{name}.key"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files[1].chmod(0o600)
    return files


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class ByHand:
    """A connection to the port of a daemon, on which each byte is the test's own."""

    def __init__(self, sock: socket.socket, tls: SSL.Connection | None) -> None:
        self._sock = sock
        self._tls = tls

    @property
    def binding(self) -> srp.Binding:
        """The channel that a login here is bound to."""
        if self._tls is None:
            return srp.UNBOUND
        peer = self._tls.get_peer_certificate(as_cryptography=True)
        assert peer is not None
        return srp.Binding(
            kind="tls-exporter",
            data=self._tls.export_keying_material(EXPORTER, 32, b""),
            certificate=peer.fingerprint(hashes.SHA256()),
        )

    def send(self, data: bytes) -> None:
        """Send bytes."""
        (self._tls or self._sock).sendall(data)

    def receive(self, size: int) -> bytes:
        """Return so many bytes, or fewer if the connection is closed before."""
        data = b""
        with contextlib.suppress(SSL.ZeroReturnError, SSL.SysCallError, ConnectionError):
            while len(data) < size:
                more = (self._tls or self._sock).recv(size - len(data))
                if not more:
                    break
                data += more
        return data

    def frame(self) -> bytes:
        """Return the next frame whole, or nothing if the connection is closed."""
        head = self.receive(2)
        return head + self.receive(int.from_bytes(head, "big")) if len(head) == 2 else b""


@contextlib.contextmanager
def by_hand(
    port: int,
    *,
    tls: bool = True,
    highest: int = SSL.TLS1_3_VERSION,
    source: str = "127.0.0.1",
) -> Iterator[ByHand]:
    """Connect to a port of this machine from ``source``, which is an address of it, too."""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as sock:
        sock.settimeout(None)
        if not tls:
            yield ByHand(sock, None)
            return
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(highest)
        connection = SSL.Connection(context, sock)
        connection.set_connect_state()
        connection.do_handshake()
        yield ByHand(sock, connection)


class Login:
    """The client's half of a login, with all of its values open to the test."""

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password
        self.secret = secrets.randbits(255) | 1 << 255
        self.public = srp.GROUP.client_public(self.secret, pow)
        self.first = pack([PASSWORD, user.encode(), srp.GROUP.packed(self.public)])

    def stretched(self, second: bytes) -> bytes:
        """Return what the password becomes for the challenge ``second``."""
        _, kdf, realm, _, _ = fields(second[2:])
        kdf_ = srp.Kdf.parse(kdf.decode())
        return srp.stretch(srp.password_bytes(self.password), self.user, kdf_, realm)

    def proofs(self, second: bytes, binding: srp.Binding) -> srp.Proofs:
        """Return the proofs for the challenge ``second`` (the frame S1)."""
        _, _, _, salt, public = fields(second[2:])
        key = srp.private_key(self.stretched(second), salt)
        server = srp.GROUP.unpacked(public)
        shared = srp.GROUP.client_shared(self.secret, key, self.public, server, pow, blind=1 << 383)
        return srp.proofs(srp.GROUP, shared, self.first, second, binding)
