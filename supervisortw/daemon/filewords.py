"""What is wrong with a file or a directory, and whose it is, in words."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator

from supervisortw.errors import LocalError, UnsafePath

A_LINK = (errno.ELOOP, errno.EMLINK)  # one that O_NOFOLLOW stopped at
FORBIDDEN = (errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def in_words(verb: str, path: str) -> Iterator[None]:
    """Turn an OSError into a LocalError that is caused by it."""
    try:
        yield
    except OSError as error:
        raise plain(error, verb, path) from error


def plain(error: OSError, verb: str, what: str) -> LocalError:
    """Return the LocalError that tells why we could not ``verb`` ``what``."""
    if error.errno == errno.ENOENT:
        return LocalError(f"{what} does not exist")
    if error.errno in FORBIDDEN:
        return LocalError(f"no permission to {verb} {what}")
    if error.errno in A_LINK:
        return UnsafePath(f"{what} is a link; name the file that it points to")
    if error.errno == errno.ENXIO:
        return UnsafePath(f"{what} is a FIFO or a socket, not a regular file")
    return LocalError(f"cannot {verb} {what}: {(error.strerror or str(error)).lower()}")


def swapped(path: str) -> UnsafePath:
    """Return the error for a name that was another file's a moment ago."""
    return UnsafePath(f"{path} was changed by somebody while it was being opened")


def verb(flags: int) -> str:
    """Return what `os.open` with these flags is for."""
    return "read" if flags & os.O_ACCMODE == os.O_RDONLY else "write"


def kind(found: os.stat_result) -> str:
    """Return what it is, with an article."""
    kinds = {"l": "a link", "d": "a directory", "p": "a FIFO", "s": "a socket", "-": "a file"}
    return kinds.get(stat.filemode(found.st_mode)[0], "a device")


def users(uids: frozenset[int]) -> str:
    """Return the names of several users."""
    return " or ".join(user(uid) for uid in sorted(uids))


def user(uid: int) -> str:
    """Return the name of a user, with the number, if it has one."""
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})" if uid else "root"
    return f"uid {uid}"


def group(gid: int) -> str:
    """Return the name of a group, if it has one."""
    with contextlib.suppress(KeyError):
        return f"group {grp.getgrgid(gid).gr_name}"
    return f"group {gid}"
