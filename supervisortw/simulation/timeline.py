"""What has happened in a simulation, in order."""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.core.limits import LIMITS
from supervisortw.core.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A process went from one state to another; times are seconds since the start of the daemon."""

    at: float
    name: str
    before: State
    after: State
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something else that has happened: an operator has asked for something, or the daemon ends."""

    at: float
    name: str
    text: str


class Timeline:
    """Changes and remarks, of which so many are kept; the later ones are counted."""

    def __init__(self, most: int = LIMITS.simulated_lines) -> None:
        self.entries: list[Change | Remark] = []
        self.left_out = 0
        self._most = most

    def add(self, entry: Change | Remark) -> None:
        """Take in what has happened."""
        if len(self.entries) < self._most:
            self.entries.append(entry)
        else:
            self.left_out += 1
