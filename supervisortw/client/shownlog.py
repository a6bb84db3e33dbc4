"""One log of one daemon, as it goes over the screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from supervisortw.client.amount import Amount
from supervisortw.client.render import LogWriter
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import Refused
from supervisortw.interfaces import Cancel
from supervisortw.remote.connection import Session

ANOTHER = "-- another log begins here --"
CUT = "-- the log was cut: going on with the last lines --"
RESTARTED = "-- supervisord was restarted: going on with the last lines --"


class ShownLog:
    """Shows the end of a log, and then what comes, from one session or from one after the other.

    ``name`` None means the daemon's own. ``remark`` is told what a reader has to know of the log besides
    what stands in it. A screen that takes nothing more raises OSError, from what is pushed by
    ``trouble``.
    """

    def __init__(
        self, name: str | None, amount: Amount, writer: LogWriter, remark: Callable[[str], None]
    ) -> None:
        self.name = name
        self.refused: Callable[[Refused], None] = _nothing
        self.trouble: Callable[[OSError], None] = _nothing
        self._amount = amount
        self._writer = writer
        self._remark = remark
        self._epoch: str | None = None  # before the first piece
        self._end = 0
        self._is_resuming = False
        self._session: Session | None = None
        self._unfollow: Cancel | None = None

    async def show(self, session: Session) -> None:
        """Show what is there now."""
        size = await self._begin(session)
        while self._end < size:
            piece = await session.read_log(self.name, self._end, LIMITS.piece_bytes)
            if not piece.data:
                break
            self._received(piece)
        self._writer.flush()

    async def go_on(self, session: Session) -> None:
        """Show what comes from now on, after what was shown until now."""
        if self._epoch is None:
            await self._begin(session)
        else:
            self._is_resuming = True
        self._session = session
        self._unfollow = await session.follow(
            self.name,
            self._end,
            partial(self._pushed, session),
            epoch=self._epoch or "",
            refused=partial(self._not_any_more, session),
        )
        self._is_resuming = False  # the first piece was sent before the answer

    def stop(self) -> None:
        """Show nothing more."""
        self._session = None
        self._writer.flush()
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    async def _begin(self, session: Session) -> int:
        piece = await self._amount.first_piece(session, self.name)
        self._received(piece)
        return piece.size

    def _pushed(self, session: Session, piece: LogPiece) -> None:
        if session is not self._session:  # it was on its way when nobody wanted it any more
            return
        try:
            self._received(piece)
        except OSError as error:
            self.trouble(error)

    def _not_any_more(self, session: Session, error: Refused) -> None:
        if session is self._session:
            self.refused(error)

    def _received(self, piece: LogPiece) -> None:
        """Show a piece; say so if it does not follow the one before."""
        if self._epoch is not None:
            remark = self._what_is_between(piece)
            if remark:
                self._writer.break_off()
                self._remark(remark)
        self._epoch = piece.epoch
        self._end = piece.offset + len(piece.data)
        self._writer.feed(piece.data)

    def _what_is_between(self, piece: LogPiece) -> str:
        if piece.epoch != self._epoch:
            return RESTARTED if self._is_resuming else ANOTHER
        if piece.offset < self._end:
            return CUT
        if piece.offset > self._end:
            return f"-- {piece.offset - self._end} bytes of the log are gone --"
        return ""


def _nothing(_: Exception) -> None:
    pass
