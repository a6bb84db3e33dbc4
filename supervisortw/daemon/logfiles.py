"""Log files, and who handles them: the daemon itself where that is safe, or else a deputy.

Root does nothing by name in a directory that somebody else can change. Where a log lies in such a
directory and the program runs as another user, a process with that user's identity does it, and can do
no more than that user could.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from supervisortw.core.model import Process
from supervisortw.daemon.deputies import Deputies
from supervisortw.daemon.identity import Identities
from supervisortw.daemon.logdirectory import LogDirectory, OpenDirectory, check_name
from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import UnsafePath
from supervisortw.interfaces import Clock

_User = tuple[str | None, str | None]  # as the configuration names user and group


def daemon_log_directory(path: str) -> OpenDirectory:
    """Return what opens the directory of the daemon's own log."""
    return lambda: open_parent(path, owners=owners())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    path: str
    user: _User
    directory: LogDirectory


class ProgramLogs:
    """Opens the directories that the logs of processes are in.

    Most logs lie in one directory. The way to it is walked once in each turn of the reactor.
    """

    def __init__(self, clock: Clock, deputies: Deputies) -> None:
        self._clock = clock
        self._deputies = deputies
        self._identities = Identities(clock)
        self._kept: _Kept | None = None

    @contextlib.contextmanager
    def directory(self, process: Process, path: str) -> Iterator[LogDirectory]:
        """Give the directory that a log of a process is in. Raises LocalError."""
        check_name(os.path.basename(path))
        yield self._kept_directory(process, path)

    def _kept_directory(self, process: Process, path: str) -> LogDirectory:
        where, user = os.path.dirname(path), (process.user, process.unix_group)
        kept = self._kept
        if kept is None or (kept.path, kept.user) != (where, user):
            directory = self._directory(process, path)
            self._let_go()
            kept = self._kept = _Kept(path=where, user=user, directory=directory)
            self._clock.callLater(0, self._let_go)
        return kept.directory

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.directory.close()
            self._kept = None

    def _directory(self, process: Process, path: str) -> LogDirectory:
        in_their_name = partial(self._in_their_name, process, os.path.dirname(path))
        try:
            trusted = open_parent(path, owners=owners())
        except UnsafePath:
            theirs = in_their_name()
            if theirs is None:
                raise
            return theirs
        return _OurDirectory(trusted, in_their_name)

    def _in_their_name(self, process: Process, where: str) -> LogDirectory | None:
        """Return a directory as the user of a process may use it, or None if that is no other user."""
        identity = self._identities.of(process.user, process.unix_group)
        if identity is None or identity.uid == 0:
            return None
        return self._deputies.directory(identity, where, owners())


class _OurDirectory:
    """A directory that only we can change, with files in it that may belong to the user of a program."""

    def __init__(
        self, directory: TrustedDirectory, in_their_name: Callable[[], LogDirectory | None]
    ) -> None:
        self.path = directory.path
        self.rename, self.rename_all = directory.rename, directory.rename_all
        self.remove, self.stat, self.close = directory.remove, directory.stat, directory.close
        self._open = directory.open
        self._in_their_name = in_their_name

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make a regular file, in the name of its owner where it is not ours."""
        try:
            return self._open(name, flags, mode)
        except UnsafePath:
            theirs = self._in_their_name()
            if theirs is None:
                raise
            with contextlib.closing(theirs):
                return theirs.open(name, flags, mode)
