"""SRP-6a as the gate speaks it: the arithmetic of a login by password, and what each side proves.

Nothing here is random, and nothing is sent: secrets and salts come in by argument. The shapes that
have to be kept are in docs/protocol.rst; a change of any of them is another protocol.

A large power is taken by a function that is given (``Powmod``), since Python's own is slow and takes
longer for some exponents than for others. ``pow`` itself is one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from supervisortw.core.limits import LIMITS

Powmod = Callable[[int, int, int], int]  # base, exponent and modulus: both positive, and this odd

NAME = b"supervisortw-srp1"
SALT_BYTES = 16
SECRET_BITS = 256  # of the number that each side draws for one login; the highest bit is set
BLIND_BITS = 384  # of the number that hides the private key while a power is taken
PROOF_BYTES = 32
_USER = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")
_KDF = re.compile(r"scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\Z")


class SrpError(ValueError):
    """A value that no honest peer sends, or a text that is no user name, password or parameter."""


def fields(*parts: bytes) -> bytes:
    """Return ``parts`` one after the other, each behind its length in four bytes, big-endian."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def user_name(text: str) -> str:
    """Return ``text`` if it can be the name of a user, or raise SrpError."""
    if not _USER.match(text):
        raise SrpError("a user name has up to 64 letters, digits and the characters . _ @ -")
    return text


def password_bytes(text: str) -> bytes:
    """Return a password as it is stretched: in Unicode form C, as UTF-8. Raises SrpError."""
    try:
        data = unicodedata.normalize("NFC", text).encode("utf-8")
    except UnicodeEncodeError:
        raise SrpError("the password has bytes in it that are not UTF-8") from None
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise SrpError("a password cannot hold control characters")
    if not 0 < len(data) <= LIMITS.password_bytes:
        raise SrpError(f"a password has 1 to {LIMITS.password_bytes} bytes")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Kdf:
    """How a password is stretched: by scrypt, with 2 to the power of ``ln`` blocks of 128 * ``r`` bytes.

    The bounds are those that both sides accept: more would exhaust a client, less would weaken it.
    """

    ln: int = 17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        if not (14 <= self.ln <= 18 and self.r == 8 and 1 <= self.p <= 4):
            raise SrpError("scrypt is used with ln from 14 to 18, r=8, and p from 1 to 4")

    def __str__(self) -> str:
        return f"scrypt$ln={self.ln},r={self.r},p={self.p}"

    @classmethod
    def parse(cls, text: str) -> Kdf:
        """Read what ``str`` writes. Raises SrpError."""
        found = _KDF.match(text)
        if (
            found is None
            or str(kdf := cls(ln=int(found[1]), r=int(found[2]), p=int(found[3]))) != text
        ):
            raise SrpError("expected the parameters of scrypt, such as scrypt$ln=17,r=8,p=1")
        return kdf


SCRYPT = Kdf()


def stretch(password: bytes, user: str, kdf: Kdf, realm: bytes) -> bytes:
    """Return 32 bytes that take long to compute: about half a second, and 128 MiB, by default.

    ``realm`` is a salt. Daemons that share it share this work, and nothing else.
    """
    return hashlib.scrypt(
        password,
        salt=fields(NAME, user.encode("ascii"), realm),
        n=1 << kdf.ln,
        r=kdf.r,
        p=kdf.p,
        dklen=32,
        maxmem=(129 << kdf.ln) * kdf.r * kdf.p,
    )


def private_key(stretched: bytes, salt: bytes) -> int:
    """Return the private key (x of RFC 5054) for one record, from what `stretch` has returned."""
    key = hmac.digest(stretched, fields(NAME + b" x", salt), "sha256")
    return int.from_bytes(key, "big")


