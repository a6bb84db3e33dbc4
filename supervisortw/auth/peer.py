"""Users of this machine, whom the kernel vouches for: their credentials, and who believes them."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from supervisortw.auth.users import User, at_home, user_name
from supervisortw.core.roles import Role


class IPeer(ICredentials):
    """A process on this machine, as the kernel tells who it is."""


@implementer(IPeer)
@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCredentials:
    """The uid of the process at the other end of a UNIX socket, at the time it connected."""

    uid: int


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
        return succeed(User(name=user_name(credentials.uid), via="peer", role=Role.ADMIN))
