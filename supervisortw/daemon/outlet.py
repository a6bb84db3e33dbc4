"""The way of one log to a target that it shares with others."""

from __future__ import annotations

from supervisortw.core.logline import Piece
from supervisortw.daemon.lineform import Form
from supervisortw.daemon.loss import Loss
from supervisortw.daemon.target import Target
from supervisortw.interfaces import Clock

NOT_READ = "it was closed before that was read"


class Outlet:
    """Gives lines to a target; what it does not take is dropped and counted, and marked there later."""

    def __init__(self, target: Target, form: Form, clock: Clock) -> None:
        self.form = form
        self.target = target
        self._loss = Loss(clock)
        self._loss.form = self._word

    def follow(self, before: Outlet) -> None:
        """Go on in place of another one: what that has lost is to be told here."""
        self._loss = before._loss
        self._loss.form = self._word

    def put(self, piece: Piece) -> None:
        """Give lines to the target, or drop them."""
        if self._is_taken():
            self.target.put(self, self.form.lines(piece))
        else:
            self._loss.add(piece.text)

    def say(self, text: str) -> None:
        """Give the target a word of our own, if it takes it."""
        if self._is_taken():
            self.target.put(self, self.form.word(text))

    def _is_taken(self) -> bool:
        if self._loss.is_to_wait():
            return False
        if not self.target.has_room(self):
            self._loss.begin(self.target.where, self.target.trouble)
            return False
        if self._loss.reason:
            mark = self._loss.bytes and self.form.word(self._loss.missing())
            self._loss.end(self.target.where)
            if mark:
                self.target.put(self, mark)
        return True

    def _word(self, text: str) -> bytes:
        return b"".join(self.form.word(text))

    def note(self) -> str:
        """Return what an operator should know, as the end of a sentence, or nothing."""
        note = self._loss.note(self.target.where)
        if not note and self.target.trouble:
            return f"its output is waiting: {self.target.where}: {self.target.trouble}"
        return note

    def retry(self) -> None:
        """Try again at once: somebody has done something about it."""
        self._loss.forgive()

    # As the one who gives.

    def room(self) -> None:
        """There is room again."""
        self._loss.forgive()
        if self._loss.reason:
            self._is_taken()

    def lost(self, data: bytes) -> None:
        """What was given will not get there."""
        self._loss.begin(self.target.where, self.target.trouble or NOT_READ)
        self._loss.add(data)
