"""Who somebody is, once that is proven, and the words for users of this machine."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field

from supervisortw.core.roles import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who was let in.

    ``via`` says how they proved who they are: ``peer``, ``srp``, or ``anonymous`` for not at all.
    ``verifier`` is what was known of the password of somebody who came by one.
    """

    name: str
    via: str
    role: Role
    verifier: int | None = field(default=None, repr=False)


def at_home(own_uid: int | None = None) -> frozenset[int]:
    """Return who a daemon of ``own_uid``, by default our own, obeys: root and that user."""
    return frozenset({0, os.geteuid() if own_uid is None else own_uid})


def user_name(uid: int) -> str:
    """Return the login name of ``uid``, or the number as text if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
