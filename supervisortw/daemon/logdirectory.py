"""What is done in the directory of a log, whoever may do it there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from supervisortw.errors import LocalError


class LogDirectory(Protocol):
    """An open directory; close it. Names are those of files in it, never paths.

    What is wrong is told by LocalError, as UnsafePath if somebody has put something there that must
    not be touched. Where the system has refused, it is caused by the OSError of that.
    """

    path: str

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make a regular file that has one name, and return its descriptor.

        ``flags`` and ``mode`` are those of `os.open`; the umask counts. A file that does not pass is
        neither written, truncated nor removed.
        """

    def rename(self, old: str, new: str) -> None:
        """Give ``old`` the name ``new``, whatever has that now."""

    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename one after the other, up to the first that fails; what is not there is passed over."""

    def remove(self, name: str) -> None:
        """Remove ``name``, which is no directory."""

    def stat(self, name: str) -> os.stat_result | None:
        """Return what ``name`` is, links not followed, or None if there is no such thing."""

    def close(self) -> None:
        """Let go of it; doing it again changes nothing."""


# Opens a directory for what is done at once. Raises LocalError, as UnsafePath if somebody else could put
# things of theirs in its place.
OpenDirectory = Callable[[], AbstractContextManager[LogDirectory]]


def check_name(name: str) -> None:
    """Raise LocalError for what is not the name of a file in a directory."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise LocalError(f"{name!r} is not the name of a file")
