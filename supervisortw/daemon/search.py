"""One walk over the processes of the machine for those that have escaped, and signals to them.

Everything here is done in a thread. A process is believed to have come from a program if its
environment says so, or if it is in the program's cgroup. It is signalled through a pidfd only, after
it was seen once more that it still is that process: a number that is remembered may mean another one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.interfaces import Escaped

NO_PERMISSION = "no permission"
NO_PIDFD = "this system has no pidfds, without which it is not safe to signal it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for: processes from ``spawn`` or an earlier one, outside session ``sid``.

    ``signal`` is sent to each but those in ``spared``; None sends nothing.
    """

    spawn: SpawnId
    sid: int
    signal: int | None = None
    spared: frozenset[int] = frozenset()


@dataclass(slots=True, kw_only=True)
class Found:
    """Who was found, why some of them could not be signalled, and how many could not be looked at."""

    escaped: dict[int, Escaped] = field(default_factory=dict)
    trouble: dict[int, str] = field(default_factory=dict)
    hidden: int = 0


SearchAll = Callable[[Sequence[Search]], "Deferred[list[Found]]"]


def search_in_thread(
    in_thread: Callable[..., Any], cgroups: Cgroups, ours: Callable[[], Iterable[int]]
) -> SearchAll:
    """Return what carries out searches by ``in_thread(function, *args) -> Deferred``."""
    return lambda searches: in_thread(search_all, cgroups, tuple(searches), frozenset(ours()))


def search_all(
    cgroups: Cgroups, searches: Sequence[Search], ours: Collection[int] = ()
) -> list[Found]:
    """Carry out each search, all in one walk; raises OSError if it cannot be made.

    ``ours`` are the sessions of programs that are up: nobody in them has escaped, and not to look at
    them saves most of the time. Where there is no /proc, nothing is found.
    """
    try:
        return _Walk(cgroups, searches).make(ours)
    except FileNotFoundError:
        return [Found() for _ in searches]


class _Walk:
    """One walk; the order of the results is that of the searches."""

    def __init__(self, cgroups: Cgroups, searches: Sequence[Search]) -> None:
        self._cgroups = cgroups
        self._environments = proc.Environments()
        self._found = [(search, Found()) for search in searches]
        # Neither the daemon nor its parent: either may itself have been started from a program.
        self._ourselves = {os.getpid(), os.getppid()}

    def make(self, ours: Collection[int]) -> list[Found]:
        """Look at each process of the machine, then at those in cgroups."""
        by_name: dict[tuple[str, str], list[tuple[Search, Found]]] = {}
        for search, found in self._found:
            by_name.setdefault(search.spawn.process, []).append((search, found))
        kept = {*ours, *(search.sid for search, _ in self._found)} - {0}
        hidden = 0
        for pid, sid in proc.sessions():
            if sid in kept or pid in self._ourselves:
                continue
            try:
                spawn = self._spawn_of(pid)
            except PermissionError:
                hidden += 1
                continue
            for search, found in by_name.get(spawn.process, ()) if spawn else ():
                self._note(search, found, pid)
        for search, found in self._found:
            found.hidden = hidden
            self._look_into_cgroup(search, found)
        return [found for _, found in self._found]

    def _look_into_cgroup(self, search: Search, found: Found) -> None:
        name = search.spawn.name
        members = [pid for pid in self._cgroups.members(name) if pid not in found.escaped]
        if search.signal == signal.SIGKILL and all(self._is_meant(search, pid) for pid in members):
            # All of them at once, together with those that they are just making.
            found.escaped.update((pid, _told(pid)) for pid in members)
            if self._cgroups.kill(name):
                return
        for pid in members:
            self._note(search, found, pid)

    def _note(self, search: Search, found: Found, pid: int) -> None:
        """Note a process if it is meant, and signal it."""
        escaped = _told(pid)
        try:
            if search.signal is None or pid in search.spared:
                if not self._is_meant(search, pid):
                    return
            else:
                self._signal(search, pid, search.signal)
        except ProcessLookupError:
            return
        except PermissionError:
            found.trouble[pid] = NO_PERMISSION
        except AttributeError:
            found.trouble[pid] = NO_PIDFD
        found.escaped[pid] = escaped

    def _signal(self, search: Search, pid: int, number: int) -> None:
        """Signal a process; raises ProcessLookupError if it is gone or not meant."""
        pidfd = os.pidfd_open(pid)
        try:
            # Looked at after the pidfd was opened: if the number meant this process until now, the
            # pidfd does so, too, and will never mean another one.
            if not self._is_meant(search, pid):
                raise ProcessLookupError
            signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)

    def _is_meant(self, search: Search, pid: int) -> bool:
        """True if the process is alive, came from what is searched for, and has left its session."""
        if pid in self._ourselves or not proc.is_alive(pid):
            return False
        if search.sid and os.getsid(pid) == search.sid:
            return False
        try:
            spawn = self._spawn_of(pid)
        except PermissionError:
            spawn = None
        if spawn is not None and spawn.process == search.spawn.process:
            return spawn.number <= search.spawn.number
        return self._cgroups.has(search.spawn.name, pid)

    def _spawn_of(self, pid: int) -> SpawnId | None:
        value = self._environments.value(pid, VARIABLE)
        return None if value is None else SpawnId.parse(value)


def _told(pid: int) -> Escaped:
    return Escaped(pid=pid, command=proc.command(pid))
