"""Remembered stops on a disk that exists in memory only."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from supervisortw.daemon.remembered import Remembered
from supervisortw.errors import LocalError


class FakeRemembered(Remembered):
    """What is on the disk is in ``disk``; ``trouble`` is why it takes nothing more."""

    def __init__(self, *names: str) -> None:
        super().__init__("/nowhere", self._in_thread)
        self.disk = frozenset(names)
        self.trouble = ""

    def load(self) -> None:
        self._on_disk = self.disk
        self._names = set(self.disk)

    def _in_thread(self, write: Any, file: Any, names: frozenset[str]) -> Deferred[None]:
        if self.trouble:
            return fail(LocalError(self.trouble))
        self.disk = names
        return succeed(None)
