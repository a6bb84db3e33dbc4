"""How a certificate is told from others by people: ``SHA256:`` and 64 hexadecimal digits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

PREFIX = "SHA256:"
_DIGITS = re.compile(r"[0-9A-Fa-f]{64}\Z")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def fingerprint(digest: bytes) -> str:
    """Return the text for a certificate whose SHA-256 is ``digest``."""
    return f"{PREFIX}{digest.hex()}"


def parse_fingerprint(text: str) -> bytes:
    """Return the digest that `fingerprint` has written, also with colons in it. Raises ValueError."""
    prefix, _, digits = text.partition(":")
    digits = digits.replace(":", "")
    if prefix.upper() != PREFIX[:-1] or not _DIGITS.match(digits):
        raise ValueError(f"expected {PREFIX} and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def digest_of(pem: bytes) -> bytes:
    """Return the SHA-256 of the first certificate in a PEM file. Raises ValueError."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no certificate in it (PEM is expected)")
    try:
        return hashlib.sha256(base64.b64decode(b"".join(found[1].split()), validate=True)).digest()
    except binascii.Error:
        raise ValueError("the certificate in it is damaged") from None
