"""The password file: what a daemon knows of each user's password, and how that is written down.

::

    #supervisortw-passwd 1 SECRET REALM KDF
    USER SCHEME ROLE GROUP KDF REALM SALT VERIFIER CHANGED COMMENT

with one space between the fields, and bytes in URL-safe base64 without padding. The first line holds
what makes unknown users look like others, and the realm and the parameters that new passwords are
stretched with. SCHEME is ``srp1``, or ``!srp1`` for a user who is locked out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.core.srp import GROUP, SALT_BYTES, SCRYPT, Kdf, SrpError, user_name

MAGIC = "#supervisortw-passwd"
VERSION = "1"
SCHEME, LOCKED = "srp1", "!srp1"
GROUP_NAME = "rfc5054-3072"
SECRET_BYTES = 32
GENERATED_BYTES = 10
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: nothing in it looks like another one
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
_COMMENT_CHARACTERS = 200


class PasswdError(ValueError):
    """The text is no password file; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One user. ``changed`` is when the password was set, in UTC, such as 2026-11-22T07:00:00Z."""

    user: str
    role: Role
    kdf: Kdf
    realm: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    verifier: int = field(repr=False)
    changed: str
    comment: str = ""
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwd:
    """A whole password file. ``secret`` is random; ``realm`` and ``kdf`` are for new passwords."""

    secret: bytes = field(repr=False)
    realm: bytes = field(repr=False)
    kdf: Kdf = SCRYPT
    records: Mapping[str, Record] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def enabled(self) -> int:
        """How many users can log in."""
        return sum(not record.locked for record in self.records.values())

    def put(self, record: Record) -> Passwd:
        """Return the same with ``record`` in it, in place of what its user had."""
        return replace(self, records=MappingProxyType({**self.records, record.user: record}))

    def without(self, user: str) -> Passwd:
        """Return the same without ``user``. Raises KeyError if there is none."""
        left = dict(self.records)
        del left[user]
        return replace(self, records=MappingProxyType(left))

    def stranger(self, user: str, verifier: int) -> Record:
        """Return a record for a user that there is not, which looks like those of others.

        It is the same each time, but for ``verifier``, which nobody sees and no password opens.
        """
        salt = hmac.digest(self.secret, b"salt" + user.encode("ascii"), "sha256")[:SALT_BYTES]
        return Record(
            user=user,
            role=Role.OBSERVER,
            kdf=self.kdf,
            realm=self.realm,
            salt=salt,
            verifier=verifier,
            changed="",
            locked=True,
        )


def parse(text: str) -> Passwd:
    """Return what a password file says. Raises PasswdError for anything that is not as it should be."""
    lines = text.split("\n")
    if lines.pop() != "":
        raise PasswdError(len(lines) + 1, "the last line is cut off")
    if not lines or not lines[0].startswith(f"{MAGIC} "):
        raise PasswdError(1, f"not a password file of supervisortw; those begin with {MAGIC}")
    passwd = _header(lines[0])
    if len(lines) - 1 > LIMITS.passwd_users:
        raise PasswdError(len(lines), f"more than {LIMITS.passwd_users} users")
    records: dict[str, Record] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            record = _record(line)
        except ValueError as error:
            raise PasswdError(number, str(error)) from None
        if record.user in records:
            raise PasswdError(number, f"a second line for user {record.user}")
        records[record.user] = record
    return replace(passwd, records=MappingProxyType(records))


def written(passwd: Passwd) -> str:
    """Return the text that `parse` reads."""
    head = (MAGIC, VERSION, _encoded(passwd.secret), _encoded(passwd.realm), str(passwd.kdf))
    lines = [" ".join(head)]
    for record in passwd.records.values():
        fields = [
            *(record.user, LOCKED if record.locked else SCHEME, str(record.role), GROUP_NAME),
            *(str(record.kdf), _encoded(record.realm), _encoded(record.salt)),
            *(_encoded(GROUP.packed(record.verifier)), record.changed, record.comment),
        ]
        lines.append(" ".join(fields).rstrip())
    return "".join(f"{line}\n" for line in lines)


def comment(text: str) -> str:
    """Return ``text`` if it can stand behind a user. Raises ValueError."""
    if len(text) > _COMMENT_CHARACTERS or not text.isprintable() or text != text.strip():
        raise ValueError(f"a comment has up to {_COMMENT_CHARACTERS} printable characters")
    return text


def generated(random: bytes) -> str:
    """Return a password of 80 bits, made from GENERATED_BYTES random bytes: xxxx-xxxx-xxxx-xxxx."""
    number = int.from_bytes(random, "big")
    letters = [_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5)]
    return "-".join("".join(letters[at : at + 4]) for at in range(0, 16, 4))


def realm_of(text: str) -> bytes:
    """Return the realm that 32 hexadecimal digits tell. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        raise ValueError("a realm is written in 32 hexadecimal digits")
    return bytes.fromhex(text)


def _header(line: str) -> Passwd:
    fields = line.split(" ")
    if len(fields) > 1 and fields[1] != VERSION:
        raise PasswdError(1, "a password file of another version of supervisortw")
    if len(fields) != 5:
        raise PasswdError(1, "the first line has 5 fields")
    try:
        return Passwd(
            secret=_decoded(fields[2], SECRET_BYTES),
            realm=_decoded(fields[3], SALT_BYTES),
            kdf=Kdf.parse(fields[4]),
        )
    except ValueError as error:
        raise PasswdError(1, str(error)) from None


@lru_cache(maxsize=LIMITS.passwd_users)  # a daemon reads all when one has changed: 30 us each
def _record(line: str) -> Record:
    """Read one line. Raises ValueError."""
    fields = line.split(" ", 9)
    if len(fields) < 9:
        raise ValueError("expected 9 fields and a comment, with one space between them")
    user, scheme, role, group, kdf, realm, salt, verifier, changed = fields[:9]
    if scheme not in (SCHEME, LOCKED):
        raise ValueError(f"unknown scheme; expected {SCHEME}, or {LOCKED} for a locked user")
    if group != GROUP_NAME:
        raise ValueError(f"unknown group; expected {GROUP_NAME}")
    if not _TIME.match(changed):
        raise ValueError("expected a time such as 2026-11-22T07:00:00Z")
    try:
        number = GROUP.unpacked(_decoded(verifier, GROUP.width))
    except SrpError:
        raise ValueError("a verifier that belongs to no password") from None
    return Record(
        user=user_name(user),
        role=Role.parse(role),
        kdf=Kdf.parse(kdf),
        realm=_decoded(realm, SALT_BYTES),
        salt=_decoded(salt, SALT_BYTES),
        verifier=number,
        changed=changed,
        comment=comment(fields[9]) if len(fields) > 9 else "",
        locked=scheme == LOCKED,
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str, size: int) -> bytes:
    """Return the ``size`` bytes that ``text`` encodes, written as `_encoded` does. Raises ValueError."""
    try:
        data = base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        data = b""
    if len(data) != size or _encoded(data) != text:
        raise ValueError(f"expected {size} bytes in URL-safe base64")
    return data
