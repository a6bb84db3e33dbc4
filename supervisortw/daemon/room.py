"""Room for the files of all processes: made as far as the system allows it, and shared where it ends."""

from __future__ import annotations

import os
import resource

from twisted.logger import Logger

from supervisortw.core.descriptors import needed
from supervisortw.core.limits import LIMITS
from supervisortw.core.plan import Layout
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.errors import SpawnError

log = Logger(namespace="supervisor")


class FileRoom:
    """A `Room` under the limit of open files.

    ``note`` is what an operator should know about it; None while there is enough.
    """

    def __init__(self, limit: FileLimit) -> None:
        self._limit = limit
        self.note: str | None = None

    def make(self, layout: Layout) -> None:
        """Be allowed to have as many files open as all this needs, if that is possible."""
        note = self._limit.raise_to(needed(layout.processes.values(), len(layout.sockets)))
        if note is not None and note != self.note:
            log.error("{note}", note=note)
        self.note = note

    def check(self) -> None:
        """Raise SpawnError if a program more would take what is kept for those who steer the daemon."""
        if self.note is not None and not _can_open(LIMITS.files_kept + 1):
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            reason = (
                f"too many open files: {allowed} are allowed, and the last are kept for clients"
            )
            raise SpawnError(reason, permanent=False)

    def starts_at_once(self) -> int:
        """Return how many processes can be made at once: each needs some files meanwhile."""
        return LIMITS.spawns_under_way if self.note is None else LIMITS.spawns_in_little_room


def _can_open(count: int) -> bool:
    """Tell whether ``count`` more files can be open at once; whoever closes some leaves gaps."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
