"""The directory of a log, as it is needed to keep the log: its entries by their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from supervisortw.daemon.paths import TrustedDirectory
from supervisortw.errors import LocalError


class LogDirectory(Protocol):
    """A directory that is held open: whatever happens to its path, these are its entries."""

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make a regular file. Raises LocalError."""

    def rename(self, old: str, new: str) -> None:
        """Rename an entry, in place of what had the new name. Raises LocalError."""

    def remove(self, name: str) -> None:
        """Remove an entry if it is there. Raises LocalError."""

    def stat(self, name: str) -> os.stat_result | None:
        """Return what an entry is, links not followed; None if it is not there. Raises LocalError."""


# Raises LocalError, as UnsafePath if somebody else could put things of theirs in its place.
OpenDirectory = Callable[[], AbstractContextManager[LogDirectory]]


class OwnDirectory:
    """A directory that nobody else can change."""

    def __init__(self, directory: TrustedDirectory) -> None:
        self._directory = directory

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make a regular file."""
        return self._directory.open_regular(name, flags, mode)

    def rename(self, old: str, new: str) -> None:
        """Rename an entry."""
        fd = self._directory.fd
        try:
            os.rename(old, new, src_dir_fd=fd, dst_dir_fd=fd)
        except OSError as error:
            raise self._trouble("rename", old, error) from error

    def remove(self, name: str) -> None:
        """Remove an entry."""
        try:
            os.unlink(name, dir_fd=self._directory.fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._trouble("remove", name, error) from error

    def stat(self, name: str) -> os.stat_result | None:
        """Return what an entry is."""
        try:
            return os.stat(name, dir_fd=self._directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble("look at", name, error) from error

    def _trouble(self, verb: str, name: str, error: OSError) -> LocalError:
        path = os.path.join(self._directory.path, name)
        return LocalError(f"cannot {verb} {path}: {error.strerror}")
