"""The daemon as one user has it before them: what they have stopped bears their name."""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import Outcome
from supervisortw.core.text import one_line
from supervisortw.daemon.supervisor import Supervisor


class AskedBy:
    """A `Control` for ``who``, whose programs are those of ``supervisor``."""

    def __init__(self, supervisor: Supervisor, who: str) -> None:
        self._supervisor = supervisor
        self._who = one_line(who)[: LIMITS.stopped_by_characters]
        # What follows from these is the same, whoever asks.
        self.status = supervisor.status
        self.why = supervisor.why
        self.start = supervisor.start
        self.scale = supervisor.scale
        self.write_stdin = supervisor.write_stdin
        self.reload = supervisor.reload
        self.reread = supervisor.reread
        self.shutdown = supervisor.shutdown
        self.tail = supervisor.tail
        self.read_log = supervisor.read_log
        self.clear = supervisor.clear
        self.watch_log = supervisor.watch_log
        self.events = supervisor.events
        self.watch_events = supervisor.watch_events

    async def stop(self, names: Sequence[str], *, all_of_it: bool = False) -> list[Outcome]:
        """Stop what is up and wait until all of its processes are gone."""
        return await self._supervisor.stop(names, all_of_it=all_of_it, by=self._who)

    async def restart(self, names: Sequence[str]) -> list[Outcome]:
        """Stop what is up, start all, and wait."""
        return await self._supervisor.restart(names, by=self._who)

    async def signal(self, signame: str, names: Sequence[str]) -> list[Outcome]:
        """Send a signal to the main process of each program that is up."""
        return await self._supervisor.signal(signame, names, by=self._who)
