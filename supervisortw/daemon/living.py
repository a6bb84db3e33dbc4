"""Processes of a former daemon that may still be there, as /proc shows them.

A process is believed to be the one that is meant if pid and start agree, looked at after a pidfd of it
was opened. Everything here is quick for one process; to look for marks goes through all of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator

from supervisortw.core.born import Born
from supervisortw.core.limits import LIMITS
from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.daemon import forker, proc

LAUNCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "launch.py")
FORKER = os.path.abspath(forker.__file__)
NO_PIDFD = -1


class LivingProcesses:
    """The processes of this machine."""

    def find(self, pid: int, born: Born | None) -> int | None:
        """Return a pidfd of the process that was started then, or None if it is not there any more.

        NO_PIDFD where there are none, or no descriptors are left.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError):
            return None
        except (AttributeError, OSError):
            pidfd = NO_PIDFD
        if born is not None and born.agrees_with(proc.start(pid)):
            return pidfd
        if pidfd != NO_PIDFD:
            os.close(pidfd)
        return None

    def start(self, pid: int) -> float | None:
        """Return when a process was started, None if it is not there."""
        return proc.start(pid)

    def parent(self, pid: int) -> int:
        """Return the pid of the parent of a process, 0 if it is not there."""
        return proc.parent(pid)

    def marked(self) -> Iterator[tuple[int, SpawnId]]:
        """Give every leader of a session that has a mark, by pid."""
        environments = proc.Environments()
        try:
            for pid, sid in proc.sessions():
                if pid != sid or not proc.is_alive(pid):
                    continue
                try:
                    text = environments.value(pid, VARIABLE)
                except OSError:  # we may not look, or have no descriptor for it
                    continue
                mark = SpawnId.parse(text) if text else None
                if mark is not None:
                    yield pid, mark
        except FileNotFoundError:  # there is no /proc
            return

    def end_half_born(self, holder: int, known: Collection[int]) -> None:
        """Kill children of the holder that a dead daemon was just making: they are no programs yet.

        They would become some later, when nobody reckons with it any more.
        """
        for _ in range(LIMITS.half_born_rounds):  # one of them may be making another one
            left = 0
            for pid in proc.children(holder):
                if pid not in known and pid != os.getpid():
                    left += _end_if_half_born(pid)
            if not left:
                return


def _end_if_half_born(pid: int) -> bool:
    """Kill a process if it is a copy of a daemon or forker; return whether it was one and lived."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    try:
        words = proc.arguments(pid)
        if LAUNCH not in words[2:3] and FORKER not in words[4:5]:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return proc.is_alive(pid)
