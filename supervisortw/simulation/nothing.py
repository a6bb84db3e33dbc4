"""What a daemon has beside its programs and a simulation has not: files, sockets, standard input."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import succeed

from supervisortw.core.annals import Past
from supervisortw.core.chronicle import Left
from supervisortw.core.happening import Kind
from supervisortw.core.limits import LIMITS
from supervisortw.core.plan import Layout
from supervisortw.daemon.history import History, LeftEvents
from supervisortw.daemon.journal import Journal
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.daemon.logs.output import PassedOn
from supervisortw.daemon.remembered import Remembered
from supervisortw.errors import Refused, SpawnError
from supervisortw.interfaces import Clock

TOKEN = "0"  # noqa: S105  # marks the processes of a simulation, which nobody looks for
NO_DIRECTORY = "/nonexistent"  # of files that are never written

NOWHERE = PassedOn("nowhere (simulated)", lambda: os.open(os.devnull, os.O_WRONLY))


class Nothing:
    """What no program of a simulation is given: sockets, standard input, cgroups."""

    def descriptor(self, name: str) -> int:
        """Raise SpawnError."""
        raise _not_simulated(name)

    def reader(self, name: str) -> int:
        """Raise SpawnError."""
        raise _not_simulated(name)

    def directory_for(self, name: str) -> str:
        """Raise SpawnError."""
        raise _not_simulated(name)

    def memory_events(self, name: str) -> str | None:
        """Return None."""
        return None

    def adopt(self, name: str) -> bool:
        """Return False."""
        return False

    def write(self, name: str, data: bytes) -> None:
        """Raise Refused."""
        raise Refused("is not simulated")

    def close(self, name: str) -> None:
        """Do nothing."""

    def remove(self, name: str) -> None:
        """Do nothing."""


class Boundless:
    """Room for any number of files, as none are opened."""

    def make(self, layout: Layout) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""

    def starts_at_once(self) -> int:
        """Return as many as a daemon makes at once."""
        return LIMITS.spawns_under_way


def _not_simulated(name: str) -> SpawnError:
    return SpawnError(f"{name}: is not simulated", permanent=True)


class NoJournal(Journal):
    """Writes nothing down; tells when the daemon begins to end."""

    def __init__(self, remark: Callable[[str, str], None]) -> None:
        super().__init__(NO_DIRECTORY, "", TOKEN, Left())
        self._remark = remark

    def ending(self, exit_code: int) -> None:
        """Tell it."""
        self._remark("supervisord", "shuts down, since an essential program has ended")

    def _add(self, lines: str) -> None:
        pass

    def write_anew(self) -> None:
        """Do nothing."""


class NoneRemembered(Remembered):
    """What operators have stopped, for as long as the simulation lasts."""

    def __init__(self) -> None:
        super().__init__(NO_DIRECTORY, lambda write, file, names: succeed(None))

    def load(self) -> None:
        """Do nothing."""


class NoHistory(History):
    """Remembers nothing: the timeline does."""

    def __init__(self, clock: Clock) -> None:
        left = LeftEvents(KeptFile(f"{NO_DIRECTORY}/events", 0), "", Past(epoch=TOKEN))
        super().__init__(clock, clock.seconds, left)

    def note(self, kind: Kind, text: str, name: str = "") -> None:
        """Do nothing."""
