"""Noticing that processes are gone, and when to look again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.departures import LOOK_AGAIN_SECONDS, Departures
from supervisortw.interfaces import Cancel


class Watcher:
    """Stands for pidfds in the reactor; ``room`` is for how many there are descriptors."""

    def __init__(self, room: int = 10_000) -> None:
        self.room = room
        self.absent: set[int] = set()
        self.watched: dict[int, Callable[[], None]] = {}

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        if pid in self.absent:
            raise ProcessLookupError
        if len(self.watched) == self.room:
            raise OSError(24, "Too many open files")
        self.watched[pid] = look
        return lambda: self.forget(pid)

    def forget(self, pid: int) -> None:
        self.watched.pop(pid, None)

    def end(self, pid: int) -> None:
        self.watched.pop(pid)()


class Bench:
    def __init__(self, watcher: Watcher | None) -> None:
        self.clock = Clock()
        self.looks = 0
        self.departures = Departures(self.clock, watcher)  # type: ignore[arg-type]

    def watch(self, *pids: int) -> Cancel:
        return self.departures.when_gone(pids, self.look)

    def look(self) -> None:
        self.looks += 1


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def bench(watcher: Watcher) -> Bench:
    return Bench(watcher)


def test_it_is_told_once_when_all_are_gone(bench: Bench, watcher: Watcher) -> None:
    bench.watch(7, 8)
    watcher.end(7)
    assert bench.looks == 0
    watcher.end(8)
    assert bench.looks == 1
    assert bench.clock.getDelayedCalls() == []


def test_who_is_gone_already_is_not_waited_for(bench: Bench, watcher: Watcher) -> None:
    watcher.absent = {7}
    bench.watch(7, 8)
    watcher.end(8)
    assert bench.looks == 1


def test_if_all_are_gone_already_it_is_told_later(bench: Bench, watcher: Watcher) -> None:
    watcher.absent = {7, 8}
    bench.watch(7, 8)
    assert bench.looks == 0
    bench.clock.advance(0)
    assert bench.looks == 1


def test_of_very_many_the_first_are_watched(bench: Bench, watcher: Watcher) -> None:
    bench.watch(*range(1, LIMITS.watched_at_once + 100))
    assert len(watcher.watched) == LIMITS.watched_at_once
    for pid in list(watcher.watched):
        watcher.end(pid)
    assert bench.looks == 1


def test_without_descriptors_the_clock_tells(bench: Bench, watcher: Watcher) -> None:
    watcher.room = 1
    bench.watch(7, 8)
    assert watcher.watched == {}
    bench.clock.advance(LOOK_AGAIN_SECONDS)
    assert bench.looks == 1


def test_without_pidfds_the_clock_tells() -> None:
    bench = Bench(None)
    bench.watch(7)
    bench.clock.advance(LOOK_AGAIN_SECONDS / 2)
    assert bench.looks == 0
    bench.clock.advance(LOOK_AGAIN_SECONDS / 2)
    assert bench.looks == 1
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("kind", ["watched", "gone already", "no descriptors"])
def test_who_has_cancelled_is_told_nothing(bench: Bench, watcher: Watcher, kind: str) -> None:
    watcher.absent = {7} if kind == "gone already" else set()
    watcher.room = 0 if kind == "no descriptors" else 10
    bench.watch(7)()
    bench.clock.advance(100)
    assert (bench.looks, watcher.watched, bench.clock.getDelayedCalls()) == (0, {}, [])
