"""Ctrl-C: it ends the wait for an answer, never what the daemon does about it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from supervisortw.errors import SupervisorError

Answer = TypeVar("Answer")


class Interrupted(SupervisorError):
    """The user pressed Ctrl-C while something was waited for."""


class Interrupts:
    """Lets SIGINT end whatever is being waited for; with nothing to end, calls ``idle``."""

    def __init__(self, call_in_reactor: Callable[[Callable[[], None]], object]) -> None:
        self.idle: Callable[[], None] = _nothing
        self._call_in_reactor = call_in_reactor
        self._waiting: Deferred[Any] | None = None
        self._interrupted = False

    def install(self) -> None:
        """Take SIGINT over from the reactor, which has to run already."""
        signal.signal(signal.SIGINT, lambda number, frame: self._call_in_reactor(self.interrupt))

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        if self._waiting is None:
            self.idle()
        else:
            self._interrupted = True
            self._waiting.cancel()

    async def guard(self, wait: Coroutine[Deferred[Any], Any, Answer]) -> Answer:
        """Wait; raises Interrupted if Ctrl-C ends it."""
        self._interrupted = False
        self._waiting = waiting = Deferred.fromCoroutine(wait)
        try:
            return await waiting
        except Exception:
            if self._interrupted:
                raise Interrupted("interrupted; what was asked for goes on in the daemon") from None
            raise
        finally:
            self._waiting = None


def _nothing() -> None:
    pass
