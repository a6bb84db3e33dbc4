"""From a user to what they can ask for: the realm of the cred portal in front of the daemon."""

from __future__ import annotations

from collections.abc import Callable

from twisted.cred.portal import IRealm, Portal
from twisted.spread import pb
from zope.interface import Interface, implementer

from supervisortw.auth.accounts import Accounts, NoAccounts
from supervisortw.auth.anonymous import AnonymousChecker
from supervisortw.auth.password import SrpChecker
from supervisortw.auth.peer import PeerChecker
from supervisortw.auth.users import User
from supervisortw.interfaces import Control
from supervisortw.remote.avatar import Asked, ControlAvatar, unheard


@implementer(IRealm)
class ControlRealm:
    """Gives each session an avatar of its own; ``control_of`` gives the Control for who is named."""

    def __init__(self, control_of: Callable[[str], Control], asked: Asked = unheard) -> None:
        self._control_of = control_of
        self._asked = asked

    def requestAvatar(  # type: ignore[override]  # our checkers give a User as the avatar's id
        self, avatarId: User, mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], ControlAvatar, Callable[[], None]]:
        """Return the avatar of the user ``avatarId``, for Perspective Broker only."""
        if pb.IPerspective not in interfaces:
            raise NotImplementedError("only Perspective Broker is spoken here")
        avatar = ControlAvatar(self._control_of(avatarId.name), avatarId, self._asked)
        return pb.IPerspective, avatar, avatar.logout


def control_portal(
    control_of: Callable[[str], Control],
    asked: Asked = unheard,
    accounts: Accounts | None = None,
) -> Portal:
    """Return the portal through which every session comes.

    ``control_of`` is given who asks, and ``asked`` hears for what. ``accounts`` has the users that
    are known by their passwords.
    """
    checkers = [PeerChecker(), AnonymousChecker(), SrpChecker(accounts or NoAccounts())]
    return Portal(ControlRealm(control_of, asked), checkers)
