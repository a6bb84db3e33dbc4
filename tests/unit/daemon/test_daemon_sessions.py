"""Signalling whole process trees, and learning when they are gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Sequence
from signal import SIGKILL, SIGTERM

import pytest
from fakes.logged import log_lines
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.departures import LOOK_AGAIN_SECONDS, Departures
from supervisortw.daemon.escaped import EscapedProcesses
from supervisortw.daemon.search import Found, Search
from supervisortw.daemon.sessions import PosixSessions, _members, find_members
from supervisortw.interfaces import Cancel, Ending, Escaped


class Kernel:
    """Processes with their groups and sessions, in place of the machine's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: dict[int, tuple[int, int]] = {}  # pid: group, session
        self.sent: list[tuple[str, int, int]] = []
        self.forbidden = False
        self._descriptors: dict[int, int] = {}
        monkeypatch.setattr(os, "killpg", self.killpg)
        monkeypatch.setattr(os, "getsid", lambda pid: self._look(pid)[1])
        monkeypatch.setattr(os, "getpgid", lambda pid: self._look(pid)[0])
        monkeypatch.setattr(os, "pidfd_open", self.pidfd_open, raising=False)
        monkeypatch.setattr(signal, "pidfd_send_signal", self.send, raising=False)

    def add(self, pid: int, *, group: int, session: int = 100) -> None:
        self.processes[pid] = (group, session)

    def end(self, *pids: int) -> None:
        for pid in pids:
            del self.processes[pid]

    def _look(self, pid: int) -> tuple[int, int]:
        if pid not in self.processes:
            raise ProcessLookupError
        return self.processes[pid]

    def killpg(self, group: int, number: int) -> None:
        if not any(found == group for found, _ in self.processes.values()):
            raise ProcessLookupError
        if self.forbidden:
            raise PermissionError(1, "Operation not permitted")
        if number:
            self.sent.append(("group", group, number))

    def pidfd_open(self, pid: int) -> int:
        self._look(pid)
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self._descriptors[descriptor] = pid
        return descriptor

    def send(self, descriptor: int, number: int) -> None:
        os.fstat(descriptor)
        if self.forbidden:
            raise PermissionError(1, "Operation not permitted")
        self.sent.append(("process", self._descriptors[descriptor], number))

    def members(self, sids: Collection[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for pid, (_, session) in self.processes.items():
            if session in sids:
                found.setdefault(session, []).append(pid)
        return found


class Watcher:
    """Stands for pidfds in the reactor."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}
        self.refused: dict[int, OSError] = {}

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        if pid in self.refused:
            raise self.refused[pid]
        self.watched[pid] = look
        return lambda: self.forget(pid)

    def forget(self, pid: int) -> None:
        self.watched.pop(pid, None)

    def end(self, *pids: int) -> None:
        for pid in pids:
            self.watched.pop(pid)()


class Bench:
    def __init__(self, kernel: Kernel, *, with_pidfds: bool = True) -> None:
        self.kernel = kernel
        self.clock = Clock()
        self.watcher = Watcher()
        self.asked: list[set[int]] = []
        self.answers: list[Deferred[dict[int, list[int]]]] = []
        self.emptied: list[int] = []
        self.searches: list[Search] = []
        watcher = self.watcher if with_pidfds else None
        departures = Departures(self.clock, watcher)  # type: ignore[arg-type]
        escaped = EscapedProcesses(self.clock, self.search_all, departures)
        self.sessions = PosixSessions(self.clock, self.find, departures, escaped)

    def search_all(self, searches: Sequence[Search]) -> Deferred[list[Found]]:
        self.searches += searches
        return succeed([Found() for _ in searches])

    def find(self, sids: Collection[int]) -> Deferred[dict[int, list[int]]]:
        self.asked.append(set(sids))
        if self.answers:
            return self.answers.pop(0)
        return succeed(self.kernel.members(sids))

    def wait_for(self, sid: int) -> Cancel:
        return self.sessions.when_empty(sid, lambda: self.emptied.append(sid))

    def turn(self) -> None:
        self.clock.advance(0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def bench(kernel: Kernel) -> Bench:
    return Bench(kernel)


class TestSignal:
    def test_the_group_of_the_leader_gets_it_at_once(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(100, group=100)
        kernel.add(101, group=100)
        bench.sessions.signal(100, SIGTERM)
        assert kernel.sent == [("group", 100, SIGTERM)]
        bench.turn()
        assert kernel.sent == [("group", 100, SIGTERM)]

    def test_other_groups_of_the_session_get_it_soon(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(100, group=100)
        kernel.add(102, group=102)
        bench.sessions.signal(100, SIGTERM)
        bench.turn()
        assert kernel.sent == [("group", 100, SIGTERM), ("process", 102, SIGTERM)]

    def test_without_a_group_the_others_get_it(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(102, group=102)
        bench.sessions.signal(100, SIGKILL)
        bench.turn()
        assert kernel.sent == [("process", 102, SIGKILL)]

    def test_nobody_is_there(self, bench: Bench, kernel: Kernel) -> None:
        bench.sessions.signal(100, SIGTERM)
        bench.turn()
        assert kernel.sent == []

    def test_whose_number_means_another_process_by_now_gets_nothing(
        self, bench: Bench, kernel: Kernel
    ) -> None:
        bench.answers.append(succeed({100: [102, 103]}))  # what was found a moment ago
        kernel.add(102, group=102, session=777)
        bench.sessions.signal(100, SIGKILL)
        bench.turn()
        assert kernel.sent == []

    def test_one_walk_for_all_who_ask_in_the_same_turn(self, bench: Bench, kernel: Kernel) -> None:
        for sid in (100, 200, 300):
            kernel.add(sid, group=sid, session=sid)
            bench.sessions.signal(sid, SIGTERM)
        bench.wait_for(400)
        bench.turn()
        assert bench.asked == [{100, 200, 300, 400}]
        bench.turn()
        assert len(bench.asked) == 1

    def test_those_who_ask_during_a_walk_share_the_next_one(
        self, bench: Bench, kernel: Kernel
    ) -> None:
        first: Deferred[dict[int, list[int]]] = Deferred()
        bench.answers.append(first)
        for sid in (100, 200, 300):
            bench.wait_for(sid)
            bench.turn()
        assert bench.asked == [{100}]
        first.callback({})
        bench.turn()
        assert bench.asked == [{100}, {200, 300}]
        assert bench.emptied == [100, 200, 300]

    def test_a_walk_that_failed_keeps_nobody_waiting(self, bench: Bench, kernel: Kernel) -> None:
        first: Deferred[dict[int, list[int]]] = Deferred()
        bench.answers.append(first)
        bench.sessions.signal(100, SIGTERM)
        bench.turn()
        bench.wait_for(200)
        with log_lines(LogLevel.error):
            first.errback(OSError(24, "Too many open files"))
        bench.turn()
        assert bench.emptied == [200]

    def test_what_may_not_be_signalled_is_logged(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(100, group=100)
        kernel.add(102, group=102)
        kernel.forbidden = True
        with log_lines(LogLevel.warn) as lines:
            bench.sessions.signal(100, SIGTERM)
            bench.turn()
        assert lines == [
            "no permission to send signal 15 to group 100",
            "no permission to send signal 15 to 102",
        ]


class TestHasOthers:
    def test_somebody_in_the_group(self, bench: Bench, kernel: Kernel) -> None:
        assert not bench.sessions.has_others(100)
        kernel.add(101, group=100)
        assert bench.sessions.has_others(100)

    def test_somebody_whom_we_may_not_signal(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(101, group=100)
        kernel.forbidden = True
        assert bench.sessions.has_others(100)


class TestWhenEmpty:
    def test_it_is_told_once_and_never_at_once(self, bench: Bench) -> None:
        bench.wait_for(100)
        assert bench.emptied == []
        bench.turn()
        assert bench.emptied == [100]
        bench.clock.advance(100)
        assert bench.emptied == [100]

    def test_it_is_told_when_the_last_one_is_gone(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(101, group=100)
        kernel.add(102, group=102)
        bench.wait_for(100)
        bench.turn()
        assert set(bench.watcher.watched) == {101, 102}
        kernel.end(101)
        bench.watcher.end(101)
        bench.turn()
        assert bench.emptied == []
        kernel.end(102)
        bench.watcher.end(102)
        bench.turn()
        assert bench.emptied == [100]
        assert len(bench.asked) == 2

    def test_those_who_came_meanwhile_are_waited_for_too(
        self, bench: Bench, kernel: Kernel
    ) -> None:
        kernel.add(101, group=100)
        bench.wait_for(100)
        bench.turn()
        kernel.add(105, group=105)
        kernel.end(101)
        bench.watcher.end(101)
        bench.turn()
        assert bench.emptied == []
        kernel.end(105)
        bench.watcher.end(105)
        bench.turn()
        assert bench.emptied == [100]

    def test_one_who_is_gone_before_it_is_watched(self, bench: Bench) -> None:
        bench.answers.append(succeed({100: [101]}))
        bench.watcher.refused[101] = ProcessLookupError()
        bench.wait_for(100)
        bench.turn()
        assert bench.emptied == [100]

    def test_nothing_polls_while_they_are_watched(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(101, group=100)
        bench.wait_for(100)
        bench.turn()
        bench.turn()
        assert bench.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("with_pidfds", [True, False])
    def test_where_nobody_can_be_watched_it_looks_again(
        self, kernel: Kernel, with_pidfds: bool
    ) -> None:
        bench = Bench(kernel, with_pidfds=with_pidfds)
        bench.watcher.refused[102] = OSError(24, "Too many open files")
        kernel.add(101, group=100)
        kernel.add(102, group=102)
        bench.wait_for(100)
        bench.turn()
        bench.clock.advance(LOOK_AGAIN_SECONDS / 2)
        assert len(bench.asked) == 1
        bench.clock.advance(LOOK_AGAIN_SECONDS / 2)
        assert (len(bench.asked), bench.emptied) == (2, [])
        kernel.end(101, 102)
        bench.clock.advance(LOOK_AGAIN_SECONDS)
        bench.turn()
        assert bench.emptied == [100]
        bench.clock.advance(100)
        assert bench.clock.getDelayedCalls() == []

    def test_without_descriptors_none_is_kept(self, bench: Bench, kernel: Kernel) -> None:
        bench.watcher.refused[102] = OSError(24, "Too many open files")
        kernel.add(101, group=100)
        kernel.add(102, group=102)
        bench.wait_for(100)
        bench.turn()
        assert bench.watcher.watched == {}

    def test_a_search_that_fails_is_made_again(self, bench: Bench) -> None:
        bench.answers.append(Deferred())
        failing = bench.answers[0]
        bench.wait_for(100)
        bench.turn()
        with log_lines(LogLevel.error) as lines:
            failing.errback(OSError(24, "Too many open files"))
        assert lines[0] == "cannot look for processes"
        bench.clock.advance(10)
        bench.turn()
        assert bench.emptied == [100]

    def test_one_who_fails_when_told_does_not_keep_it_from_the_others(self, bench: Bench) -> None:
        def fail() -> None:
            raise KeyError("a mistake of ours")

        failing, other = {100, 200}  # in the order in which they are told
        bench.sessions.when_empty(failing, fail)
        bench.wait_for(other)
        with log_lines(LogLevel.error):
            bench.turn()
        bench.clock.advance(10)
        bench.turn()
        assert bench.emptied == [other]


class TestCancel:
    def test_before_the_search(self, bench: Bench) -> None:
        bench.wait_for(100)()
        bench.turn()
        assert bench.emptied == []

    def test_during_the_search(self, bench: Bench) -> None:
        found: Deferred[dict[int, list[int]]] = Deferred()
        bench.answers.append(found)
        cancel = bench.wait_for(100)
        bench.turn()
        cancel()
        found.callback({})
        bench.clock.advance(100)
        assert bench.emptied == []

    def test_while_they_are_watched(self, bench: Bench, kernel: Kernel) -> None:
        kernel.add(101, group=100)
        cancel = bench.wait_for(100)
        bench.turn()
        cancel()
        assert bench.watcher.watched == {}

    def test_at_any_moment_of_looking_again(self, kernel: Kernel) -> None:
        for steps in range(4):
            bench = Bench(kernel, with_pidfds=False)
            kernel.add(101, group=100)
            cancel = bench.wait_for(100)
            for _ in range(steps):
                bench.clock.advance(LOOK_AGAIN_SECONDS)
            kernel.end(101)
            cancel()
            bench.clock.advance(100)
            assert bench.emptied == []

    def test_while_it_looks_again(self, kernel: Kernel) -> None:
        bench = Bench(kernel, with_pidfds=False)
        found: Deferred[dict[int, list[int]]] = Deferred()
        bench.answers += [succeed({100: [101]}), found]
        cancel = bench.wait_for(100)
        bench.turn()
        bench.clock.advance(LOOK_AGAIN_SECONDS)
        assert len(bench.asked) == 2
        cancel()
        found.callback({})
        bench.clock.advance(100)
        assert bench.emptied == []


class TestFinding:
    def test_it_asks_in_a_thread(self) -> None:
        asked: list[tuple[object, ...]] = []
        find_members(lambda *question: asked.append(question))({100})
        [(function, sids)] = asked
        assert callable(function)
        assert sids == frozenset({100})

    @pytest.mark.needs_linux
    def test_we_are_in_our_own_session(self) -> None:
        own = os.getsid(0)
        found = _members({own})
        assert os.getpid() in found[own]
        assert set(found) == {own}

    @pytest.mark.needs_linux
    def test_in_a_session_that_is_not_there_is_nobody(self) -> None:
        assert _members({2**22 + 1}) == {}

    def test_without_proc_the_group_stands_for_the_session(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proc, "DIRECTORY", "/nowhere")
        kernel.add(101, group=100)
        assert _members({100, 200}) == {100: [100]}


class TestEscaped:
    SPAWN = SpawnId(daemon="abc", name="web", number=3)

    def test_they_are_looked_for_elsewhere(self, bench: Bench) -> None:
        found: list[tuple[Escaped, ...]] = []
        bench.sessions.find_escaped(self.SPAWN, 100).addCallback(found.append)
        bench.turn()
        assert found == [()]
        assert bench.searches == [Search(spawn=self.SPAWN, sid=100)]

    def test_they_are_ended_elsewhere(self, bench: Bench) -> None:
        ended: list[Ending] = []
        bench.sessions.end_escaped(self.SPAWN, 100, 5).addCallback(ended.append)
        bench.turn()
        assert ended == [Ending()]
        assert [search.signal for search in bench.searches] == [SIGTERM]
