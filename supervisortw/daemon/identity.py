"""Who a program runs as: names from the configuration turned into numbers of this machine."""

from __future__ import annotations

import os
import pwd

from supervisortw.core.environment import Login
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity


def identity_of(user: str | None) -> Identity | None:
    """Return who ``user`` is, or None if that is who the daemon is already.

    Raises SpawnError if there is no such user, or if the daemon is not root and cannot become them.
    """
    if user is None:
        return None
    entry = _entry_of(user)
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise SpawnError(
            f"cannot run as user {user}: only root can, and supervisord runs as uid {os.geteuid()}",
            permanent=True,
        )
    if entry.pw_gid == 0:
        raise SpawnError(
            f"cannot run as user {user}: its primary group is root's (gid 0)", permanent=True
        )
    return Identity(
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)),
        login=Login(name=entry.pw_name, home=entry.pw_dir, shell=entry.pw_shell),
    )


def _entry_of(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isascii() and user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise SpawnError(f"no such user: {user}", permanent=True) from None
