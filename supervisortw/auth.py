"""Who somebody is: the cred side. Credentials, the checkers that believe them, and users.

Knows users and how they prove who they are. Must not know what they then do.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer


class IPeer(ICredentials):
    """A process on this machine, as the kernel tells who it is."""


@implementer(IPeer)
@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCredentials:
    """The uid of the process at the other end of a UNIX socket, at the time it connected."""

    uid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who was let in; ``via`` says how they proved who they are."""

    name: str
    via: str


def at_home(own_uid: int | None = None) -> frozenset[int]:
    """Return who a daemon of ``own_uid``, by default our own, obeys: root and that user."""
    return frozenset({0, os.geteuid() if own_uid is None else own_uid})


@implementer(ICredentialsChecker)
class PeerChecker:
    """Lets root and the daemon's own user in, and nobody else."""

    credentialInterfaces = (IPeer,)

    def __init__(self, own_uid: int | None = None) -> None:
        self._allowed = at_home(own_uid)

    def requestAvatarId(  # type: ignore[override]  # cred hands on any value as the avatar's id
        self, credentials: PeerCredentials
    ) -> Deferred[User]:
        """Return the user, or fail with UnauthorizedLogin."""
        if credentials.uid not in self._allowed:
            return fail(UnauthorizedLogin(f"uid {credentials.uid}"))
        return succeed(User(name=user_name(credentials.uid), via="peer"))


def user_name(uid: int) -> str:
    """Return the login name of ``uid``, or the number as text if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
