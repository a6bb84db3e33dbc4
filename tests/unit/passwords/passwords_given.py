"""A password file for tests, with users whose passwords nobody knows."""

from __future__ import annotations

import os
from pathlib import Path

from supervisortw.core.passwd import Passwd, Record, written
from supervisortw.core.roles import Role
from supervisortw.core.srp import Kdf

EMPTY = Passwd(secret=bytes(range(32)), realm=bytes(16), kdf=Kdf(ln=14))


def record(user: str, role: Role = Role.OPERATOR, **others: object) -> Record:
    keys = {
        "kdf": EMPTY.kdf,
        "realm": EMPTY.realm,
        "salt": bytes(range(16)),
        "verifier": 12345,
        "changed": "2026-11-22T07:00:00Z",
        **others,
    }
    return Record(user=user, role=role, **keys)  # type: ignore[arg-type]


ONE = EMPTY.put(record("alice", Role.ADMIN))
TWO = ONE.put(record("bob"))


def put(path: Path, passwd: Passwd | str | bytes, mode: int = 0o600) -> None:
    """Put another file in the place of ``path``, as every careful writer does."""
    if isinstance(passwd, Passwd):
        passwd = written(passwd)
    fresh = path.with_name("fresh")
    fresh.write_bytes(passwd.encode() if isinstance(passwd, str) else passwd)
    fresh.chmod(mode)
    os.rename(fresh, path)
