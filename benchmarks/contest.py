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
from peers.base import Peer, Site
from trial import Plan, Result, Trial

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
        self, *, n: int, users: Sequence[str | None], plan: Plan, keep_output: bool,
        built: Built, directory: Path,
    ) -> None:  # fmt: skip
        width = len(str(n - 1))
        self._names = [f"p{number:0{width}}" for number in range(n)]
        self._users = users
        self._plan = plan
        self._keep_output = keep_output
        self._built = built
        self._directory = directory
        self._numbers = itertools.count()
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
        for number in range(repeats):
            shift = number * len(peers) // repeats
            for user in self._users:
                for peer in (*peers[shift:], *peers[:shift]):
                    who = f"children of user {user}" if user else "children of the daemon's user"
                    say(f"run {number + 1} of {repeats}, {who}: {peer.name}")
                    result = self._trial(peer, user, self._names, self._plan)
                    self.results.trials[user].setdefault(peer.name, []).append(result)
                    for step, failure in result.failures.items():
                        say(f"  {step}: {failure}")

    def _trial(self, peer: Peer, user: str | None, names: Sequence[str], plan: Plan) -> Result:
        directory = self._directory / str(next(self._numbers))
        directory.mkdir()
        directory.chmod(0o711)
        site = Site(
            directory=directory,
            names=names,
            child=self._built.child,
            user=user,
            keep_output=self._keep_output,
        )
        try:
            return Trial(peer, site, plan).run()
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def say(text: str) -> None:
    """Tell how far we are."""
    print(text, file=sys.stderr, flush=True)
