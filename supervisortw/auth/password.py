"""Users who prove that they know their password: the daemon's side of SRP, and who believes it.

Whoever asks for a user that there is not, or who is locked out, gets the same messages, and the
daemon computes the same for them, as for a wrong password. Only its log knows which it was.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import Attribute, implementer

from supervisortw.auth.accounts import Accounts
from supervisortw.auth.powmod import powmod
from supervisortw.auth.users import User
from supervisortw.core.passwd import Record
from supervisortw.core.srp import GROUP, SECRET_BITS, Binding, Powmod, SrpError, proofs

RandomBits = Callable[[int], int]  # a random number of at most so many bits


class Challenge:
    """What the daemon answers to ``client``, the public value of somebody who names a user."""

    def __init__(self, record: Record, client: int, secret: int, powmod: Powmod) -> None:
        self.record = record
        self.client = client
        self.server = GROUP.server_public(secret, record.verifier, powmod)
        self._secret = secret
        self._powmod = powmod

    def shared(self) -> int:
        """Return the secret that the client has as well if they know the password. Raises SrpError."""
        return GROUP.server_shared(
            self._secret, self.record.verifier, self.client, self.server, self._powmod
        )


class Challenges:
    """Makes a challenge for each login, from the accounts as they are then."""

    def __init__(
        self, accounts: Accounts, powmod: Powmod = powmod, random: RandomBits = secrets.randbits
    ) -> None:
        self._accounts = accounts
        self._powmod = powmod
        self._random = random
        # Nobody knows its password. It is never sent, and what is sent does not tell it from others.
        self._nobodys = 2 + random(GROUP.prime.bit_length() - 1)

    def challenge(self, user: str, client: int) -> Challenge | None:
        """Return a challenge for ``user``, or None if nobody can log in by password."""
        passwd = self._accounts.passwd()
        if passwd is None:
            return None
        stranger = passwd.stranger(user, self._nobodys)
        record = passwd.records.get(user, stranger)
        secret = self._random(SECRET_BITS) | 1 << (SECRET_BITS - 1)
        return Challenge(record, client, secret, self._powmod)


class ISrpProof(ICredentials):
    """What a client has sent to prove that it knows a password."""

    record = Attribute("The Record that it was challenged with.")

    def is_right() -> bool:
        """Tell whether it does. This is most of the work of a login."""


@implementer(ISrpProof)
class SrpProof:
    """The proof ``told`` of a client, for one challenge.

    ``first`` and ``second`` are the frames that were exchanged before it, and ``binding`` is the
    channel that they went through.
    """

    def __init__(
        self, challenge: Challenge, first: bytes, second: bytes, binding: Binding, told: bytes
    ) -> None:
        self.record = challenge.record
        self.answer = b""  # our own proof, for a client whose proof is right
        self._challenge: Challenge | None = challenge
        self._frames = (first, second)
        self._binding = binding
        self._told = told

    def is_right(self) -> bool:
        """Tell whether the client knows the password; can be asked once."""
        challenge, self._challenge = self._challenge, None
        assert challenge is not None, "a challenge is for one proof"
        try:
            shared = challenge.shared()
        except SrpError:
            return False
        both = proofs(GROUP, shared, *self._frames, self._binding)
        right = hmac.compare_digest(both.client, self._told)
        if right:
            self.answer = both.server
        return right


@implementer(ICredentialsChecker)
class SrpChecker:
    """Lets those in who have proven their password, as long as the accounts say the same of them."""

    credentialInterfaces = (ISrpProof,)

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def requestAvatarId(  # type: ignore[override]  # cred hands on any value as the avatar's id
        self, credentials: SrpProof
    ) -> Deferred[User]:
        """Return the user, or fail with UnauthorizedLogin and a reason for the log alone."""
        right = credentials.is_right()  # before all else: it takes as long whoever they are
        record = credentials.record
        passwd = self._accounts.passwd()
        found = None if passwd is None else passwd.records.get(record.user)
        if passwd is None:
            reason = "no usable password file"
        elif found is None:
            reason = "no such user"
        elif found.locked:
            reason = "a locked user"
        elif not right:
            reason = "a wrong password"
        elif (found.verifier, found.role) != (record.verifier, record.role):
            reason = "a user who was changed meanwhile"
        else:
            return succeed(
                User(name=found.user, via="srp", role=found.role, verifier=found.verifier)
            )
        return fail(UnauthorizedLogin(reason))


def is_current(user: User, found: Record | None) -> bool:
    """Tell whether ``user``, who came in by password, would still come in as the same."""
    return (
        found is not None
        and not found.locked
        and (found.verifier, found.role) == (user.verifier, user.role)
    )
