"""Reaping what programs leave behind, where there is no holder to do it.

A process whose parent has ended becomes a child of the nearest subreaper, or else of process 1. A daemon
without a holder is one itself: so what a program leaves behind stays below the daemon, and can be found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.daemon import proc
from supervisortw.daemon.exits import SigchldWatcher

log = Logger(namespace="supervisor")

PR_SET_CHILD_SUBREAPER = 36

# Children of our own are reaped within milliseconds, by those who wait for them. What has ended and is
# still there after this time is nobody's.
NOBODYS_SECONDS = 5.0


class Orphans:
    """Reaps processes that have become our children by the end of their parents."""

    def __init__(
        self, reactor: Any, watcher: SigchldWatcher, in_thread: Callable[..., Deferred[Any]]
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._in_thread = in_thread
        self._seen: frozenset[int] = frozenset()
        self._is_due = False

    def take_over(self) -> None:
        """Become the parent of orphans, where the system allows it."""
        if sys.platform != "linux":
            return
        flags = (ctypes.c_ulong(each) for each in (1, 0, 0, 0))
        if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, *flags) == 0:
            self._watcher.tell_also(self._look_later)

    def _look_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._reactor.callLater(NOBODYS_SECONDS, self._look)

    def _look(self) -> None:
        self._is_due = False
        found = self._in_thread(_ended_children)
        found.addCallbacks(self._reap, _not_found)

    def _reap(self, ended: frozenset[int]) -> None:
        for pid in ended & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended - self._seen
        if self._seen:
            self._look_later()


def _ended_children() -> frozenset[int]:
    children = [pid for thread in proc.threads() for pid in proc.children(os.getpid(), thread)]
    return frozenset(pid for pid in children if not proc.is_alive(pid))


def _not_found(failure: Failure) -> None:
    log.failure("cannot look for orphans", failure)
