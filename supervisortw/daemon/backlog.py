"""What waits to be written to a target that several logs share."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from supervisortw.core.limits import LIMITS


class Giver(Protocol):
    """A log that gives something to a target."""

    def room(self) -> None:
        """There is room again, after it was told that there is none."""

    def lost(self, data: bytes) -> None:
        """What it had given, will not get there."""


class Backlog:
    """What several give, oldest first, and what each of them may have waiting.

    Whoever gives more than is taken loses it; the others do not notice.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[Giver, bytes]] = deque()
        self._begun = 0  # bytes of the oldest that are written
        self._waiting: dict[Giver, int] = {}
        self._total = 0
        self._refused: dict[Giver, None] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def has_room(self, giver: Giver) -> bool:
        """True if ``giver`` may add something; if not, it hears when there is room again."""
        share = self._waiting.get(giver, 0)
        if share < LIMITS.target_share_bytes and self._total < LIMITS.target_bytes:
            return True
        self._refused[giver] = None
        return False

    def add(self, giver: Giver, entry: bytes) -> None:
        """Add something that is to be written without anything in between."""
        self._entries.append((giver, entry))
        self._waiting[giver] = self._waiting.get(giver, 0) + len(entry)
        self._total += len(entry)

    def oldest(self) -> memoryview:
        """Return what is to be written next."""
        return memoryview(self._entries[0][1])[self._begun :]

    def written(self, count: int) -> None:
        """So many bytes of the oldest were written."""
        self._begun += count
        if self._begun >= len(self._entries[0][1]):
            self._pop()
            self._call_back()

    def drop(self) -> None:
        """Let go of the oldest, which cannot be written."""
        giver, entry = self._pop()
        giver.lost(entry)
        self._call_back()

    def drop_all(self) -> None:
        """Let go of everything: there is nowhere to write it to."""
        while self._entries:
            giver, entry = self._pop()
            giver.lost(entry)
        self._call_back()

    def is_begun(self) -> bool:
        """True if a part of the oldest is written."""
        return self._begun > 0

    def forget(self, giver: Giver) -> None:
        """Call ``giver`` no more; what it has given stays."""
        self._refused.pop(giver, None)

    def _pop(self) -> tuple[Giver, bytes]:
        giver, entry = self._entries.popleft()
        self._begun = 0
        self._total -= len(entry)
        left = self._waiting[giver] - len(entry)
        if left:
            self._waiting[giver] = left
        else:
            del self._waiting[giver]
        return giver, entry

    def _call_back(self) -> None:
        """Tell those who were refused, once what they gave is gone, and half of the whole room free."""
        if not self._refused or self._total > LIMITS.target_bytes // 2:
            return
        for giver in [each for each in self._refused if each not in self._waiting]:
            del self._refused[giver]
            giver.room()
