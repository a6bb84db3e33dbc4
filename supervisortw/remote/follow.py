"""Logs and events that are followed from afar: pushed as they come, never faster than they are read.

The log file itself, and the daemon's memory of events, are the buffer for everything that a peer has
not acknowledged; see `supervisortw.remote.window`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.spread import pb

from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import Refused
from supervisortw.interfaces import Control
from supervisortw.remote import wire
from supervisortw.remote.window import Window


class Follower(Window):
    """Pushes one log to one receiver, from an offset on.

    ``epoch`` is the one in which the offset was told, if it was. Where the log is another one by now, or
    has been cut to less than the offset, its last lines come first. What cannot be read any more ends it,
    and the receiver gets the reason instead of a piece.
    """

    def __init__(
        self, control: Control, name: str | None, offset: int, epoch: str, receiver: Any
    ) -> None:
        self._control = control
        self._name = name
        self._offset = offset
        self._epoch = epoch
        super().__init__(receiver, "piece", partial(control.watch_log, name))

    async def _following(self) -> bytes | None:
        try:
            piece = await self._next_piece()
        except Refused as error:
            self.stop()
            return wire.pack(wire.failure("refused", str(error)))
        return None if piece is None else wire.pack_piece(piece)

    async def _next_piece(self) -> LogPiece | None:
        piece = await self._control.read_log(self._name, self._offset, LIMITS.piece_bytes)
        if self._epoch and (piece.epoch != self._epoch or piece.size < self._offset):
            piece = await self._control.tail(self._name, LIMITS.tail_lines)
        elif not piece.data and piece.offset <= self._offset:
            self._epoch, self._offset = piece.epoch, piece.offset
            return None
        self._epoch = piece.epoch
        self._offset = piece.offset + len(piece.data)
        return piece


class EventFollower(Window):
    """Pushes what happens to one receiver, from a number on, and which numbers are lost."""

    def __init__(self, control: Control, after: int, receiver: Any) -> None:
        self._control = control
        self._after = after
        super().__init__(receiver, "events", control.watch_events)

    async def _following(self) -> bytes | None:
        told = await self._control.events(self._after, LIMITS.events_at_once)
        if not told.end:
            return None
        self._after = told.end
        return wire.pack_events(told)


class Receiver(pb.Referenceable):
    """The client's end: hands each piece on, and acknowledges it when it has been dealt with.

    ``refused`` is told why nothing more comes.
    """

    def __init__(
        self,
        received: Callable[[LogPiece], Deferred[None] | None],
        refused: Callable[[Refused], None],
    ) -> None:
        self._received = received
        self._refused = refused

    def remote_piece(self, data: bytes) -> Deferred[None] | None:
        """Take one piece; the acknowledgement is the answer."""
        try:
            piece = wire.unpack_piece(data)
        except Refused as error:
            self._refused(error)
            return None
        return self._received(piece)


class EventReceiver(pb.Referenceable):
    """The client's end of events that are followed."""

    def __init__(self, received: Callable[[EventsAnswer], Deferred[None] | None]) -> None:
        self._received = received

    def remote_events(self, data: bytes) -> Deferred[None] | None:
        """Take some events; the acknowledgement is the answer."""
        return self._received(wire.unpack_events(data))
