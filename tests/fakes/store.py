"""A DescriptorStore in memory."""

from __future__ import annotations

import os


class FakeStore:
    """Keeps descriptors from one daemon to the next; `next_daemon` is where one begins."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self._untaken: set[str] = set()

    def keep(self, name: str, descriptor: int) -> None:
        copy = os.dup(descriptor)
        self.drop(name)
        self.kept[name] = copy

    def drop(self, name: str) -> None:
        self._untaken.discard(name)
        if name in self.kept:
            os.close(self.kept.pop(name))

    def take(self, name: str) -> int | None:
        if name not in self._untaken:
            return None
        self._untaken.discard(name)
        return os.dup(self.kept[name])

    def next_daemon(self) -> None:
        """Let the daemon be another one: it can take what is kept."""
        self._untaken = set(self.kept)

    def close(self) -> None:
        """Close all that is kept."""
        for name in list(self.kept):
            self.drop(name)
