"""Opening log files, by whom it is safe: the daemon itself, or the user that the program runs as.

Root never opens a file by name in a directory that somebody else can change. Where a log lies in such
a directory and the program runs as another user, a short-lived child with that user's identity opens
it, and can open no more than that user could.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from supervisortw.core.model import Process
from supervisortw.daemon.identity import identity_of
from supervisortw.daemon.logdirectory import LogDirectory, OpenDirectory, OwnDirectory
from supervisortw.daemon.paths import TrustedDirectory, open_as, open_parent
from supervisortw.daemon.places import owners
from supervisortw.errors import LocalError, UnsafePath
from supervisortw.interfaces import Clock, Identity


def daemon_log_directory(path: str) -> OpenDirectory:
    """Return what opens the directory of the daemon's own log."""

    @contextmanager
    def opened() -> Iterator[LogDirectory]:
        with open_parent(path, owners=owners()) as directory:
            yield OwnDirectory(directory)

    return opened


class ProgramLogs:
    """Opens the directories of the logs of processes.

    Most of them lie in one directory. The way to it is walked once in each turn of the reactor.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._directory: TrustedDirectory | None = None
        self._path = ""

    @contextmanager
    def directory(self, process: Process, path: str) -> Iterator[LogDirectory]:
        """Open the directory of a log of a process. Raises LocalError."""
        identity = identity_of(process.user, process.unix_group)
        found: LogDirectory | None = self._own_directory(path, identity)
        if found is None:
            assert identity is not None
            found = _Foreign(identity, os.path.dirname(path))
        yield found

    def _own_directory(self, path: str, identity: Identity | None) -> OwnDirectory | None:
        """Return the directory, or None if only ``identity`` is to work in it. Raises LocalError."""
        is_other = identity is not None and identity.uid != 0
        try:
            directory = self._directory_of(path)
        except UnsafePath:
            if not is_other:
                raise
            return None
        own = OwnDirectory(directory)
        if (
            is_other and directory.sticky
        ):  # others have files there, too, such as the program's user
            found = own.stat(os.path.basename(path))
            if found is not None and found.st_uid not in owners():
                return None
        return own

    def _directory_of(self, path: str) -> TrustedDirectory:
        directory = os.path.dirname(path)
        if self._directory is None or self._path != directory:
            found = open_parent(path, owners=owners())
            self._let_go()
            self._directory, self._path = found, directory
            self._clock.callLater(0, self._let_go)
        return self._directory

    def _let_go(self) -> None:
        if self._directory is not None:
            self._directory.close()
            self._directory = None


class _Foreign:
    """A directory that the user of a program can change: that user works there."""

    def __init__(self, identity: Identity, directory: str) -> None:
        self._identity = identity
        self._directory = directory

    def open(self, name: str, flags: int, mode: int) -> int:
        who = self._identity
        path = os.path.join(self._directory, name)
        believed = owners() | {who.uid}
        return open_as(who.uid, who.gid, who.groups, path, flags, mode, owners=believed)

    def rename(self, old: str, new: str) -> None:
        raise LocalError("not there yet")

    def remove(self, name: str) -> None:
        raise LocalError("not there yet")

    def stat(self, name: str) -> os.stat_result | None:
        return None
