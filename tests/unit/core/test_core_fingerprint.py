"""Fingerprints of certificates, as people read and write them."""

from __future__ import annotations

import base64
import hashlib

import pytest

from supervisortw.core.fingerprint import digest_of, fingerprint, parse_fingerprint

DIGEST = bytes(range(32))
TEXT = "SHA256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"


def pem(der: bytes, word: str = "CERTIFICATE") -> bytes:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {word}-----\n{text}-----END {word}-----\n".encode()


def test_written_and_read() -> None:
    assert fingerprint(DIGEST) == TEXT
    assert parse_fingerprint(TEXT) == DIGEST


def test_other_tools_write_colons_and_capitals() -> None:
    digits = ":".join(f"{byte:02X}" for byte in DIGEST)
    assert parse_fingerprint(f"sha256:{digits}") == DIGEST


@pytest.mark.parametrize(
    "text", ["", "SHA256:", TEXT[:-1], f"{TEXT}0", TEXT[7:], TEXT.replace("0", "g"), f"{TEXT}\n"]
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected SHA256: and 64 hexadecimal digits"):
        parse_fingerprint(text)


def test_the_first_certificate_counts() -> None:
    chain = pem(b"key", "PRIVATE KEY") + pem(b"mine" * 40) + pem(b"the authority's")
    assert digest_of(chain) == hashlib.sha256(b"mine" * 40).digest()


@pytest.mark.parametrize("data", [b"", pem(b"x", "PRIVATE KEY"), pem(b"x")[:-4]])
def test_without_a_certificate_there_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate in it"):
        digest_of(data)


def test_a_damaged_certificate_is_called_so() -> None:
    with pytest.raises(ValueError, match="damaged"):
        digest_of(pem(b"x" * 30).replace(b"=", b"").replace(b"\n-", b"A\n-", 1))
