"""New users and new files: what has to be random or takes long."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import GENERATED_BYTES, SECRET_BYTES, Passwd, Record, generated
from supervisortw.core.roles import Role
from supervisortw.core.srp import (
    BLIND_BITS,
    GROUP,
    SALT_BYTES,
    SrpError,
    password_bytes,
    private_key,
    stretch,
)
from supervisortw.errors import LocalError

Random = Callable[[int], bytes]


def new_passwd(random: Random = secrets.token_bytes) -> Passwd:
    """Return a password file without users, with a realm of its own."""
    return Passwd(secret=random(SECRET_BYTES), realm=random(SALT_BYTES))


def new_password(random: Random = secrets.token_bytes) -> str:
    """Return a password that nobody guesses."""
    return generated(random(GENERATED_BYTES))


def refuse_weak(password: str) -> str | None:
    """Return a warning about a password that should be longer. Raises SrpError for one that has to."""
    password_bytes(password)
    least, advised = LIMITS.password_characters_least, LIMITS.password_characters_advised
    if len(password) < least:
        raise SrpError(f"a password has at least {least} characters")
    if len(password) < advised:
        return f"fewer than {advised} characters can be guessed by who gets hold of the file"
    return None


def new_record(
    passwd: Passwd,
    user: str,
    password: str,
    *,
    role: Role,
    comment: str = "",
    locked: bool = False,
    now: float | None = None,
    random: Random = secrets.token_bytes,
) -> Record:
    """Return what ``passwd`` has to keep of a user with this password. That takes half a second.

    Raises SrpError for a password that cannot be one, and LocalError if memory is short.
    """
    data = password_bytes(password)
    try:
        stretched = stretch(data, user, passwd.kdf, passwd.realm)
    except (MemoryError, ValueError):
        need = (passwd.kdf.r << passwd.kdf.ln) // 8192
        raise LocalError(f"not enough memory: {need} MiB are needed to hash a password") from None
    salt = random(SALT_BYTES)
    blind = int.from_bytes(random(BLIND_BITS // 8), "big") | 1
    return Record(
        user=user,
        role=role,
        kdf=passwd.kdf,
        realm=passwd.realm,
        salt=salt,
        verifier=GROUP.verifier(private_key(stretched, salt), pow, blind),
        changed=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        comment=comment,
        locked=locked,
    )
