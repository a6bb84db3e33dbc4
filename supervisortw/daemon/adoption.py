"""Going on where a former daemon was: which of its processes are still there, and what became of others.

What was written down names processes by pid and start. One whose start was cut short by the end of the
daemon has a mark in its environment, which was written down before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from twisted.logger import Logger

from supervisortw.core.born import Born
from supervisortw.core.lifecycle import Life
from supervisortw.core.memory import Memory
from supervisortw.core.model import OnDaemonDeath
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State
from supervisortw.daemon.adopted import AdoptedProcesses, AdoptedTransport, UnknownEnd
from supervisortw.daemon.child import reason_of
from supervisortw.daemon.inherited import InheritedSlot
from supervisortw.daemon.living import LivingProcesses

log = Logger(namespace="supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What there is beside the journal to learn from.

    ``token`` marks the processes of the former daemon, if that is known. ``holder`` is the pid of the
    holder, 0 without one; its children are ours, whatever was written down. ``statuses()`` returns how
    its children ended, as wait statuses by pid. ``complete`` is true if the journal told everything.
    """

    token: str
    holder: int
    statuses: Callable[[], Mapping[int, int]]
    complete: bool


class Adoption:
    """Brings slots and processes together again; not to be used for anything but that, and once."""

    def __init__(self, living: LivingProcesses, adopted: AdoptedProcesses, traces: Traces) -> None:
        self._living = living
        self._adopted = adopted
        self._traces = traces
        self._ended: Mapping[int, int] = {}

    def find_strays(self, slots: Iterable[InheritedSlot]) -> list[InheritedSlot]:
        """Let slots of which nothing is known have the process that is there; return those slots."""
        if self._traces.complete:
            return []
        by_name = {slot.program.name: slot for slot in slots}
        marked = self._marked(by_name)
        for mark in marked.values():
            self._remember_start(by_name[mark.name], mark)
        return [by_name[mark.name] for mark in marked.values()]

    def carry_out(self, slots: Collection[InheritedSlot]) -> None:
        """Have all slots that remember something go on."""
        if self._traces.holder:
            self._living.end_half_born(self._traces.holder, {slot.pid for slot in slots})
        self._ended = self._traces.statuses()
        # First who is there: those who are not may be started at once, in surroundings that are settled.
        missing = [slot for slot in slots if not self._tried(self._has_gone_on, slot)]
        gone = self._without_unwritten(missing)
        for slot in gone:
            self._tried(self._go_on_without, slot)
        log.info(
            "going on with {known} programs of the supervisord before; {alive} are up",
            known=len(slots),
            alive=len(slots) - len(gone),
        )

    def _tried(self, act: Callable[[InheritedSlot], bool], slot: InheritedSlot) -> bool:
        """Do something with a slot; trouble with one must not be trouble with all."""
        try:
            return act(slot)
        except Exception:
            log.failure("{name}: cannot go on with it", name=slot.program.name)
            return True

    def _has_gone_on(self, slot: InheritedSlot) -> bool:
        """Have a slot go on if its process is there; return whether it is."""
        memory = slot.memory
        if not memory.pid or memory.born is None:
            return False
        transport = self._transport(slot, memory.pid, memory.born)
        if transport is None:
            return False
        slot.adopt(transport)
        if _may_not_go_on(slot):
            slot.make_anew()
        return True

    def _without_unwritten(self, slots: Collection[InheritedSlot]) -> list[InheritedSlot]:
        """Have those go on whose process was made, and not written down; return the others.

        The start was cut short by the end of the daemon, or the disk was full.
        """
        may_be = {slot.program.name: slot for slot in slots if slot.is_cut_short or slot.pid}
        found: set[str] = set()
        for pid, mark in self._marked(may_be).items() if may_be else ():
            slot = may_be[mark.name]
            own = slot.memory.spawn
            newer = own is None or mark.daemon != own.daemon or mark.number > own.number
            if newer and (slot.pid or not slot.is_cut_short):
                self._remember_start(slot, mark)
            elif mark != own or slot.pid:  # one that has ended may have children with its mark
                continue
            if slot.is_cut_short and self._tried(partial(self._has_begun, pid), slot):
                found.add(mark.name)
        return [slot for slot in slots if slot.program.name not in found]

    def _has_begun(self, pid: int, slot: InheritedSlot) -> bool:
        born = self._birth_of(pid)
        transport = None if born is None else self._transport(slot, pid, born)
        if transport is None:
            return False
        slot.adopt(transport, born)
        return True

    def _remember_start(self, slot: InheritedSlot, mark: SpawnId) -> None:
        life = Life(state=State.STARTING, wanted=True)
        slot.remember(Memory(life=life, spawn=mark, restarts=slot.memory.restarts))

    def _go_on_without(self, slot: InheritedSlot) -> bool:
        """Have a slot go on that has no process, or none any more."""
        pid = slot.memory.pid
        if pid:
            status = self._status(pid)
            reason = UnknownEnd() if status is None else reason_of(status)
            slot.lost(reason, again=_may_not_go_on(slot))
        else:
            slot.adopt(None)
        return True

    def _birth_of(self, pid: int) -> Born | None:
        start = self._living.start(pid)
        return None if start is None else Born(start, start)

    def _transport(self, slot: InheritedSlot, pid: int, born: Born) -> AdoptedTransport | None:
        """Return a transport for a process, None if it is not there any more."""
        pidfd = self._living.find(pid, born)
        if pidfd is None:
            return None
        held = self._is_held(pid)
        return self._adopted.adopt(pid, pidfd, born, slot.protocol(), held=held)

    def _is_held(self, pid: int) -> bool:
        return self._traces.holder != 0 and self._living.parent(pid) == self._traces.holder

    def _status(self, pid: int) -> int | None:
        if pid not in self._ended:
            self._ended = self._traces.statuses()  # it may have ended just now
        return self._ended.get(pid)

    def _marked(self, names: Collection[str]) -> dict[int, SpawnId]:
        """Return leaders of sessions that are marked as processes of ours, one for each name.

        Of several it is that of the latest start, and then the oldest: what else bears its mark, it has
        started itself.
        """
        best: dict[str, tuple[int, float, int, SpawnId]] = {}
        for pid, mark in self._living.marked():
            ours = mark.daemon == self._traces.token
            if mark.name in names and (ours or self._is_held(pid)):
                rank = (-mark.number, self._living.start(pid) or 0.0, pid, mark)
                known = best.get(mark.name)
                if known is None or rank[:3] < known[:3]:
                    best[mark.name] = rank
        return {pid: mark for _, _, pid, mark in best.values()}


def _may_not_go_on(slot: InheritedSlot) -> bool:
    """True if a process is to end with its daemon, or was made by what is not in force any more."""
    return slot.program.on_daemon_death is OnDaemonDeath.STOP or slot.memory.outdated
