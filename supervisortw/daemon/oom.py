"""Whether the kernel has killed a process because memory ran out.

The kernel counts such ends: for the whole system, and for a cgroup that has the memory controller. It
does not tell whom it was, so the first makes it only likely.
"""

from __future__ import annotations

import os

from supervisortw.core.exits import Oom
from supervisortw.core.model import Process
from supervisortw.daemon.preparation import ControlGroups
from supervisortw.interfaces import Clock

VMSTAT = "/proc/vmstat"
LATELY_SECONDS = 1.0  # between such an end and the turn in which we hear of it


class OomKills:
    """Looks at what the kernel has counted, and only after an end that may have been one."""

    def __init__(self, clock: Clock, cgroups: ControlGroups, vmstat: str = VMSTAT) -> None:
        self._clock = clock
        self._cgroups = cgroups
        self._vmstat = vmstat
        self._seen = _counted(vmstat)
        self._rose = float("-inf")
        self._looked = False

    def in_cgroup(self, process: Process) -> int | None:
        """Return how many the kernel has killed in the cgroup of a process; None if it has none."""
        events = self._cgroups.memory_events(process.name) if process.cgroup else None
        return None if events is None else _counted(events)

    def verdict(self, process: Process, before: int | None) -> Oom:
        """Judge a process that has ended by SIGKILL, which was not ours.

        ``before`` is what `in_cgroup` has said at its start, None if that is not known.
        """
        now = self.in_cgroup(process)
        if now is not None and before is not None:
            return Oom.YES if now > before else Oom.NO
        return Oom.PERHAPS if now or self._has_risen() else Oom.NO

    def _has_risen(self) -> bool:
        """True if the whole system has killed somebody lately; looked at once in a turn."""
        if not self._looked:
            self._looked = True
            self._clock.callLater(0, self._next_turn)
            before, self._seen = self._seen, _counted(self._vmstat)
            if before is not None and self._seen is not None and self._seen > before:
                self._rose = self._clock.seconds()
        return self._clock.seconds() - self._rose <= LATELY_SECONDS

    def _next_turn(self) -> None:
        self._looked = False


def _counted(path: str) -> int | None:
    """Return the number behind ``oom_kill`` in a file; None if it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, 64 * 1024)
        finally:
            os.close(descriptor)
        _, found, rest = (b"\n" + data).partition(b"\noom_kill ")
        return int(rest.partition(b"\n")[0]) if found else None
    except (OSError, ValueError):
        return None
