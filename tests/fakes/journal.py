"""A Journal in memory."""

from __future__ import annotations

from supervisortw.core import chronicle
from supervisortw.core.chronicle import Left
from supervisortw.daemon.journal import Journal

WORLD = "this boot"


class FakeJournal(Journal):
    """Keeps its lines; `left` is what a later daemon makes of them."""

    def __init__(self, token: str, left: Left) -> None:
        super().__init__("/nowhere", WORLD, token, left)
        self.lines = self._all_lines()
        self.removed = False

    def _add(self, lines: str) -> None:
        if not self.removed:
            self.lines += lines.split("\n")

    def write_anew(self) -> None:
        self.flush()
        self.lines = self._all_lines()

    def remove(self) -> None:
        self.removed = True

    @property
    def left(self) -> Left:
        """What is left of the daemon if it is killed now."""
        return chronicle.read("\n".join([*self.lines, ""]).encode())
