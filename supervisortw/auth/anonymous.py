"""Everybody, where the configuration says in so many words that everybody may do everything."""

from __future__ import annotations

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IAnonymous
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from supervisortw.auth.users import User
from supervisortw.core.roles import Role

ANONYMOUS = User(name="anonymous", via="anonymous", role=Role.ADMIN)


@implementer(ICredentialsChecker)
class AnonymousChecker:
    """Lets in whoever comes without saying who they are; only an anonymous listener asks it."""

    credentialInterfaces = (IAnonymous,)

    def requestAvatarId(  # type: ignore[override]  # cred hands on any value as the avatar's id
        self, credentials: IAnonymous
    ) -> Deferred[User]:
        """Return the one user that they all are."""
        return succeed(ANONYMOUS)
