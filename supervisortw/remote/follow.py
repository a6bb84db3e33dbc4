"""A log that is followed from afar: pieces are pushed as the log grows, never faster than they are read.

The daemon's `Follower` sends at most LIMITS.chunks_unacknowledged pieces that the other side has not
acknowledged; the log file itself is the buffer for everything behind them. So a reader that stops
reading costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.spread import pb

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import SupervisorError
from supervisortw.interfaces import Control
from supervisortw.remote import wire

log = Logger(namespace="supervisor")


class Follower:
    """Pushes one log to one receiver, from an offset on."""

    def __init__(self, control: Control, name: str | None, offset: int, receiver: Any) -> None:
        self._control = control
        self._name = name
        self._offset = offset
        self._receiver = receiver
        self._epoch = ""
        self._unacknowledged = 0
        self._reading = False
        self._stopped = False
        self._unwatch = control.watch_log(name, self._go_on)
        self._go_on()

    def stop(self) -> None:
        """Push nothing more."""
        if not self._stopped:
            self._stopped = True
            self._unwatch()

    def _go_on(self) -> None:
        if not self._reading and not self._stopped:
            self._reading = True
            reading = ensureDeferred(self._push())
            reading.addErrback(self._failed)

    async def _push(self) -> None:
        try:
            while not self._stopped and self._unacknowledged < LIMITS.chunks_unacknowledged:
                piece = await self._control.read_log(self._name, self._offset, LIMITS.piece_bytes)
                if (
                    self._epoch and piece.epoch != self._epoch
                ):  # another log: only what is new of it
                    piece = replace(piece, offset=piece.size, data=b"")
                elif not piece.data and piece.offset <= self._offset:
                    self._offset = piece.offset
                    return
                self._epoch = piece.epoch
                self._offset = piece.offset + len(piece.data)
                self._send(piece)
        finally:
            self._reading = False

    def _send(self, piece: LogPiece) -> None:
        self._unacknowledged += 1
        try:
            sent = self._receiver.callRemote("piece", wire.pack_piece(piece))
        except pb.DeadReferenceError:
            self.stop()
            return
        sent.addCallbacks(self._acknowledged, self._failed)

    def _acknowledged(self, _: object) -> None:
        self._unacknowledged -= 1
        self._go_on()

    def _failed(self, failure: Any) -> None:
        """The receiver is gone, or the log cannot be read any more: nobody waits for a reason."""
        if failure.check(SupervisorError, pb.PBConnectionLost, pb.DeadReferenceError) is None:
            log.failure("following a log failed", failure)
        self.stop()


class Receiver(pb.Referenceable):
    """The client's end: hands each piece on, and acknowledges it when it has been dealt with."""

    def __init__(self, received: Callable[[LogPiece], Deferred[None] | None]) -> None:
        self._received = received

    def remote_piece(self, data: bytes) -> Deferred[None] | None:
        """Take one piece; the acknowledgement is the answer."""
        return self._received(wire.unpack_piece(data))
