"""How many files the daemon may have open, and that its children do not get more for it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

from supervisortw.core.model import Limit


class FileLimit:
    """The limit of open files (RLIMIT_NOFILE) of this process.

    ``original`` is the soft and the hard limit that the daemon was started with.
    """

    def __init__(self) -> None:
        self.original = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._raised = False
        self._threads_at_work = 0

    def raise_to(self, needed: int) -> str | None:
        """Raise the soft limit to ``needed`` if it is lower; return what stands against it, if so.

        The hard limit is never changed; up to there the limit is raised in any case.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = resource.RLIM_INFINITY
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
        return (
            f"{needed} open files are needed and {allowed} are allowed; "
            f"raise the limit before supervisord is started (ulimit -n, or LimitNOFILE= in the unit)"
        )

    def for_message(self) -> tuple[Limit, ...]:
        """Return what has to be set in a child that was forked from a daemon with a raised limit."""
        if not self._raised:
            return ()
        soft, hard = (None if each == resource.RLIM_INFINITY else each for each in self.original)
        return (Limit(name="nofile", soft=soft, hard=hard),)

    def can_be_lowered(self) -> bool:
        """True if nobody would notice that the limit is the original one for a moment.

        A thread that opens a file in that moment could be refused, so none may be at work.
        """
        return not self._raised or self._threads_at_work == 0

    def thread_begins(self) -> None:
        """Take note that a thread may open files from now on."""
        self._threads_at_work += 1

    def thread_ends(self) -> None:
        """Take note that one of them is done."""
        self._threads_at_work -= 1

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
