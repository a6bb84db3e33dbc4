"""How many files the daemon may have open, and that its children do not get more for it."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Limit
from supervisortw.errors import SpawnError

ROOM = 64  # descriptors that all our threads together may want within a moment


class FileLimit:
    """The limit of open files (RLIMIT_NOFILE) of this process.

    ``original`` is the soft and the hard limit that the daemon was started with.
    """

    def __init__(self) -> None:
        self.original = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._raised = False
        self._enough = True

    def raise_to(self, needed: int) -> str | None:
        """Raise the soft limit to ``needed`` if it is lower; return what stands against it, if so.

        The hard limit is never changed; up to there the limit is raised in any case.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = resource.RLIM_INFINITY
        self._enough = True
        if soft == unlimited or soft >= needed:
            return None
        allowed = needed if hard == unlimited else min(needed, hard)
        try:
            if allowed > soft:
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
                self._raised = True
        except (OSError, ValueError):  # the system has a limit of its own (macOS)
            allowed = soft
        if allowed >= needed:
            return None
        self._enough = False
        return (
            f"{needed} open files are needed and {allowed} are allowed; "
            f"raise the limit before supervisord is started (ulimit -n, or LimitNOFILE= in the unit)"
        )

    def check_room(self) -> None:
        """Raise SpawnError if a program more would take what is kept for those who steer the daemon."""
        if self._enough:
            return
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            there_is_room = _lowest_free() < allowed - LIMITS.files_kept
        except OSError:
            there_is_room = False
        if not there_is_room:
            reason = (
                f"too many open files: {allowed} are allowed, and the last are kept for clients"
            )
            raise SpawnError(reason, permanent=False)

    def for_message(self) -> tuple[Limit, ...]:
        """Return what has to be set in a child that was forked from a daemon with a raised limit."""
        if not self._raised:
            return ()
        soft, hard = (None if each == resource.RLIM_INFINITY else each for each in self.original)
        return (Limit(name="nofile", soft=soft, hard=hard),)

    def can_be_lowered(self) -> bool:
        """True if nobody would notice that the limit is the original one for a moment.

        A thread that opens a file in that moment gets the lowest number that is free, so it is enough
        if that is well below the original limit.
        """
        if not self._raised:
            return True
        return _lowest_free() < self.original[0] - ROOM

    @contextlib.contextmanager
    def for_children(self) -> Iterator[None]:
        """Let a child that is started meanwhile have the original limit; see `can_be_lowered`."""
        if not self._raised:
            yield
            return
        now = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.original[0], now[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, now)


def _lowest_free() -> int:
    """Return the number that the next file gets. Raises OSError if there is none left."""
    lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(lowest)
    return lowest
