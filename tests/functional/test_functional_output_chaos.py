"""25 programs print; the daemon is killed and their logs are rotated, moved and emptied meanwhile.

No line may be lost, come again, or be torn, but those that somebody has emptied a log of.
SUPERVISORTW_OUTPUT_ROUNDS says how often (6 times), SUPERVISORTW_OUTPUT_SEED what comes when.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from functional_daemon import Row
from functional_output_faults import DEATHS_UNDER_ONE_HOLDER, Faults
from functional_output_printers import Printers
from functional_processes import PATIENCE, wait_until_gone
from functional_survivor import Survivor

pytestmark = pytest.mark.needs_linux

ROUNDS = int(os.environ.get("SUPERVISORTW_OUTPUT_ROUNDS", "6"))
SEED = os.environ.get("SUPERVISORTW_OUTPUT_SEED", "1")


class Chaos:
    """One daemon, those who print below it, and those who harm it."""

    def __init__(self, daemon: Survivor) -> None:
        self._daemon = daemon
        self._chance = random.Random(f"{SEED} output")  # noqa: S311  # the same every time
        self.printers = Printers(daemon)
        self.printers.configure()
        self.faults = Faults(daemon, self.printers, self._chance)
        self._pids: dict[str, int] = {}

    def start(self) -> None:
        """Start the daemon and all programs, as after a clean end."""
        self.printers.prepare()
        self._daemon.start()
        self.faults.deaths = 0
        self.printers.started()
        self._pids = self._pids_now()

    def _pids_now(self) -> dict[str, int]:
        rows: dict[str, Row] = self._daemon.status().programs
        return {name: row.pid for name, row in rows.items()}

    def round(self) -> None:
        """Let something terrible happen while they print, and see that all of it is in the logs."""
        time.sleep(self._chance.uniform(0.1, 0.5))
        self.faults.strike()
        self.faults.recover()
        self._daemon.hang_up()
        self.printers.pause()
        assert self._pids_now() == self._pids, self.faults.told
        self._check()
        self._make_room()
        self.printers.go_on()

    def _check(self) -> None:
        found = [text for one in self.printers.all for text in one.complaints()]
        if found:
            print("\n".join(self._files()))
        assert not found, "\n".join([*found, "after", *self.faults.told])

    def _files(self) -> Iterator[str]:
        for one in self.printers.all:
            for piece in sorted(one.pieces(), key=lambda piece: piece.name):
                yield f"{piece.name}: {len(piece.data)} bytes"

    def _make_room(self) -> None:
        """Remove what has been looked at, in one of the ways in which that may be done."""
        for one in self.printers.all:
            one.remove_older()
            one.book.close(one.done)
        way = self._chance.choice(["clear", "remove", "empty"])
        if way == "clear":
            self._daemon.ask("clear", "all")
        for one in self.printers.all:
            if way == "remove":
                one.remove()
            elif way == "empty":
                one.empty()

    def end(self) -> None:
        """End the daemon and the programs; nothing may come of that in the logs."""
        self.printers.pause()
        guards = self._daemon.guards()
        self._daemon.ask("shutdown")
        wait_until_gone(guards.holder, guards.daemon, seconds=2 * PATIENCE)
        self._check()
        for one in self.printers.all:
            one.remove_older()
            one.remove()


@pytest.fixture
def chaos(make_daemon: Callable[..., Survivor]) -> Iterator[Chaos]:
    with ExitStack() as stack:
        chaos = Chaos(make_daemon(kind=Survivor))
        stack.callback(chaos.faults.close)
        yield chaos


def test_no_line_is_lost_whatever_happens_to_the_daemon_and_to_the_logs(chaos: Chaos) -> None:
    began = time.monotonic()
    chaos.start()
    for number in range(ROUNDS):
        if chaos.faults.deaths >= DEATHS_UNDER_ONE_HOLDER:
            chaos.end()
            chaos.start()
        print(f"round {number + 1} of {ROUNDS}, seed {SEED}, {time.monotonic() - began:.1f} s:")
        chaos.round()
        print("\n".join(chaos.faults.told), flush=True)
    chaos.end()
    print(f"{dict(chaos.faults.done)}")
    print(f"{sum(one.done for one in chaos.printers.all)} lines in the end")
