"""Processes that a former daemon has left, as a dictionary."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from supervisortw.core.born import Born
from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon.living import NO_PIDFD, LivingProcesses


@dataclass
class Living:
    """One process that is there."""

    started: float
    mark: SpawnId | None = None
    parent: int = 1


class FakeLiving(LivingProcesses):
    """Knows the processes that a test has put into ``there``, by pid."""

    def __init__(self) -> None:
        self.there: dict[int, Living] = {}
        self.half_born: list[tuple[int, set[int]]] = []

    def find(self, pid: int, born: Born | None) -> int | None:
        found = self.there.get(pid)
        return (
            NO_PIDFD
            if found is not None and born is not None and born.agrees_with(found.started)
            else None
        )

    def start(self, pid: int) -> float | None:
        return self.there[pid].started if pid in self.there else None

    def parent(self, pid: int) -> int:
        return self.there[pid].parent if pid in self.there else 0

    def marked(self) -> Iterator[tuple[int, SpawnId]]:
        for pid, each in self.there.items():
            if each.mark is not None:
                yield pid, each.mark

    def end_half_born(self, holder: int, known: Collection[int]) -> None:
        self.half_born.append((holder, set(known)))
