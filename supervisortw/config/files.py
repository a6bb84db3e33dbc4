"""Configuration files as bytes on a disk: opening them, decoding them, and finding included ones.

ZConfig would open whatever `urllib` can open. Here a name is a path and nothing else, and only
regular files of a sensible size are read. A load sees the disk as a `FileSource`; what another one of
these has is another module's.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from dataclasses import dataclass
from typing import Protocol

from supervisortw.core.limits import LIMITS

# A configuration of 2,000 programs with all their keys has about a quarter of this.

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(file|package|https?|ftp|data):", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?\[]")
_INI_SECTION = re.compile(
    r"\s*\[(supervisord|supervisorctl|unix_http_server|inet_http_server|include"
    r"|(program|group|eventlistener|fcgi-program|rpcinterface|ctlplugin):[^\]]*)\]",
    re.IGNORECASE,
)


class Unreadable(Exception):
    """A file cannot be used; ``line`` is where in it the trouble is, if it could be opened."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was read. ``identity`` is the same for every name of the same file."""

    path: str
    text: str
    identity: object


class FileSource(Protocol):
    """Where a load has its files from."""

    def read(self, path: str) -> Source:
        """Return the file at the absolute ``path``, or raise Unreadable."""

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        """Return what `matching` does."""


class Disk:
    """The files of this machine, as they are now."""

    def read(self, path: str) -> Source:
        """Return the file at ``path``, or raise Unreadable."""
        return read(path)

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        """Return what `matching` does."""
        return matching(directory, pattern)


DISK = Disk()


def read(path: str) -> Source:
    """Return the file at ``path``, or raise Unreadable."""
    data, identity = _bytes_of(path)
    nul = data.find(b"\0")
    if nul >= 0:
        raise Unreadable("a NUL byte; this is no text file", 1 + data.count(b"\n", 0, nul))
    try:
        # Some editors begin a file with a byte order mark, which is not meant as part of the text.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The position counts from after a byte order mark, which never holds a line end.
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise Unreadable("bytes that are not UTF-8 text", line) from None
    return Source(path, text, identity)


def _bytes_of(path: str) -> tuple[bytes, tuple[int, int]]:
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(_reason(error)) from None
    except ValueError:
        raise Unreadable("its name holds a NUL character") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable("it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LIMITS.file_bytes + 1)
    except OSError as error:
        raise Unreadable(_reason(error)) from None
    finally:
        os.close(descriptor)
    if len(data) > LIMITS.file_bytes:
        raise Unreadable(f"it has more than {LIMITS.file_bytes} bytes")
    return data, (status.st_dev, status.st_ino)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:  # what opening a socket gives
        return "not a regular file"
    return (error.strerror or "unknown error").lower()


def line_of_ini(text: str) -> int | None:
    """Return the line that shows ``text`` to be a file for supervisor 3 or 4, or None."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith(("#", ";", "%")):
            continue
        # What comes first that is no comment decides: here it would be <supervisord>.
        return number if _INI_SECTION.match(line) else None
    return None


def is_url(name: str) -> bool:
    """True if ``name`` looks like a URL, which is never opened."""
    return _URL.match(name) is not None


def is_pattern(name: str) -> bool:
    """True if ``name`` has wildcards in it."""
    return _WILDCARD.search(name) is not None


def matching(directory: str, pattern: str) -> tuple[str, ...]:
    """Return the normal paths that match ``pattern``, relative to ``directory``, sorted.

    A file that has just this name is meant before any that match it.
    """
    path = resolved(directory, pattern)
    if os.path.lexists(path):
        return (path,)
    found = glob.glob(os.path.join(glob.escape(directory), pattern))
    return tuple(os.path.normpath(match) for match in sorted(found))


def resolved(directory: str, name: str) -> str:
    """Return the normal path of ``name``, relative to ``directory``. Links are not looked at."""
    return os.path.normpath(os.path.join(directory, name))
