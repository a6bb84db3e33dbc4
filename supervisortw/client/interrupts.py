"""Signals: Ctrl-C ends the wait for an answer, SIGTERM the client; neither what the daemon does."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from supervisortw.errors import SupervisorError

Answer = TypeVar("Answer")

GOES_ON = "interrupted; what was asked for goes on in the daemon"


class Interrupted(SupervisorError):
    """The user pressed Ctrl-C while something was waited for."""


class Interrupts:
    """Lets SIGINT end whatever is being waited for; with nothing to end, calls ``idle``."""

    def __init__(self, call_in_reactor: Callable[[Callable[[], None]], object]) -> None:
        self.idle: Callable[[], None] = _nothing
        self._call_in_reactor = call_in_reactor
        self._waiting: Deferred[Any] | None = None
        self._consequence = GOES_ON
        self._interrupted = ""  # what that means for what was waited for

    def install(self) -> None:
        """Take the signals over from the reactor, which has to run already."""
        signal.signal(signal.SIGINT, lambda number, frame: self._call_in_reactor(self.interrupt))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextlib.contextmanager
    def ending_with(self, tidy: Callable[[], object], consequence: str = GOES_ON) -> Iterator[None]:
        """Let SIGTERM call ``tidy``, which has to end what is done here, and us only after that.

        ``consequence`` is what is said if Ctrl-C ends it.
        """
        asked = False
        self._consequence = consequence

        def asked_to_end() -> None:
            nonlocal asked
            asked = True
            tidy()

        signal.signal(signal.SIGTERM, lambda number, frame: self._call_in_reactor(asked_to_end))
        try:
            yield
        finally:
            self._consequence = GOES_ON
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if asked:
                os.kill(os.getpid(), signal.SIGTERM)

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        if self._waiting is None:
            self.idle()
        else:
            self._interrupted = self._consequence
            self._waiting.cancel()

    async def guard(self, wait: Coroutine[Deferred[Any], Any, Answer]) -> Answer:
        """Wait; raises Interrupted if Ctrl-C ends it."""
        self._interrupted = ""
        self._waiting = waiting = Deferred.fromCoroutine(wait)
        try:
            return await waiting
        except Exception:
            if self._interrupted:
                raise Interrupted(self._interrupted) from None
            raise
        finally:
            self._waiting = None


def _nothing() -> None:
    pass
