"""Whole process trees: everything that runs in the session that a child was given.

A session is named by the pid of its leader. The kernel does not hand that number out again while a
process group or session still bears it, so a group that is seen non-empty can be signalled safely.
Members are found by one walk over all processes for everybody who asked in the same reactor turn or
during the walk before, in a thread. Where there is no /proc (macOS), the leader's process group
stands for the session.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.born import Born
from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.escaped import EscapedProcesses
from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.daemon.rounds import Rounds
from supervisortw.daemon.search import search_in_thread
from supervisortw.daemon.turns import Turns
from supervisortw.interfaces import Cancel, Clock, Ending, Escaped

log = Logger(namespace="supervisor")

Members = dict[int, list[int]]
Finder = Callable[[Collection[int]], "Deferred[Members]"]


class PosixSessions:
    """Signals sessions, and tells when they are empty; see `Sessions` for the promise."""

    def __init__(
        self, clock: Clock, find: Finder, departures: Departures, escaped: EscapedProcesses
    ) -> None:
        self._find = find
        self._departures = departures
        self._escaped = escaped
        self._rounds = Rounds(clock, self._sweep)
        self._turns = Turns(clock)
        self._to_signal: list[tuple[int, int]] = []
        self._waiting: dict[int, Callable[[], None]] = {}
        self._to_find: set[int] = set()
        self._watched: dict[int, Cancel] = {}
        self._adopted: dict[int, Born] = {}  # by session, when its leader was started

    def adopt(self, sid: int, born: Born) -> None:
        """Take over the session of a leader that somebody else reaps."""
        self._adopted[sid] = born

    def signal(self, sid: int, number: int) -> None:
        """Signal the leader's process group at once, and other groups of the session soon after."""
        if self._means_others(sid):
            return
        _signal_group(sid, number)
        self._to_signal.append((sid, number))
        self._rounds.ask()

    def has_others(self, sid: int) -> bool:
        """True if the process group of ``sid`` is not empty; its leader must have been reaped."""
        if _group_is_there(sid) and not self._means_others(sid):
            return True
        self._adopted.pop(sid, None)
        return False

    def when_empty(self, sid: int, emptied: Callable[[], None]) -> Cancel:
        """Call ``emptied`` once, later, when no process of the session is left."""
        self._waiting[sid] = emptied
        self._look_for(sid)
        return lambda: self._forget(sid)

    def find_escaped(self, spawn: SpawnId, sid: int) -> Deferred[tuple[Escaped, ...]]:
        """Look for what came from ``spawn`` or an earlier one, and is outside session ``sid``."""
        return self._escaped.find(spawn, sid)

    def end_escaped(self, spawn: SpawnId, sid: int, wait: float) -> Deferred[Ending]:
        """End what `find_escaped` finds."""
        return self._escaped.end(spawn, sid, wait)

    def _means_others(self, sid: int) -> bool:
        """True if the number of an adopted session is one of other processes by now.

        It is not while one of the session is left: then nobody can get that pid.
        """
        born = self._adopted.get(sid)
        start = None if born is None else proc.start(sid)
        return born is not None and start is not None and not born.agrees_with(start)

    def _forget(self, sid: int) -> None:
        self._waiting.pop(sid, None)
        self._to_find.discard(sid)
        if sid in self._watched:
            self._watched.pop(sid)()

    def _look_for(self, sid: int) -> None:
        self._watched.pop(sid, None)
        if sid in self._waiting:
            self._to_find.add(sid)
            self._rounds.ask()

    def _sweep(self) -> Deferred[None]:
        to_signal, self._to_signal = self._to_signal, []
        to_find, self._to_find = self._to_find, set()
        found = self._find({sid for sid, _ in to_signal} | to_find)
        swept = found.addCallback(self._found, to_signal, to_find)
        return swept.addErrback(self._not_found, to_find)

    def _not_found(self, failure: Failure, to_find: set[int]) -> None:
        log.failure("cannot look for processes", failure)
        for sid in to_find & self._waiting.keys() - self._watched.keys():
            self._watched[sid] = self._departures.look_again(partial(self._look_for, sid))

    def _found(self, members: Members, to_signal: list[tuple[int, int]], to_find: set[int]) -> None:
        # In turns: there may be thousands to signal, and much may be done when a session is empty.
        for sid, number in to_signal:
            for pid in members.get(sid, ()):
                if pid != sid:
                    self._turns.take(partial(_signal_outside_group, pid, sid, number))
        for sid in to_find:
            self._turns.take(partial(self._tell_or_watch, sid, members.get(sid, [])))

    def _tell_or_watch(self, sid: int, members: Collection[int]) -> None:
        if sid not in self._waiting:
            return
        if members and not self._means_others(sid):
            self._watched[sid] = self._departures.when_gone(members, partial(self._look_for, sid))
        else:
            self._adopted.pop(sid, None)
            emptied = self._waiting.pop(sid)
            emptied()


def posix_sessions(
    clock: Clock,
    in_thread: Callable[..., Any],
    watcher: PidfdWatcher | None,
    cgroups: Cgroups,
    ours: Callable[[], Iterable[int]] = tuple,
) -> PosixSessions:
    """Return the sessions of this machine; walks are made by ``in_thread(function, *args)``.

    ``ours`` tells the sessions of all programs that are up; searches for escaped processes leave them
    out, which saves time and changes nothing else.
    """
    departures = Departures(clock, watcher)
    escaped = EscapedProcesses(clock, search_in_thread(in_thread, cgroups, ours), departures)
    return PosixSessions(clock, find_members(in_thread), departures, escaped)


def _signal_group(sid: int, number: int) -> None:
    """Signal the process group of ``sid``, if it is seen to be there."""
    try:
        os.killpg(sid, 0)
        os.killpg(sid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.warn("no permission to send signal {number} to group {sid}", number=number, sid=sid)


def _signal_outside_group(pid: int, sid: int, number: int) -> None:
    """Signal one process of session ``sid`` that has left the leader's process group."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return
    try:
        # Looked at after the pidfd was opened: the number cannot mean another process any more.
        if os.getsid(pid) == sid and os.getpgid(pid) != sid:
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.warn("no permission to send signal {number} to {pid}", number=number, pid=pid)
    finally:
        os.close(pidfd)


def find_members(in_thread: Callable[..., Any]) -> Finder:
    """Return a finder that walks /proc by ``in_thread(function, *args) -> Deferred``."""
    return lambda sids: in_thread(_members, frozenset(sids))


def _members(sids: Collection[int]) -> Members:
    """Return the living processes of each session, by one walk over all processes."""
    members: Members = {}
    try:
        for pid, sid in proc.sessions():
            if sid in sids and proc.is_alive(pid):
                members.setdefault(sid, []).append(pid)
    except FileNotFoundError:
        return {sid: [sid] for sid in sids if _group_is_there(sid)}
    return members


def _group_is_there(sid: int) -> bool:
    try:
        os.killpg(sid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True
