"""Who a program runs as: names from the configuration turned into numbers of this machine."""

from __future__ import annotations

import grp
import os
import pwd

from supervisortw.core.environment import Login
from supervisortw.core.limits import LIMITS
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Clock, Identity


def identity_of(user: str | None, group: str | None = None) -> Identity | None:
    """Return who ``user`` is, or None if that is who the daemon is already.

    ``group`` takes the place of the user's primary group. Raises SpawnError if there is no such user
    or group, or if the daemon is not root and cannot become them.
    """
    if user is None and group is None:
        return None
    entry = _entry_of(user or str(os.geteuid()))
    gid = entry.pw_gid if group is None else _gid_of(group)
    if (entry.pw_uid, gid) == (os.geteuid(), os.getegid()):
        return None
    who = f"user {entry.pw_name}" + (f" with group {group}" if group is not None else "")
    if os.geteuid() != 0:
        raise SpawnError(
            f"cannot run as {who}: only root can, and supervisord runs as uid {os.geteuid()}",
            permanent=True,
        )
    if gid == 0 and entry.pw_uid != 0:
        raise SpawnError(f"cannot run as {who}: its group would be root's (gid 0)", permanent=True)
    return Identity(
        uid=entry.pw_uid,
        gid=gid,
        groups=tuple(os.getgrouplist(entry.pw_name, gid)),
        login=Login(name=entry.pw_name, home=entry.pw_dir, shell=entry.pw_shell),
    )


def _gid_of(group: str) -> int:
    try:
        return int(group) if group.isascii() and group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise SpawnError(f"no such group: {group}", permanent=True) from None


def _entry_of(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isascii() and user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise SpawnError(f"no such user: {user}", permanent=True) from None


class Identities:
    """Looks users up, and remembers them for a moment: hundreds of programs start as one user.

    What was changed in the user database holds LIMITS.identity_seconds later at the latest.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str | None, str | None], Identity | None] = {}
        self._since = 0.0

    def of(self, user: str | None, group: str | None) -> Identity | None:
        """Return the same as `identity_of`. Raises SpawnError."""
        if user is None and group is None:
            return None
        now = self._clock.seconds()
        if now - self._since > LIMITS.identity_seconds:
            self._known.clear()
            self._since = now
        if (user, group) not in self._known:
            self._known[user, group] = identity_of(user, group)
        return self._known[user, group]
