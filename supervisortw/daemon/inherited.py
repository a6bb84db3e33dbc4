"""One process slot that can go on where a former daemon was."""

from __future__ import annotations

from twisted.internet.interfaces import IProcessTransport

from supervisortw.core import lifeevents
from supervisortw.core.born import Born
from supervisortw.core.exits import DAEMON_DEATH, RELOAD
from supervisortw.core.memory import Memory
from supervisortw.core.model import StopScope
from supervisortw.core.states import State
from supervisortw.daemon.slot import Slot


class InheritedSlot(Slot):
    """Keeps one process as it is wanted to be, also one that a former daemon has started."""

    def remember(self, memory: Memory) -> None:
        """Be as the slot of a former daemon was; `adopt` or `lost` follow, and nothing before them."""
        self.memory = memory
        self._told = memory.life.state

    def adopt(self, transport: IProcessTransport | None, born: Born | None = None) -> None:
        """Go on, with the process that there is, if there is one; it was ``born`` then."""
        self._transport = transport
        if transport is not None:
            self._means.go_on(self.program)
            self._oom_kills = self._means.oom.in_cgroup(self.program)
        memory = self.memory
        if self.is_cut_short and transport is not None:
            self._is_there(transport, born or memory.born)
            self.attend()
            self._guard_session()
            self._means.admission.adopt(self)
            return
        if transport is not None or memory.life.state is State.STOPPING:
            self._guard_session()
            self._means.admission.adopt(self)
        if memory.life.state is State.STOPPING and not memory.pid:
            self._means.sessions.when_empty(memory.sid, self._emptied)
        self.handle(lifeevents.Adopted(self._remaining()))

    def lost(self, reason: BaseException, *, again: bool = False) -> None:
        """Go on without the process that there was: it ended, for ``reason``, while nobody looked.

        ``again`` has another one started in its place, however it ended.
        """
        self._guard_session()
        if self.life.state is State.STOPPING:  # others of its session may have to be ended
            self.handle(lifeevents.Adopted(self._remaining()))
        self._exited(reason, again=again)

    def make_anew(self) -> None:
        """Have another process in place of the one that there is."""
        if self.life.state in {State.STARTING, State.RUNNING}:
            by = RELOAD if self.memory.outdated else DAEMON_DEATH
            self.handle(lifeevents.RestartAsked(by))

    def _remaining(self) -> float:
        return max(0.0, self.memory.due - self._clock.seconds())

    def _guard_session(self) -> None:
        """Have nobody taken for one of its session who has got the number since."""
        memory = self.memory
        if self.program.stop_scope is StopScope.SESSION and memory.born is not None:
            self._means.sessions.adopt(memory.sid, memory.born)

    @property
    def is_cut_short(self) -> bool:
        """True if it is not known whether its process was made."""
        return self.life.state is State.STARTING and not self.life.spawned
