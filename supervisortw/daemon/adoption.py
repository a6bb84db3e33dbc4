"""Going on where a former daemon was: which of its processes are still there, and what became of others.

A process is believed to be the one that was written down if pid and birth agree, looked at after a pidfd
of it was opened. One whose start was cut short by the end of the daemon has a mark in its environment,
which was written down before.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from twisted.logger import Logger

from supervisortw.core.lifecycle import Life
from supervisortw.core.memory import Memory
from supervisortw.core.model import OnDaemonDeath
from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.core.states import State
from supervisortw.daemon import forker, proc
from supervisortw.daemon.adopted import AdoptedProcesses, AdoptedTransport, UnknownEnd
from supervisortw.daemon.child import reason_of
from supervisortw.daemon.slot import Slot

log = Logger(namespace="supervisor")

LAUNCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "launch.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heritage:
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

    def __init__(self, adopted: AdoptedProcesses, heritage: Heritage) -> None:
        self._adopted = adopted
        self._heritage = heritage
        self._ended: Mapping[int, int] = {}

    def find_strays(self, slots: Iterable[Slot]) -> list[Slot]:
        """Let slots of which nothing is known have the process that is there; return those slots."""
        if self._heritage.complete:
            return []
        by_name = {slot.program.name: slot for slot in slots}
        found = []
        for mark, _ in self._marked(by_name):
            slot = by_name.pop(mark.name, None)
            if slot is not None:
                life = Life(state=State.STARTING, wanted=True)
                slot.remember(Memory(life=life, spawn=mark))
                found.append(slot)
        return found

    def carry_out(self, slots: Collection[Slot]) -> None:
        """Have all slots that remember something go on."""
        if self._heritage.holder:
            end_half_born(self._heritage.holder, {slot.pid for slot in slots})
        self._ended = self._heritage.statuses()
        cut_short = {slot.program.name: slot for slot in slots if slot.is_cut_short}
        unborn: dict[str, int] = {}
        if cut_short:
            for mark, pid in self._marked(cut_short):
                if mark == cut_short[mark.name].memory.spawn:
                    unborn.setdefault(mark.name, pid)
        alive = 0
        for slot in slots:
            alive += self._go_on(slot, unborn.get(slot.program.name, 0))
        log.info(
            "going on with {known} programs of the supervisord before; {alive} are up",
            known=len(slots),
            alive=alive,
        )

    def _go_on(self, slot: Slot, unborn: int) -> bool:
        """Have one slot go on; return whether its process is there."""
        memory = slot.memory
        pid, born = memory.pid, memory.born
        if slot.is_cut_short:
            pid, born = unborn, proc.birth(unborn) if unborn else None
        if not pid:
            slot.adopt(None)
            return False
        transport = self._transport(slot, pid, born)
        if transport is not None:
            slot.adopt(transport)
            if _may_not_go_on(slot):
                slot.make_anew()
            return True
        if _may_not_go_on(slot):
            slot.make_anew()
        status = self._status(pid)
        slot.lost(UnknownEnd() if status is None else reason_of(status))
        return False

    def _transport(self, slot: Slot, pid: int, born: int | None) -> AdoptedTransport | None:
        """Return a transport for a process, None if it is not there any more."""
        pidfd = -1
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        except (AttributeError, OSError):  # no pidfds here, or no descriptors left
            pass
        if born is None or proc.birth(pid) != born:
            if pidfd >= 0:
                os.close(pidfd)
            return None
        return self._adopted.adopt(pid, pidfd, born, slot.protocol())

    def _status(self, pid: int) -> int | None:
        if pid not in self._ended:
            self._ended = self._heritage.statuses()  # it may have ended just now
        return self._ended.get(pid)

    def _marked(self, names: Collection[str]) -> list[tuple[SpawnId, int]]:
        """Return leaders of sessions that are marked as processes of ours, the oldest first."""
        heritage = self._heritage
        found = []
        for pid, mark in _marked_leaders():
            ours = mark.daemon == heritage.token
            if mark.name in names and (ours or proc.parent(pid) == heritage.holder != 0):
                found.append((proc.birth(pid) or 0, pid, mark))
        return [(mark, pid) for _, pid, mark in sorted(found, key=lambda each: each[:2])]


def _may_not_go_on(slot: Slot) -> bool:
    """True if a process is to end with its daemon, or was made by what is not in force any more."""
    return slot.program.on_daemon_death is OnDaemonDeath.STOP or slot.memory.outdated


def _marked_leaders() -> Iterator[tuple[int, SpawnId]]:
    environments = proc.Environments()
    with contextlib.suppress(FileNotFoundError):  # there is no /proc
        for pid, sid in proc.sessions():
            if pid != sid or not proc.is_alive(pid):
                continue
            try:
                text = environments.value(pid, VARIABLE)
            except PermissionError:
                continue
            mark = SpawnId.parse(text) if text else None
            if mark is not None:
                yield pid, mark


def end_half_born(holder: int, known: Collection[int]) -> None:
    """Kill what the daemon before us was just making when it died: it has not become a program yet.

    It would become one later, when nobody reckons with it any more.
    """
    for pid in proc.children(holder):
        if pid == os.getpid() or pid in known:
            continue
        try:
            pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            continue
        try:
            if {LAUNCH, os.path.abspath(forker.__file__)} & set(proc.arguments(pid)):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(pidfd)
