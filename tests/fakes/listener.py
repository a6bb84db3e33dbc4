"""A listener on the event bus that remembers everything."""

from __future__ import annotations

from supervisortw.core.states import State
from supervisortw.daemon.events import StateChanged


class RecordingListener:
    """Remembers the changes of state that it was told of."""

    def __init__(self) -> None:
        self.changes: list[StateChanged] = []

    def __call__(self, change: StateChanged) -> None:
        self.changes.append(change)

    def states(self, name: str | None = None) -> list[State]:
        """Return the states that a program went through."""
        return [change.after for change in self.changes if name in (None, change.name)]

    def told(self) -> list[str]:
        """Return the changes as people would read them, and forget them."""
        lines = [f"{each.name} {each.after.value}" for each in self.changes]
        self.changes.clear()
        return lines
