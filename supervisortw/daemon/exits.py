"""Learning that a process has ended: from SIGCHLD for our children, from its pidfd for any other.

A pidfd for each child would do as well, and be one descriptor more for each program. Where there is no
table of open files that is kept small for starts (see `supervisortw.daemon.filetable`), each start would
copy and close all of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.sigchld import on_sigchld
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")


class ExitWatcher(Protocol):
    """Notices the end of children."""

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look``, later, whenever the child ``pid`` may have ended, until told to stop.

        Raises OSError if there are no descriptors left to watch it with.
        """


@implementer(IReadDescriptor)
class _Pidfd:
    """A pidfd in the reactor: readable once the process has ended."""

    def __init__(self, descriptor: int, ended: Callable[[], None], reactor: Any) -> None:
        self._descriptor = descriptor
        self._ended = ended
        self._reactor = reactor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pidfd"

    def doRead(self) -> None:
        self.close()
        self._ended()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1


class PidfdWatcher:
    """Notices the end of a process, child or not, by a pidfd in the reactor."""

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor

    @staticmethod
    def works() -> bool:
        """True if this kernel and Python have pidfds."""
        try:
            os.close(os.pidfd_open(os.getpid()))
        except (AttributeError, OSError):
            return False
        return True

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look`` once when the process ends; raises OSError if it cannot be watched."""
        return self.watch_pidfd(os.pidfd_open(pid), look)

    def watch_pidfd(self, descriptor: int, look: Callable[[], None]) -> Cancel:
        """Call ``look`` once when the process of a pidfd ends; the pidfd is closed before that."""
        pidfd = _Pidfd(descriptor, look, self._reactor)
        self._reactor.addReader(pidfd)
        return pidfd.close


class SigchldWatcher:
    """Notices the end of children by SIGCHLD.

    The system tells which of them have ended, one after the other. The first is looked at alone: nearly
    always it is the only one, and has not to wait until that is known. Where more have ended, as many
    are looked at in a turn of the reactor as there is time for. ``together()`` is a context for those of
    one turn: what each of them leads to can be done at its end.
    """

    def __init__(
        self, reactor: Any, together: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self._reactor = reactor
        self._together = together
        self._looks: dict[int, Callable[[], None]] = {}
        self._strangers = False  # somebody has ended whom nobody watched when we looked
        self._due = False
        self._others: list[Callable[[], None]] = []
        self._deafen: Cancel = _nothing
        reactor.callWhenRunning(self._listen)

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look``, later, whenever the child ``pid`` may have ended, until told to stop."""
        self._looks[pid] = look
        if self._strangers:  # it may be one of them
            self._look_soon()
        return partial(self._forget, pid)

    def tell_also(self, act: Callable[[], None]) -> None:
        """Call ``act`` upon each SIGCHLD as well, after the first look."""
        self._others.append(act)

    def close(self) -> None:
        """Hear of no end any more."""
        self._deafen()

    def _forget(self, pid: int) -> None:
        self._looks.pop(pid, None)

    def _listen(self) -> None:
        self._deafen = on_sigchld(self._reactor, self._heard)
        self._look_soon()

    def _heard(self) -> None:
        if not self._due:
            with self._together():
                may_be_more = self._look_at_next()
            if may_be_more:
                self._look_soon()
        for act in self._others:
            act()

    def _look_soon(self) -> None:
        if not self._due:
            self._due = True
            self._reactor.callLater(0, self._look)

    def _look(self) -> None:
        self._due = False
        began = self._reactor.seconds()
        with self._together():
            while self._look_at_next():
                if self._reactor.seconds() - began >= LIMITS.turn_seconds:
                    self._look_soon()
                    return

    def _look_at_next(self) -> bool:
        """Look at one who has ended; return True if it is collected now, so that there may be more.

        All are looked at if it is one whom nobody watches: they could be hidden behind it.
        """
        pid = ended_child()
        self._strangers = False
        if pid is None:
            return False
        if pid in self._looks:
            self._look_at(pid)
            if pid not in self._looks:
                return True
        self._strangers = True
        for each in list(self._looks):
            self._look_at(each)
        return False

    def _look_at(self, pid: int) -> None:
        try:
            self._looks.get(pid, _nothing)()
        except Exception:
            log.failure("the end of pid {pid} came to nothing", pid=pid)


ANYBODY = 0
TELLS_WHO = hasattr(os, "waitid")  # macOS has it since Python 3.13


def ended_child() -> int | None:
    """Return the pid of a child that has ended and was not collected yet; None if there is none.

    ANYBODY where the system cannot tell.
    """
    if not TELLS_WHO:
        return ANYBODY
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _nothing() -> None:
    pass


def bury(pid: int, watcher: ExitWatcher) -> None:
    """Collect the child ``pid``, which is ending, without telling anybody; later if need be."""
    cancel: Cancel = _nothing

    def look() -> None:
        try:
            found, _status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            found = pid
        if found:
            cancel()

    if os.waitpid(pid, os.WNOHANG)[0]:
        return
    try:
        cancel = watcher.watch(pid, look)
    except OSError:  # no descriptors left, so wait here for what takes microseconds
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
