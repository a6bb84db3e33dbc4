"""Ending escaped processes: who gets which signal when, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGKILL, SIGTERM

import pytest
from fakes.logged import log_lines
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.escaped import SURVIVES, EscapedProcesses
from supervisortw.daemon.search import NO_PERMISSION, Found, Search
from supervisortw.errors import LocalError
from supervisortw.interfaces import Cancel, Ending, Escaped, Unended

SPAWN = SpawnId(daemon="abc", name="web", number=5)


def escaped(*pids: int) -> tuple[Escaped, ...]:
    return tuple(Escaped(pid=pid, command=f"cat{pid}") for pid in pids)


class Bench:
    """Processes that obey SIGTERM, but for the deaf; those in ``immortal`` stay whatever comes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.alive: dict[int, str] = {}  # by pid, the program's name
        self.deaf: set[int] = set()
        self.immortal: set[int] = set()
        self.forbidden: set[int] = set()
        self.heirs: dict[int, int] = {}  # who is made by whom when that one ends
        self.hidden = 0
        self.sent: list[tuple[int, int]] = []
        self.walks: list[list[str]] = []
        self.answers: list[Deferred[list[Found]]] = []
        self.watched: dict[int, Callable[[], None]] = {}
        departures = Departures(self.clock, self)  # type: ignore[arg-type]
        self.processes = EscapedProcesses(self.clock, self._search_all, departures)
        self.told: list[Ending] = []

    def _search_all(self, searches: Sequence[Search]) -> Deferred[list[Found]]:
        self.walks.append([search.spawn.name for search in searches])
        found = [self._search(search) for search in searches]
        return self.answers.pop(0) if self.answers else succeed(found)

    def _search(self, search: Search) -> Found:
        found = Found(hidden=self.hidden)
        for pid, name in list(self.alive.items()):
            if name != search.spawn.name:
                continue
            [found.escaped[pid]] = escaped(pid)
            if search.signal is not None and pid not in search.spared:
                if pid in self.forbidden:
                    found.trouble[pid] = NO_PERMISSION
                else:
                    self._signal(pid, search.signal)
        return found

    def _signal(self, pid: int, number: int) -> None:
        self.sent.append((pid, number))
        if pid in self.immortal or (pid in self.deaf and number == SIGTERM):
            return
        self.clock.callLater(0.01, self.end, pid)

    def end(self, pid: int) -> None:
        name = self.alive.pop(pid)
        if pid in self.heirs:
            self.alive[self.heirs.pop(pid)] = name
        if pid in self.watched:
            self.watched.pop(pid)()

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        if pid not in self.alive:
            raise ProcessLookupError
        self.watched[pid] = look
        return lambda: self._unwatch(pid)

    def _unwatch(self, pid: int) -> None:
        self.watched.pop(pid, None)

    def add(self, *pids: int, name: str = "web") -> None:
        self.alive.update(dict.fromkeys(pids, name))

    def end_all(self, wait: float = 5.0) -> None:
        self.processes.end(SPAWN, 0, wait).addCallback(self.told.append)
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps in which everybody has their turn."""
        self.clock.pump([0.01] * max(1, round(seconds / 0.01)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestFind:
    def test_they_are_told_by_pid(self, bench: Bench) -> None:
        bench.add(103, 101)
        told: list[tuple[Escaped, ...]] = []
        bench.processes.find(SPAWN, 0).addCallback(told.append)
        assert told == []
        bench.clock.advance(0)
        assert told == [escaped(101, 103)]
        assert bench.sent == []

    def test_one_walk_for_all_who_ask_in_the_same_turn(self, bench: Bench) -> None:
        bench.add(101, name="db")
        told: list[tuple[Escaped, ...]] = []
        for name in ("web", "db"):
            spawn = SpawnId(daemon="abc", name=name, number=1)
            bench.processes.find(spawn, 0).addCallback(told.append)
        bench.clock.advance(0)
        assert told == [(), escaped(101)]
        assert bench.walks == [["web", "db"]]

    def test_those_who_ask_during_a_walk_share_the_next_one(self, bench: Bench) -> None:
        first: Deferred[list[Found]] = Deferred()
        bench.answers.append(first)
        told: list[tuple[Escaped, ...]] = []
        for _ in range(3):
            bench.processes.find(SPAWN, 0).addCallback(told.append)
            bench.clock.advance(0)
        assert bench.walks == [["web"]]
        first.callback([Found()])
        bench.clock.advance(0)
        assert bench.walks == [["web"], ["web", "web"]]
        assert told == [(), (), ()]

    def test_a_walk_that_fails_is_told_in_words(self, bench: Bench) -> None:
        bench.answers.append(fail(OSError(24, "Too many open files")))
        failing = bench.processes.find(SPAWN, 0)
        with log_lines(LogLevel.error) as lines:
            bench.clock.advance(0)
        assert lines[0] == "cannot look for escaped processes"
        reasons: list[str] = []
        failing.addErrback(
            lambda failure: reasons.append(str(failure.trap(LocalError)) + str(failure.value))
        )
        assert "cannot look for escaped processes: [Errno 24] Too many open files" in reasons[0]
        bench.add(101)
        told: list[tuple[Escaped, ...]] = []
        bench.processes.find(SPAWN, 0).addCallback(told.append)
        bench.clock.advance(0)
        assert told == [escaped(101)]

    @pytest.mark.parametrize(("lacks", "count"), [(True, 1), (False, 0)])
    def test_root_who_may_not_look_at_everybody_is_warned_once(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, lacks: bool, count: int
    ) -> None:
        monkeypatch.setattr(proc, "is_root_without_ptrace", lambda: lacks)
        bench.hidden = 3
        with log_lines(LogLevel.warn) as lines:
            for _ in range(2):
                bench.processes.find(SPAWN, 0)
                bench.clock.advance(0)
        assert len(lines) == count
        assert all("environment of 3 processes" in line for line in lines)


class TestEnd:
    def test_nobody_is_there(self, bench: Bench) -> None:
        bench.end_all()
        assert bench.told == [Ending()]
        assert len(bench.walks) == 1

    def test_it_is_told_when_they_are_gone(self, bench: Bench) -> None:
        bench.add(101, 102)
        bench.add(201, name="db")
        bench.end_all()
        assert bench.told == []
        bench.pass_time(0.1)
        assert bench.told == [Ending(ended=escaped(101, 102))]
        assert bench.sent == [(101, SIGTERM), (102, SIGTERM)]
        assert bench.alive == {201: "db"}
        assert bench.clock.getDelayedCalls() == []

    def test_who_is_deaf_gets_kill_after_the_wait(self, bench: Bench) -> None:
        bench.add(101, 102)
        bench.deaf = {102}
        bench.end_all(5)
        bench.pass_time(4.9)
        assert bench.sent == [(101, SIGTERM), (102, SIGTERM)]
        bench.pass_time(0.3)
        assert bench.sent[2:] == [(102, SIGKILL)]
        assert bench.told == [Ending(ended=escaped(101, 102))]

    def test_without_a_wait_it_is_kill_at_once(self, bench: Bench) -> None:
        bench.add(101)
        bench.end_all(0)
        assert bench.sent == [(101, SIGKILL)]

    def test_what_they_made_meanwhile_is_ended_too(self, bench: Bench) -> None:
        bench.add(101, 102)
        bench.heirs = {101: 111, 111: 112}
        bench.end_all()
        bench.pass_time(0.2)
        assert [number for _, number in bench.sent] == [SIGTERM] * 4
        assert bench.told == [Ending(ended=escaped(101, 102, 111, 112))]

    def test_nobody_gets_term_twice(self, bench: Bench) -> None:
        bench.add(*range(1, LIMITS.watched_at_once + 3))
        slow = LIMITS.watched_at_once + 2  # not among those who are watched first
        bench.deaf = {slow}
        bench.end_all(1)
        bench.pass_time(0.5)
        assert bench.sent.count((slow, SIGTERM)) == 1
        bench.pass_time(1)
        assert bench.sent.count((slow, SIGTERM)) == 1
        assert bench.sent[-1] == (slow, SIGKILL)
        assert len(bench.told[0].ended) == LIMITS.watched_at_once + 2

    def test_who_may_not_be_signalled_is_told_and_not_waited_for(self, bench: Bench) -> None:
        bench.add(101, 102)
        bench.forbidden = {102}
        bench.end_all()
        bench.pass_time(0.1)
        [left] = escaped(102)
        unended = (Unended(escaped=left, reason=NO_PERMISSION),)
        assert bench.told == [Ending(ended=escaped(101), left=unended)]

    def test_who_survives_kill_is_told_after_some_tries(self, bench: Bench) -> None:
        bench.add(101)
        bench.immortal = {101}
        bench.end_all(1)
        bench.pass_time(1 + LIMITS.escaped_kills * LIMITS.kill_repeat_seconds + 0.5)
        assert bench.sent == [(101, SIGTERM)] + [(101, SIGKILL)] * LIMITS.escaped_kills
        [left] = escaped(101)
        assert bench.told == [Ending(left=(Unended(escaped=left, reason=SURVIVES),))]
        assert bench.watched == {}
        assert bench.clock.getDelayedCalls() == []

    def test_a_walk_that_fails_ends_it(self, bench: Bench) -> None:
        bench.answers.append(fail(OSError(24, "Too many open files")))
        ending = bench.processes.end(SPAWN, 0, 5)
        with log_lines(LogLevel.error):
            bench.clock.advance(0)
        failures: list[object] = []
        ending.addErrback(lambda failure: failures.append(failure.type))
        assert failures == [LocalError]
