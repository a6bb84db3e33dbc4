"""How many files the daemon may have open, and that its children do not get more for it."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Limit

STREAMS = 3


class FileLimit:
    """The limit of open files (RLIMIT_NOFILE) of this process.

    ``original`` is the soft and the hard limit that the daemon was started with.
    """

    def __init__(self) -> None:
        self.original = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._raised = False
        self._threads_at_work = 0
        # Numbers below the original limit: a child can be given no others while it holds.
        self._low: list[int] = []

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
                self._keep_low_numbers()
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

    def raise_fully(self) -> None:
        """Raise the soft limit as far as it goes, where it is not known yet how much is needed."""
        _, hard = self.original
        self.raise_to(LIMITS.files_at_most if hard == resource.RLIM_INFINITY else hard)

    def for_message(self) -> tuple[Limit, ...]:
        """Return what has to be set in a child that was forked from a daemon with a raised limit."""
        if not self._raised:
            return ()
        soft, hard = (None if each == resource.RLIM_INFINITY else each for each in self.original)
        return (Limit(name="nofile", soft=soft, hard=hard),)

    def _keep_low_numbers(self) -> None:
        while len(self._low) < STREAMS:
            self._low.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))

    def close(self) -> None:
        """Let go of the numbers that were kept for streams; nothing can be started any more."""
        while self._low:
            os.close(self._low.pop())

    def for_child(self, streams: Sequence[int]) -> AbstractContextManager[Sequence[int]]:
        """Let a child that is started within have the original limit; see `can_be_lowered`.

        Gives numbers for ``streams`` that are good under that limit. Raises OSError if there are none.
        """
        return self._for_one_child(streams) if self._raised else nullcontext(streams)

    @contextlib.contextmanager
    def _for_one_child(self, streams: Sequence[int]) -> Iterator[Sequence[int]]:
        with self._low_enough(streams) as low, self.for_children():
            yield low

    @contextlib.contextmanager
    def for_children(self) -> Iterator[None]:
        """Let all children that are started within have the original limit; see `can_be_lowered`.

        Their streams have to have numbers that are good under that limit.
        """
        if not self._raised:
            yield
            return
        now = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.original[0], now[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, now)

    @contextlib.contextmanager
    def _low_enough(self, streams: Sequence[int]) -> Iterator[Sequence[int]]:
        if max(streams) < self.original[0]:
            yield streams
            return
        try:
            for stream, low in zip(streams, self._low, strict=True):
                os.dup2(stream, low, inheritable=False)
            yield tuple(self._low)
        finally:
            for low in self._low:  # else nobody would see the end of a pipe
                nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(nowhere, low, inheritable=False)
                os.close(nowhere)

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
