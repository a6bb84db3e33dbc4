"""Lives of supervisors whose children write: how fast that is, and what it costs to keep it."""

from __future__ import annotations

import signal
import statistics
import time
from dataclasses import dataclass

from life import Life, Result, seconds
from peers.base import Peer, Rotation, Site
from processes import Failed, pss_bytes, targets, wakeups_and_nanoseconds
from waiting import TimedOut

# Nobody works any more who needs less than this part of a processor for so long.
CALM_SECONDS = 0.3
CALM_PART = 0.03


@dataclass(frozen=True, kw_only=True)
class Burst:
    """So many children write at once: each a part of the whole, in blocks, and into its own file."""

    step: str
    writers: int
    block: int
    part: float = 1
    """How much of what one is asked to write by ``--mib`` all of them write together."""
    rotation: Rotation

    @property
    def title(self) -> str:
        """Return what begins the titles of its rows."""
        size = f"{self.block >> 10} KiB" if self.block >= 1024 else f"{self.block} bytes"
        return f"{self.writers} writer{'s' * (self.writers > 1)}, {size}"

    def bytes_each(self, mib: int) -> int:
        """Return what each of them writes."""
        return max(self.block, int(mib * 2**20 * self.part / self.writers))


# Of each log there are two files, so that 100 of them need 800 MiB at most.
BURSTS = (
    Burst(step="capture", writers=1, block=1 << 16, rotation=Rotation(64 << 20, 1)),
    Burst(step="capture100", writers=100, block=1 << 16, rotation=Rotation(4 << 20, 1)),
    Burst(step="lines", writers=1, block=100, part=1 / 8, rotation=Rotation(64 << 20, 1)),
)


class Outpour(Life):
    """Boots a peer with writers in its site, and has them write once."""

    def __init__(self, peer: Peer, site: Site, burst: Burst, timeout: float) -> None:
        super().__init__(peer, site, timeout)
        self._burst = burst

    def live(self) -> None:
        """Have them write; a failure is noted."""
        try:
            self._all_started(self._site.names, self._daemon.began, self._deadline())
            self._settle()
            self._measure()
        except (TimedOut, Failed) as error:
            words = str(error)
            if self._daemon.has_ended():
                words = f"the daemon ended: {self._daemon.last_words()}"
            self._result.failures[self._burst.step] = words

    def _measure(self) -> None:
        before = pss_bytes(self._own_processes())
        worked = self._worked_until_calm()
        taken = self._write()
        worked = self._worked_until_calm() - worked
        after = pss_bytes(self._own_processes())
        size = self._burst_bytes()
        step = self._burst.step
        self._values[f"{step}-rate"] = size / 2**20 / taken
        self._values[f"{step}-cpu"] = worked / 1e9 / (size / 2**30)
        self._values[f"{step}-before"] = before / 2**20
        self._values[f"{step}-after"] = after / 2**20

    def _burst_bytes(self) -> int:
        return int(self._site.arguments[-1]) * len(self._site.names)

    def _write(self) -> float:
        """Let all write; return the seconds from the first byte to the last."""
        names = self._site.names
        begun = [f"{name}/begun" for name in names]
        done = [f"{name}/done" for name in names]
        pids = [self._starts.latest[name].pid for name in names]
        with targets(pids, self._site.child) as held:
            since = time.monotonic_ns()
            for target in held:
                target.send(signal.SIGUSR1)
        last = self._all_started(done, since, self._deadline())
        return seconds(last - min(self._starts.latest[name].at for name in begun))

    def _worked_until_calm(self) -> int:
        """Wait until nobody works any more; return the nanoseconds that were worked up to then."""
        deadline = self._deadline()
        before = self._worked()
        while True:
            time.sleep(min(CALM_SECONDS, deadline.left()))
            now = self._worked()
            if now - before < CALM_SECONDS * CALM_PART * 1e9:
                return now
            before = now

    def _worked(self) -> int:
        try:
            return wakeups_and_nanoseconds(self._own_processes())[1]
        except OSError as error:
            raise Failed(f"cannot read /proc: {error.strerror}") from None


def fastest(ways: dict[str, list[Result]], step: str) -> str:
    """Return the way to keep output in which most was written, going by the medians of its results."""

    def median(way: str) -> float:
        rates = [one.values[f"{step}-rate"] for one in ways[way] if not one.failures]
        return statistics.median(rates) if rates else 0.0

    return max(ways, key=median)
