"""Learning that a process has ended: from its pidfd, or from SIGCHLD where there are no pidfds."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.interfaces import Cancel


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
    """Notices the end of children by SIGCHLD, where there are no pidfds.

    Signals are merged, so each one looks at every watched child. The handler that was there before
    is called as well: Twisted's own processes stay Twisted's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._looks: dict[int, Callable[[], None]] = {}
        reactor.callWhenRunning(self._install)

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look`` after each SIGCHLD, and once soon."""
        self._looks[pid] = look
        self._reactor.callLater(0, self._look_at, pid)  # it may have ended before it was watched
        return lambda: self._forget(pid)

    def _forget(self, pid: int) -> None:
        self._looks.pop(pid, None)

    def _install(self) -> None:
        on_sigchld(self._reactor, self._look_at_all)

    def _look_at_all(self) -> None:
        for pid in list(self._looks):
            self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        self._looks.get(pid, _nothing)()


def _nothing() -> None:
    pass


def on_sigchld(reactor: Any, act: Callable[[], None]) -> None:
    """Call ``act``, later, after each SIGCHLD, besides what is called already. The reactor must run."""
    before = signal.getsignal(signal.SIGCHLD)

    def on_signal(number: int, frame: Any) -> None:
        if callable(before):
            before(number, frame)
        reactor.callFromThread(act)

    signal.signal(signal.SIGCHLD, on_signal)


def exit_watcher(reactor: Any) -> PidfdWatcher | SigchldWatcher:
    """Return the best way that this machine has to notice the end of children."""
    return PidfdWatcher(reactor) if PidfdWatcher.works() else SigchldWatcher(reactor)


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
