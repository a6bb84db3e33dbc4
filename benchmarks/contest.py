"""All trials of one run: everybody in turn, so that a noisy moment meets more than one of them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from building import Built
from bursts import Burst, Outpour, fastest
from life import Result
from peers.base import Peer, Site
from trial import Plan, Trial

WARM_UP = 2
# A socket below the directory must have a name that the kernel accepts.
LONGEST_DIRECTORY = 80


class Unusable(Exception):
    """The machine does not let us do what is needed."""


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Make a directory for everything that is written, which anybody can search; remove it after."""
    directory = Path(tempfile.mkdtemp(prefix="supervisors-"))
    try:
        directory.chmod(0o711)
        if len(str(directory)) > LONGEST_DIRECTORY:
            raise Unusable(f"{directory}: too long for sockets; set TMPDIR to a shorter one")
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Results:
    """What was found, by user of the children (None for that of the daemon) and by peer."""

    trials: dict[str | None, dict[str, list[Result]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Who is not measured, and why."""


class Contest:
    """Runs the trials; results are there as soon as each is over."""

    def __init__(
        self, *, n: int, users: Sequence[str | None], plan: Plan, bursts: Sequence[Burst], mib: int,
        keep_output: bool, built: Built, directory: Path,
    ) -> None:  # fmt: skip
        width = len(str(n - 1))
        self._names = [f"p{number:0{width}}" for number in range(n)]
        self._users = users
        self._plan = plan
        self._bursts = bursts
        self._mib = mib
        self._keep_output = keep_output
        self._built = built
        self._directory = directory
        self._numbers = itertools.count()
        self._ways: dict[tuple[str, str], dict[str, list[Result]]] = {}
        self.results = Results(trials={user: {} for user in users})

    def warm_up(self, peers: Sequence[Peer]) -> list[Peer]:
        """Let each boot once with few children; return those that can."""
        plan = replace(self._plan, steps=("boot", "status"))
        able = []
        for peer in peers:
            failures: dict[str, str] = {}
            for user in self._users:
                say(f"warm-up: {peer.name}")
                failures |= self._trial(peer, user, self._names[:WARM_UP], plan).failures
            if failures:
                reasons = "; ".join(dict.fromkeys(failures.values()))
                self.results.missing[peer.name] = f"fails with {WARM_UP} children: {reasons}"
            else:
                able.append(peer)
        return able

    def run(self, peers: Sequence[Peer], repeats: int) -> None:
        """Let all of them run, each time in another order."""
        try:
            for number in range(repeats):
                shift = number * len(peers) // repeats
                for user in self._users:
                    for peer in (*peers[shift:], *peers[:shift]):
                        self._take_turn(peer, user, f"run {number + 1} of {repeats}")
        finally:
            self._choose_ways()

    def _take_turn(self, peer: Peer, user: str | None, which: str) -> None:
        who = f"children of user {user}" if user else "children of the daemon's user"
        say(f"{which}, {who}: {peer.name}")
        result = self._trial(peer, user, self._names, self._plan)
        self.results.trials[user].setdefault(peer.name, []).append(result)
        for step, failure in result.failures.items():
            say(f"  {step}: {failure}")
        if user is None:
            self._let_write(peer)

    def _trial(self, peer: Peer, user: str | None, names: Sequence[str], plan: Plan) -> Result:
        if not plan.steps:
            return Result()
        with self._own_directory() as directory:
            site = Site(
                directory=directory,
                names=names,
                child=self._built.child,
                user=user,
                keep_output=self._keep_output,
            )
            return Trial(peer, site, plan).run()

    def _let_write(self, peer: Peer) -> None:
        for burst in self._bursts:
            ways = self._ways.setdefault((peer.name, burst.step), {})
            for way in peer.ways:
                say(f"  {burst.title} {way}".rstrip())
                result = self._burst(peer, burst, way)
                ways.setdefault(way, []).append(result)
                for failure in result.failures.values():
                    say(f"  {burst.step}: {failure}")

    def _choose_ways(self) -> None:
        """Of those who keep output in more than one way, let the fastest one count in every run."""
        for (name, step), ways in self._ways.items():
            best = fastest(ways, step)
            if best:
                say(f"{name}: {step}: the fastest way is {best}")
            runs = self.results.trials[None][name]
            for run, result in zip(runs, ways[best], strict=False):  # fewer after Ctrl-C
                run.values |= result.values
                run.failures |= result.failures

    def _burst(self, peer: Peer, burst: Burst, way: str) -> Result:
        size = burst.bytes_each(self._mib)
        with self._own_directory() as directory:
            site = Site(
                directory=directory,
                names=[f"w{number}" for number in range(burst.writers)],
                child=self._built.writer,
                user=None,
                keep_output=True,
                arguments=[str(burst.block), str(size)],
                rotation=burst.rotation,
                way=way,
            )
            return Outpour(peer, site, burst, self._plan.timeout).run()

    @contextlib.contextmanager
    def _own_directory(self) -> Iterator[Path]:
        directory = self._directory / str(next(self._numbers))
        directory.mkdir()
        directory.chmod(0o711)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def say(text: str) -> None:
    """Tell how far we are."""
    print(text, file=sys.stderr, flush=True)
