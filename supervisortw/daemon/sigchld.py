"""Hearing of SIGCHLD in the turn of the reactor in which it comes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")

SIGNALS_AT_ONCE = 4096  # what more there are is read in the next turn


def on_sigchld(reactor: Any, act: Callable[[], None]) -> Cancel:
    """Call ``act``, later, after each SIGCHLD, until told to stop. The reactor must run.

    Who began last has to stop first.
    """
    return _Sigchld(act, reactor).close


@implementer(IReadDescriptor)
class _Sigchld:
    """The end of a pipe that the number of each signal is written to as soon as it comes.

    Who was told that way before, is told afterwards: Twisted's own processes stay Twisted's.
    """

    def __init__(self, act: Callable[[], None], reactor: Any) -> None:
        self._act = act
        self._reactor = reactor
        self._reading, self._writing = os.pipe()
        for each in (self._reading, self._writing):
            os.set_blocking(each, False)
        if not callable(signal.getsignal(signal.SIGCHLD)):  # else nothing would be written
            signal.signal(signal.SIGCHLD, _ignore)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._reading

    def logPrefix(self) -> str:
        return "SIGCHLD"

    def doRead(self) -> None:
        numbers = os.read(self._reading, SIGNALS_AT_ONCE)
        if signal.SIGCHLD in numbers:
            try:
                self._act()
            except Exception:  # who is told of an error here, closes the pipe
                log.failure("the end of a child came to nothing")
        if self._before >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._before, numbers)

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._reading >= 0:
            self._reactor.removeReader(self)
            signal.set_wakeup_fd(self._before)
            os.close(self._reading)
            os.close(self._writing)
            self._reading = -1


def _ignore(number: int, frame: object) -> None:
    pass
