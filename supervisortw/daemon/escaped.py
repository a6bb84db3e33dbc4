"""Finding processes that have left the session of the program they came from, and ending them.

A stop that knows sessions only misses whoever called setsid(2), as everything does that makes itself a
daemon. The walks that find them run in a thread, see `supervisortw.daemon.search`.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from dataclasses import replace

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.rounds import Rounds
from supervisortw.daemon.search import Found, Search, SearchAll
from supervisortw.errors import LocalError
from supervisortw.interfaces import Clock, Ending, Escaped, Unended

log = Logger(namespace="supervisor")

SURVIVES = "still there after SIGKILL"


class EscapedProcesses:
    """Finds and ends them; see `Sessions` for the promise."""

    def __init__(self, clock: Clock, search_all: SearchAll, departures: Departures) -> None:
        self._clock = clock
        self._search_all = search_all
        self._departures = departures
        self._rounds = Rounds(clock, self._search)
        self._asked: list[tuple[Search, Deferred[Found]]] = []
        self._told_of_hidden = False

    def find(self, spawn: SpawnId, sid: int) -> Deferred[tuple[Escaped, ...]]:
        """Look for what came from ``spawn`` or an earlier one, and is outside session ``sid``."""
        return self._ask(Search(spawn=spawn, sid=sid)).addCallback(_sorted)

    def end(self, spawn: SpawnId, sid: int, wait: float) -> Deferred[Ending]:
        """Send SIGTERM to what `find` finds, and SIGKILL to what is left after ``wait`` seconds."""
        return ensureDeferred(self._end(Search(spawn=spawn, sid=sid), wait))

    async def _end(self, meant: Search, wait: float) -> Ending:
        deadline = self._clock.seconds() + wait
        met: dict[int, Escaped] = {}
        trouble: dict[int, str] = {}
        kills = 0
        while True:
            patience = deadline - self._clock.seconds()
            if patience > 0:
                # Who has got SIGTERM already is ending; a second one makes some end in a hurry.
                search = replace(meant, signal=signal.SIGTERM, spared=frozenset(met))
            elif kills < LIMITS.escaped_kills:
                search = replace(meant, signal=signal.SIGKILL)
                patience = LIMITS.kill_repeat_seconds
                kills += 1
            else:
                search = meant
            found = await self._ask(search)
            met.update(found.escaped)
            trouble.update(found.trouble)
            in_reach = found.escaped.keys() - trouble.keys()
            if not in_reach or search.signal is None:
                return _ending(met, found.escaped.keys(), trouble)
            await self._wait(in_reach, patience)

    def _wait(self, pids: Collection[int], seconds: float) -> Deferred[None]:
        """Fire when it is worth looking again, at the latest after ``seconds``."""
        waited: Deferred[None] = Deferred()

        def gone() -> None:
            timer.cancel()
            waited.callback(None)

        def timed_out() -> None:
            unwatch()
            waited.callback(None)

        timer = self._clock.callLater(seconds, timed_out)
        unwatch = self._departures.when_gone(pids, gone)
        return waited

    def _ask(self, search: Search) -> Deferred[Found]:
        found: Deferred[Found] = Deferred()
        self._asked.append((search, found))
        self._rounds.ask()
        return found

    def _search(self) -> Deferred[None]:
        asked, self._asked = self._asked, []
        searched = self._search_all([search for search, _ in asked])
        return searched.addCallback(self._found, asked).addErrback(self._failed, asked)

    def _found(self, all_found: list[Found], asked: list[tuple[Search, Deferred[Found]]]) -> None:
        for found, (_, waiting) in zip(all_found, asked, strict=True):
            self._tell_of_hidden(found.hidden)
            waiting.callback(found)

    def _failed(self, failure: Failure, asked: list[tuple[Search, Deferred[Found]]]) -> None:
        log.failure("cannot look for escaped processes", failure)
        for _, waiting in asked:
            if not waiting.called:
                waiting.errback(LocalError(f"cannot look for escaped processes: {failure.value}"))

    def _tell_of_hidden(self, hidden: int) -> None:
        """Warn, once, if we are root and still may not look at everybody."""
        if hidden and not self._told_of_hidden and proc.is_root_without_ptrace():
            self._told_of_hidden = True
            log.warn(
                "cannot look at the environment of {hidden} processes (CAP_SYS_PTRACE is missing): "
                "programs of other users may leave their sessions unseen, unless they have a cgroup",
                hidden=hidden,
            )


def _sorted(found: Found) -> tuple[Escaped, ...]:
    return tuple(found.escaped[pid] for pid in sorted(found.escaped))


def _ending(met: dict[int, Escaped], left: Collection[int], trouble: dict[int, str]) -> Ending:
    return Ending(
        ended=tuple(met[pid] for pid in sorted(met) if pid not in left),
        left=tuple(
            Unended(escaped=met[pid], reason=trouble.get(pid, SURVIVES)) for pid in sorted(left)
        ),
    )
