"""Whole process trees: everything that runs in the session that a child was given.

A session is named by the pid of its leader. The kernel does not hand that number out again while a
process group or session still bears it, so a group that is seen non-empty can be signalled safely.
Members are found by one walk through /proc for everybody who asked in the same reactor turn, in a
thread. Where there is no /proc (macOS), the leader's process group stands for the session.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Collection, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.interfaces import Cancel, Clock

log = Logger(namespace="supervisor")

Members = dict[int, list[int]]
Finder = Callable[[Collection[int]], "Deferred[Members]"]

# Where a process cannot be watched, it is looked at again after this long, while a stop goes on.
LOOK_AGAIN_SECONDS = 0.2


class PosixSessions:
    """Signals sessions, and tells when they are empty; see `Sessions` for the promise."""

    def __init__(self, clock: Clock, find: Finder, watcher: PidfdWatcher | None) -> None:
        self._clock = clock
        self._find = find
        self._watcher = watcher
        self._to_signal: list[tuple[int, int]] = []
        self._waiting: dict[int, Callable[[], None]] = {}
        self._to_find: set[int] = set()
        self._watched: dict[int, list[Cancel]] = {}
        self._sweep_is_due = False

    def signal(self, sid: int, number: int) -> None:
        """Signal the leader's process group at once, and other groups of the session soon after."""
        _signal_group(sid, number)
        self._to_signal.append((sid, number))
        self._sweep_soon()

    def has_others(self, sid: int) -> bool:
        """True if the process group of ``sid`` is not empty; its leader must have been reaped."""
        return _group_is_there(sid)

    def when_empty(self, sid: int, emptied: Callable[[], None]) -> Cancel:
        """Call ``emptied`` once, later, when no process of the session is left."""
        self._waiting[sid] = emptied
        self._look_for(sid)
        return lambda: self._forget(sid)

    def _forget(self, sid: int) -> None:
        self._waiting.pop(sid, None)
        self._to_find.discard(sid)
        for cancel in self._watched.pop(sid, ()):
            cancel()

    def _look_for(self, sid: int) -> None:
        self._watched.pop(sid, None)
        if sid in self._waiting:
            self._to_find.add(sid)
            self._sweep_soon()

    def _sweep_soon(self) -> None:
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._clock.callLater(0, self._sweep)

    def _sweep(self) -> None:
        self._sweep_is_due = False
        to_signal, self._to_signal = self._to_signal, []
        to_find, self._to_find = self._to_find, set()
        found = self._find({sid for sid, _ in to_signal} | to_find)
        found.addCallback(self._found, to_signal, to_find)
        found.addErrback(self._not_found, to_find)

    def _not_found(self, failure: Failure, to_find: set[int]) -> None:
        log.failure("cannot look for processes", failure)
        for sid in to_find & self._waiting.keys():
            self._watch_by_time(sid)

    def _found(self, members: Members, to_signal: list[tuple[int, int]], to_find: set[int]) -> None:
        for sid, number in to_signal:
            for pid in members.get(sid, ()):
                if pid != sid:
                    _signal_outside_group(pid, sid, number)
        for sid in to_find:
            if sid in self._waiting:
                self._tell_or_watch(sid, members.get(sid, ()))

    def _tell_or_watch(self, sid: int, members: Iterable[int]) -> None:
        left = list(members)
        if not left:
            emptied = self._waiting.pop(sid)
            emptied()
        elif self._watcher is None:
            self._watch_by_time(sid)
        else:
            self._watch_by_pidfd(sid, left, self._watcher)

    def _watch_by_time(self, sid: int) -> None:
        timer = self._clock.callLater(LOOK_AGAIN_SECONDS, self._look_for, sid)
        self._watched[sid] = [timer.cancel]

    def _watch_by_pidfd(self, sid: int, pids: list[int], watcher: PidfdWatcher) -> None:
        left = set(pids)

        def gone(pid: int) -> None:
            left.discard(pid)
            if not left:  # each of them may have made others meanwhile
                self._look_for(sid)

        cancels = self._watched[sid] = []
        for pid in pids:
            try:
                cancels.append(watcher.watch(pid, lambda pid=pid: gone(pid)))  # type: ignore[misc]
            except ProcessLookupError:
                self._clock.callLater(0, gone, pid)
            except OSError:  # no descriptors left
                for cancel in cancels:
                    cancel()
                self._watch_by_time(sid)
                return


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
    """Return the living processes of each session, by one walk through /proc."""
    members: Members = {}
    try:
        entries = os.listdir("/proc")
    except FileNotFoundError:
        return {sid: [sid] for sid in sids if _group_is_there(sid)}
    for entry in entries:
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat is not None and stat.sid in sids and stat.alive:
                members.setdefault(stat.sid, []).append(int(entry))
    return members


class _Stat:
    """The few fields of /proc/PID/stat that matter here."""

    __slots__ = ("alive", "sid")

    def __init__(self, text: bytes) -> None:
        # The second field is the command in parentheses, and may hold anything.
        fields = text[text.rindex(b")") + 2 :].split(None, 4)
        self.alive = fields[0] not in (b"Z", b"X")
        self.sid = int(fields[3])


def _stat(pid: int) -> _Stat | None:
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _Stat(os.read(descriptor, 512))
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)


def _group_is_there(sid: int) -> bool:
    try:
        os.killpg(sid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True
