"""Sessions whose members exist only in a dictionary."""

from __future__ import annotations

import signal
from collections.abc import Callable

from fakes.spawner import FakeSpawner
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from supervisortw.core.born import Born
from supervisortw.core.spawnid import SpawnId
from supervisortw.interfaces import Cancel, Ending, Escaped, Unended


class FakeSessions:
    """Records signals; knows the processes that outlive their leaders.

    ``others`` holds the sessions in which somebody besides the leader is. While ``obedient`` is
    true, a leader ends in the turn after SIGTERM; everybody ends in the turn after SIGKILL, unless
    the session is in ``immortal``. ``escaped`` holds who has escaped from which program, by its full
    name, and ``unendable`` why some of them cannot be ended, by pid; what is asked about them is
    recorded in ``searches`` and ``endings`` and answered in the next turn.
    """

    def __init__(self, clock: Clock, spawner: FakeSpawner, *, obedient: bool = False) -> None:
        self.obedient = obedient
        self.signals: list[tuple[int, int]] = []
        self.adopted: dict[int, Born] = {}
        self.others: set[int] = set()
        self.immortal: set[int] = set()
        self.escaped: dict[str, tuple[Escaped, ...]] = {}
        self.unendable: dict[int, str] = {}
        self.searches: list[tuple[SpawnId, int]] = []
        self.endings: list[tuple[SpawnId, int, float]] = []
        self._clock = clock
        self._spawner = spawner
        self._waiting: dict[int, Callable[[], None]] = {}

    def adopt(self, sid: int, born: Born) -> None:
        self.adopted[sid] = born

    def signal(self, sid: int, number: int) -> None:
        self.signals.append((sid, number))
        if number == signal.SIGKILL and sid not in self.immortal:
            self._clock.callLater(0, self._killed, sid)
        elif number == signal.SIGTERM and self.obedient and sid in self._spawner.alive:
            self._clock.callLater(0, self._end_leader, sid, number)

    def has_others(self, sid: int) -> bool:
        assert sid not in self._spawner.alive, "only to be asked after the leader was reaped"
        return sid in self.others

    def when_empty(self, sid: int, emptied: Callable[[], None]) -> Cancel:
        assert sid not in self._waiting, "waited for twice"
        self._waiting[sid] = emptied
        self._look_soon(sid)
        return lambda: self._forget(sid)

    def find_escaped(self, spawn: SpawnId, sid: int) -> Deferred[tuple[Escaped, ...]]:
        self.searches.append((spawn, sid))
        found: Deferred[tuple[Escaped, ...]] = Deferred()
        self._clock.callLater(0, lambda: found.callback(self.escaped.get(spawn.name, ())))
        return found

    def end_escaped(self, spawn: SpawnId, sid: int, wait: float) -> Deferred[Ending]:
        self.endings.append((spawn, sid, wait))
        ended: Deferred[Ending] = Deferred()
        self._clock.callLater(0, self._end_escaped, spawn.name, ended)
        return ended

    def _end_escaped(self, name: str, ended: Deferred[Ending]) -> None:
        found = self.escaped.pop(name, ())
        left = tuple(each for each in found if each.pid in self.unendable)
        if left:
            self.escaped[name] = left
        ended.callback(
            Ending(
                ended=tuple(each for each in found if each not in left),
                left=tuple(Unended(escaped=each, reason=self.unendable[each.pid]) for each in left),
            )
        )

    @property
    def waited_for(self) -> set[int]:
        """The sessions whose end somebody waits for."""
        return set(self._waiting)

    def end_others(self, sid: int) -> None:
        """End the processes that are left besides the leader."""
        self.others.discard(sid)
        self._look_soon(sid)

    def _killed(self, sid: int) -> None:
        self.end_others(sid)
        self._end_leader(sid, signal.SIGKILL)

    def _end_leader(self, sid: int, number: int) -> None:
        if sid in self._spawner.alive:
            self._spawner.exit(sid, signal=number)

    def _look_soon(self, sid: int) -> None:
        self._clock.callLater(0, self._look, sid)

    def _look(self, sid: int) -> None:
        if sid not in self.others and sid not in self._spawner.alive and sid in self._waiting:
            self._waiting.pop(sid)()

    def _forget(self, sid: int) -> None:
        self._waiting.pop(sid, None)
