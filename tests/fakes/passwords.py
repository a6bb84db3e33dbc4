"""Users with passwords, and a client that logs in by one; nothing here takes long to compute."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence

from supervisortw.auth.powmod import powmod
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.core.srp import (
    BLIND_BITS,
    GROUP,
    SCRYPT,
    SECRET_BITS,
    UNIX,
    Binding,
    Proofs,
    private_key,
    proofs,
)
from supervisortw.remote.frames import fields, pack

REALM = bytes(range(16))
PASSWORD = "correct horse battery"


def stretched(password: str) -> bytes:
    """Stand for scrypt."""
    return hashlib.sha256(password.encode()).digest()


def record(
    user: str, role: Role = Role.ADMIN, *, password: str = PASSWORD, locked: bool = False
) -> Record:
    salt = hashlib.sha256(user.encode()).digest()[:16]
    key = private_key(stretched(password), salt)
    return Record(
        user=user,
        role=role,
        kdf=SCRYPT,
        realm=REALM,
        salt=salt,
        verifier=GROUP.verifier(key, powmod, secrets.randbits(BLIND_BITS)),
        changed="2026-11-22T07:00:00Z",
        locked=locked,
    )


def passwd_of(*records: Record) -> Passwd:
    passwd = Passwd(secret=bytes(32), realm=REALM)
    for each in records:
        passwd = passwd.put(each)
    return passwd


ALICE = record("alice")
LOCKED = record("locked", locked=True)


class FakeAccounts:
    """What the password file says, as the test likes."""

    def __init__(self, *records: Record) -> None:
        self.now: Passwd | None = passwd_of(*(records or (ALICE, LOCKED)))
        self.asked = 0

    def passwd(self) -> Passwd | None:
        self.asked += 1
        return self.now


class PasswordClient:
    """The client's side of one login: give it what the daemon sends, and send what it returns."""

    def __init__(
        self,
        user: str = "alice",
        password: str = PASSWORD,
        *,
        binding: Binding = UNIX,
        stretch: Callable[[str], bytes] = stretched,
        secret: int | None = None,
    ) -> None:
        self._user = user
        self._password = password
        self._binding = binding
        self._stretch = stretch
        self._secret = secrets.randbits(SECRET_BITS) if secret is None else secret
        self.proofs: Proofs | None = None
        self.told: Sequence[bytes] = ()  # the fields of S1

    def hello(self) -> bytes:
        """Return C1."""
        self._public = GROUP.client_public(self._secret, powmod)
        public = GROUP.packed(self._public)
        self._first = pack([b"SVTW1", self._user.encode(), public])
        return self._first

    def proof(self, second: bytes) -> bytes:
        """Return C2, once S1 has come."""
        self.told = fields(second[2:])
        _, _, _, salt, public = self.told
        key = private_key(self._stretch(self._password), salt)
        server = GROUP.unpacked(public)
        shared = GROUP.client_shared(
            self._secret, key, self._public, server, powmod, blind=secrets.randbits(BLIND_BITS)
        )
        self.proofs = proofs(GROUP, shared, self._first, second, self._binding)
        return pack([self.proofs.client])

    def admitted(self) -> bytes:
        """Return the S2 that only a daemon that knows the verifier can send."""
        assert self.proofs is not None
        return pack([b"\x01", self.proofs.server])
