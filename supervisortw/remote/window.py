"""Pushing to a peer, never faster than it takes what it is sent.

At most LIMITS.chunks_unacknowledged values are on their way at a time. What comes behind them is held
by nobody: it is read again when there is room. So a peer that stops reading costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.spread import pb

from supervisortw.core.limits import LIMITS
from supervisortw.errors import SupervisorError
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")


class Window(ABC):
    """Calls ``message`` of the object ``receiver`` with what there is, until it stops or is gone.

    ``watch(told)`` has ``told`` called whenever there is more.
    """

    def __init__(
        self, receiver: Any, message: str, watch: Callable[[Callable[[], None]], Cancel]
    ) -> None:
        self._receiver = receiver
        self._message = message
        self._unacknowledged = 0
        self._reading = False
        self._stopped = False
        self._unwatch = watch(self._go_on)
        self._go_on()

    @abstractmethod
    async def _following(self) -> bytes | None:
        """Return what comes next, or None if there is nothing at the moment."""

    def stop(self) -> None:
        """Push nothing more."""
        if not self._stopped:
            self._stopped = True
            self._unwatch()

    def _go_on(self) -> None:
        if not self._reading and not self._stopped:
            self._reading = True
            pushing = ensureDeferred(self._push())
            pushing.addErrback(self._failed)

    async def _push(self) -> None:
        try:
            while not self._stopped and self._unacknowledged < LIMITS.chunks_unacknowledged:
                value = await self._following()
                if value is None:
                    return
                self._send(value)
        finally:
            self._reading = False

    def _send(self, value: bytes) -> None:
        self._unacknowledged += 1
        try:
            sent = self._receiver.callRemote(self._message, value)
        except pb.DeadReferenceError:
            self.stop()
            return
        sent.addCallbacks(self._acknowledged, self._failed)

    def _acknowledged(self, _: object) -> None:
        self._unacknowledged -= 1
        self._go_on()

    def _failed(self, failure: Any) -> None:
        """The receiver is gone, or there is nothing to read any more: nobody waits for a reason."""
        if failure.check(SupervisorError, pb.PBConnectionLost, pb.DeadReferenceError) is None:
            log.failure("what is followed could not be pushed", failure)
        self.stop()
