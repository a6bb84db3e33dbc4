"""A small honest server for logins by password, as bytes; a test may have it say something else."""

from __future__ import annotations

import functools
import hmac
import secrets

from supervisortw.core.srp import (
    GROUP,
    SECRET_BITS,
    UNIX,
    Binding,
    Kdf,
    private_key,
    proofs,
    stretch,
)
from supervisortw.remote.frames import ADMITTED, PASSWORD, REFUSED, FrameReader, fields, pack

KDF = Kdf(ln=14)  # the fastest that there is
REALM = bytes(range(16))
SALT = b"salt of 16 bytes"
USER, SECRET = "alice", "pässword123"


@functools.cache
def stretched(password: str = SECRET, user: str = USER, realm: bytes = REALM) -> bytes:
    """Return what a client computes slowly."""
    return stretch(password.encode(), user, KDF, realm)


@functools.cache
def verifier(realm: bytes = REALM) -> int:
    """Return what the server knows of the password."""
    return GROUP.verifier(private_key(stretched(realm=realm), SALT), pow, secrets.randbits(384))


class PasswordServer:
    """One connection of a server that knows the password of ``USER``. Feed it bytes; it returns some."""

    def __init__(
        self, binding: Binding = UNIX, *, kdf: str = str(KDF), realm: bytes = REALM
    ) -> None:
        self.binding = binding
        self.kdf = kdf
        self.realm = realm
        self.salt = SALT
        self.public: bytes | None = None  # to be sent in place of B
        self.first_answer: bytes | None = None  # to be sent in place of S1
        self.second_answer: bytes | None = None  # to be sent in place of S2
        self.frames: list[list[bytes]] = []
        self.admitted = 0
        self._reader = FrameReader(2)
        self._secret = 1 << (SECRET_BITS - 1) | secrets.randbits(SECRET_BITS)

    def receive(self, data: bytes) -> bytes:
        """Return the answer to what has come."""
        return b"".join(self._answer(fields(payload)) for payload in self._reader.feed(data))

    def _answer(self, frame: list[bytes]) -> bytes:
        self.frames.append(frame)
        if len(self.frames) == 1:
            assert frame[0] == PASSWORD
            public = GROUP.server_public(self._secret, verifier(), pow)
            self._server = public
            packed = GROUP.packed(public) if self.public is None else self.public
            answer = pack([PASSWORD, self.kdf.encode(), self.realm, self.salt, packed])
            self._sent = answer
            return answer if self.first_answer is None else self.first_answer
        if self.second_answer is not None:
            return self.second_answer
        client = GROUP.unpacked(self.frames[0][2])
        shared = GROUP.server_shared(self._secret, verifier(), client, self._server, pow)
        proven = proofs(GROUP, shared, pack(self.frames[0]), self._sent, self.binding)
        if self.frames[0][1] != USER.encode() or not hmac.compare_digest(proven.client, frame[0]):
            return pack([REFUSED])
        self.admitted += 1
        return pack([ADMITTED, proven.server])
