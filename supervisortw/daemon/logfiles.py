"""Opening log files, by whom it is safe: the daemon itself, or the user that the program runs as.

Root never opens a file by name in a directory that somebody else can change. Where a log lies in such
a directory and the program runs as another user, a short-lived child with that user's identity opens
it, and can open no more than that user could.
"""

from __future__ import annotations

import os

from supervisortw.core.model import Process
from supervisortw.daemon.identity import identity_of
from supervisortw.daemon.paths import TrustedDirectory, open_as, open_parent, open_regular
from supervisortw.daemon.places import owners
from supervisortw.errors import UnsafePath
from supervisortw.interfaces import Clock

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
MODE = 0o640


def open_daemon_log(path: str) -> int:
    """Open the daemon's own log. Raises LocalError."""
    return open_regular(path, FLAGS, MODE, owners=owners())


class ProgramLogs:
    """Opens the logs of processes.

    Most of them lie in one directory. The way to it is walked once in each turn of the reactor.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._directory: TrustedDirectory | None = None
        self._path = ""

    def open(self, process: Process, path: str) -> int:
        """Open a log of a process. Raises LocalError."""
        identity = identity_of(process.user, process.unix_group)
        believed = owners() | ({identity.uid} if identity else frozenset())
        try:
            return self._directory_of(path).open_regular(os.path.basename(path), FLAGS, MODE)
        except UnsafePath:
            if identity is None or identity.uid == 0:
                raise
        return open_as(
            identity.uid, identity.gid, identity.groups, path, FLAGS, MODE, owners=believed
        )

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
