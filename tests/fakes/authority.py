"""An authority that signs certificates for anything."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Has a certificate of its own, ``pem``."""

    def __init__(self, name: str = "an authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(name, self._key.public_key(), 0)
        own = builder.add_extension(constraints, critical=True).sign(self._key, SHA256())
        self.pem = own.public_bytes(Encoding.PEM)

    def sign(self, *names: str, days_ago: int = 0) -> tuple[bytes, bytes]:
        """Return a certificate for host names and addresses, and its key; it holds for ten days."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder("a server", key.public_key(), days_ago)
        if names:
            others = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(others, critical=False)
        certificate = builder.sign(self._key, SHA256())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), secret

    def _builder(
        self, subject: str, key: ec.EllipticCurvePublicKey, days_ago: int
    ) -> x509.CertificateBuilder:
        begin = datetime.now(timezone.utc) - days_ago * DAY
        builder = x509.CertificateBuilder(_name(self._name), _name(subject), key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(begin - DAY).not_valid_after(begin + 10 * DAY)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
