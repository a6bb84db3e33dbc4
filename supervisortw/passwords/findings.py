"""What is not wrong with a password file, and should be known all the same."""

from __future__ import annotations

from collections.abc import Iterator

from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role


def findings(passwd: Passwd, mode: int) -> list[str]:
    """Return a sentence for each; ``mode`` are the permission bits of the file."""
    users = list(passwd.records.values())
    found = [line for record in users for line in _of_user(passwd, record)]
    enabled = [record for record in users if not record.locked]
    if not enabled:
        found.append("nobody can log in: there is no enabled user")
    elif not any(record.role is Role.ADMIN for record in enabled):
        found.append("no enabled user is an admin")
    if mode & 0o077:
        found.append(
            f"the file has mode {mode:04o}, so others can read it, and a daemon refuses it: "
            "'save' mends that, and all users should get new passwords"
        )
    return found


def _of_user(passwd: Passwd, record: Record) -> Iterator[str]:
    other = []
    if record.realm != passwd.realm:
        other.append("another realm")
    if record.kdf != passwd.kdf:
        other.append(f"other parameters ({record.kdf})")
    if other:
        yield (
            f"{record.user} has {' and '.join(other)} than the file, so everybody can tell that there "
            f"is such a user, and clients hash the password once more: 'passwd {record.user}' mends that"
        )
    if record.locked:
        yield f"{record.user} is disabled"
