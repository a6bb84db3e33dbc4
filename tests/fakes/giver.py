"""A log that gives something to a target."""

from __future__ import annotations

from collections.abc import Callable


class FakeGiver:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.rooms = 0
        self.lost_data: list[bytes] = []
        self.when_room: Callable[[], None] = lambda: None

    def room(self) -> None:
        self.rooms += 1
        self.when_room()

    def lost(self, data: bytes) -> None:
        self.lost_data.append(data)