@dataclass(frozen=True)
class Group:
    """The numbers that are counted in: all powers of ``generator`` modulo the safe prime ``prime``."""

    prime: int = field(repr=False)
    generator: int
    digest: str = "sha256"

    @cached_property
    def width(self) -> int:
        """The bytes of a number, as it is sent."""
        return (self.prime.bit_length() + 7) // 8

    @cached_property
    def multiplier(self) -> int:
        """k of RFC 5054."""
        return self._hash(self.packed(self.prime), self.packed(self.generator))

    def packed(self, number: int) -> bytes:
        """Return ``number`` in as many bytes as the prime has."""
        return number.to_bytes(self.width, "big")

    def unpacked(self, data: bytes) -> int:
        """Return a public value that a peer has sent. Raises SrpError for one that gives secrets away."""
        number = int.from_bytes(data, "big")
        if len(data) != self.width or not 1 < number < self.prime - 1:
            raise SrpError("a public value that no honest peer sends")
        return number

    def _hash(self, *parts: bytes) -> int:
        return int.from_bytes(hashlib.new(self.digest, b"".join(parts)).digest(), "big")

    def scrambler(self, client: int, server: int) -> int:
        """Return u of RFC 5054. Raises SrpError if it is 0."""
        scrambler = self._hash(self.packed(client), self.packed(server))
        if scrambler == 0:
            raise SrpError("public values that no honest peer sends")
        return scrambler

    def verifier(self, key: int, powmod: Powmod, blind: int) -> int:
        """Return v of RFC 5054: what a daemon keeps of the password behind the private key ``key``.

        ``blind`` is a fresh random number of BLIND_BITS: the key itself is never an exponent.
        """
        hidden = powmod(self.generator, key + blind, self.prime)
        return hidden * pow(powmod(self.generator, blind, self.prime), -1, self.prime) % self.prime

    def client_public(self, secret: int, powmod: Powmod) -> int:
        """Return A of RFC 5054."""
        return powmod(self.generator, secret, self.prime)

    def server_public(self, secret: int, verifier: int, powmod: Powmod) -> int:
        """Return B of RFC 5054."""
        mine = powmod(self.generator, secret, self.prime)
        return (self.multiplier * verifier + mine) % self.prime

    def client_shared(
        self, secret: int, key: int, client: int, server: int, powmod: Powmod, *, blind: int
    ) -> int:
        """Return S of RFC 5054, as the client finds it from its ``secret`` and the private key."""
        scrambler = self.scrambler(client, server)
        base = (server - self.multiplier * self.verifier(key, powmod, blind)) % self.prime
        if base == 0:
            raise SrpError("a public value that no honest peer sends")
        return powmod(base, secret + scrambler * key, self.prime)

    def server_shared(
        self, secret: int, verifier: int, client: int, server: int, powmod: Powmod
    ) -> int:
        """Return S of RFC 5054, as the daemon finds it from its ``secret`` and the verifier."""
        scrambler = self.scrambler(client, server)
        base = client * powmod(verifier, scrambler, self.prime) % self.prime
        return powmod(base, secret, self.prime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The channel that a login is bound to: the same at both ends only if nobody is in between.

    ``kind`` is ``tls-exporter`` with 32 exported bytes (RFC 9266) and the SHA-256 of the server's
    certificate, or ``unix`` or ``none`` with nothing.
    """

    kind: str
    data: bytes = b""
    certificate: bytes = b""


UNIX = Binding(kind="unix")
UNBOUND = Binding(kind="none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What both sides know after a login, and nobody else: M1, M2, and a name for the session."""

    client: bytes = field(repr=False)
    server: bytes = field(repr=False)
    session: bytes


def proofs(group: Group, shared: int, first: bytes, second: bytes, binding: Binding) -> Proofs:
    """Return the proofs for the shared secret ``shared``.

    ``first`` and ``second`` are the frames C1 and S1 as they were sent, so that nobody can have changed
    anything in them.
    """
    transcript = fields(
        *(NAME + b" transcript", first, second),
        *(binding.kind.encode("ascii"), binding.data, binding.certificate),
    )
    told = hashlib.sha256(transcript).digest()
    key = hashlib.sha256(fields(NAME + b" key", group.packed(shared))).digest()
    client = hmac.digest(key, fields(b"client proof", told), "sha256")
    return Proofs(
        client=client,
        server=hmac.digest(key, fields(b"server proof", told, client), "sha256"),
        session=hmac.digest(key, fields(b"session id", told), "sha256")[:8],
    )


GROUP = Group(  # that of RFC 5054 with 3072 bits
    int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
        "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
        "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
        "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
        "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
        "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
        "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33"
        "A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
        "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864"
        "D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E2"
        "08E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
        16,
    ),
    5,
)
