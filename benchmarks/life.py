"""One life of one supervisor, from its boot with all children to the end of every process."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from peers.base import Peer, Site
from processes import Command, Failed, descendants, end_everything
from starts import Starts
from waiting import Deadline

# Everybody counts a child that dies within a second of its start as broken.
SETTLED_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 0.01  # rarely, to leave the processors to those who are measured


@dataclass
class Result:
    """What one trial found: figures by their keys, and by step why there is none."""

    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """How busy the machine was before the trial."""


class Life(ABC):
    """Boots a peer in its site, does with it what a subclass does, and ends it."""

    def __init__(self, peer: Peer, site: Site, timeout: float) -> None:
        self._peer = peer
        self._site = site
        self._timeout = timeout
        self._result = Result()
        self._values = self._result.values

    def run(self) -> Result:
        """Return what was found."""
        self._starts = Starts(self._site.fifo)
        try:
            self._peer.prepare(self._site)
            output = self._site.directory / "daemon.out"
            self._daemon = Command(self._peer.daemon(self._site), self._site.directory, output)
            try:
                self.live()
            finally:
                self._daemon.close()
        finally:
            end_everything()
            self._starts.close()
        return self._result

    @abstractmethod
    def live(self) -> None:
        """Measure; everything is ended afterwards."""

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout)

    def _all_started(self, names: Sequence[str], since: int, deadline: Deadline) -> int:
        """Wait until all of them have started after ``since``; return when the last one did."""
        while (last := self._starts.last_start(names, since)) is None:
            if self._daemon.has_ended():
                raise Failed("the daemon ended")
            time.sleep(min(LOOK_AGAIN_SECONDS, deadline.left()))
        return last

    def _settle(self, *names: str) -> None:
        """Wait until all children, or the named ones, have been there for a while."""
        deadline = Deadline(self._timeout + SETTLED_SECONDS)
        while True:
            self._starts.collect()
            last = max(self._starts.latest[name].at for name in names or self._site.names)
            left = SETTLED_SECONDS - seconds(time.monotonic_ns() - last)
            if left <= 0:
                return
            time.sleep(min(left, deadline.left()))

    def _own_processes(self) -> list[int]:
        self._starts.collect()
        children = {start.pid for start in self._starts.latest.values()}
        return [self._daemon.pid, *(p for p in descendants(self._daemon.pid) if p not in children)]


def seconds(nanoseconds: int) -> float:
    """Return nanoseconds as seconds."""
    return nanoseconds / 1e9
