"""Holder, daemon and clients are killed and stopped at random moments, under 50 programs.

SUPERVISORTW_CHAOS_ROUNDS says how often (30 times), SUPERVISORTW_CHAOS_SEED what comes when.
"""

from __future__ import annotations

import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from functional_chaos_children import CHILD, SETTINGS, addresses, programs, slots, up_at_first
from functional_chaos_faults import Faults
from functional_chaos_operator import Desire, Operator, variant_file
from functional_chaos_rules import Rules, Told, Wish
from functional_chaos_watch import (
    CALL_SECONDS,
    LOOK_SECONDS,
    Repeated,
    Watch,
    answer_of,
    now,
)
from functional_daemon import Row, Status
from functional_processes import PATIENCE, command_of, descendants_of, wait_until
from functional_survivor import Survivor

pytestmark = pytest.mark.needs_linux

ROUNDS = int(os.environ.get("SUPERVISORTW_CHAOS_ROUNDS", "30"))
SEED = os.environ.get("SUPERVISORTW_CHAOS_SEED", "1")
LOG_LINE = re.compile(r" info (\S+): [A-Z]+ -> [A-Z]+(?: \(pid \d+\))?: (.+)$", re.MULTILINE)
RESTARTS = re.compile(r"(?:^|; )(\d+) restarts?$")


class Chaos:
    """One daemon, those who look at it, and those who harm it."""

    def __init__(self, daemon: Survivor, stack: ExitStack) -> None:
        self.daemon = daemon
        port = _free_port()
        self._configure(port)
        daemon.start()
        self.rules = Rules(slots(), up_at_first())
        self.watch = Watch(daemon.place, self.rules)
        stack.callback(self.watch.close)
        self.addresses = addresses(daemon.place, port)
        self._shell = daemon.open_shell()
        self._logged = 0
        desires = [Desire(daemon, self.watch, f"{SEED} {who}") for who in ("operator", "victim")]
        self.operator = Operator(daemon, self.watch, desires[0])
        self.faults = Faults(daemon, self.watch, slots(), desires[1], f"{SEED} faults")
        self._threads: list[Repeated] = []
        self._stack = stack

    def _configure(self, port: int) -> None:
        daemon = self.daemon
        script = daemon.script("child.py", CHILD)
        daemon.directory("locks")
        place = daemon.config
        for variant in (1, 0):
            daemon.config = variant_file(daemon, variant)
            daemon.write(programs(script, daemon.place, port, variant), SETTINGS)
        daemon.config = place
        daemon.save(place, variant_file(daemon, 0).read_text("utf-8"))

    def begin(self) -> None:
        """Begin to look, to call and to ask."""
        self.check("the start")
        self._repeat(self.watch.look, LOOK_SECONDS)
        for name, address in self.addresses.items():
            self._repeat(lambda n=name, a=address: self.watch.call(n, a), CALL_SECONDS)  # type: ignore[misc]
        self._repeat(self.operator.act, LOOK_SECONDS)

    def _repeat(self, act: Callable[[], object], pause: float) -> None:
        thread = Repeated(act, pause)
        self._threads.append(thread)
        self._stack.callback(thread.close)

    def round(self, moment: float) -> str:
        """Let something terrible happen, and see that all is as it has to be afterwards."""
        time.sleep(moment)
        what = self.faults.strike()
        self.faults.recover()
        with self.operator.paused():
            self.check(what)
        return what

    def check(self, what: str) -> None:
        """Wait until all is as it is wanted to be; fail if it is not, or if it was not meanwhile."""
        since = now()
        deadline = time.monotonic() + 3 * PATIENCE
        while True:
            rows = self._status()
            with self.watch.rules() as rules:
                late = rules.awaited(since, rows)
            if not late:
                break
            assert time.monotonic() < deadline, f"after {what}: {late}\n{self._told()}"
            time.sleep(0.05)
        self._read_log()
        with self.watch.rules() as rules:
            rules.settled(now(), rows)
        self._call_all()
        for thread in self._threads:
            thread.check()
        assert not self.rules.complaints, f"after {what}:\n{self._told()}"

    def _told(self) -> str:
        return "\n".join(self.rules.complaints)

    def _status(self) -> dict[str, Told]:
        begin = now()
        status = wait_until(self._ask, "an answer to status", 2 * PATIENCE)
        end = now()
        self.watch.look()
        rows = {name: _told(row) for name, row in status.programs.items()}
        with self.watch.rules() as rules:
            rules.told(begin, end, rows)
        return rows

    def _ask(self) -> Status | None:
        answer, _ = self._shell.attempt(["status"])
        return Status.parse(answer) if answer else None

    def _read_log(self) -> None:
        text = self.daemon.log_text()
        new, self._logged = text[self._logged :], len(text)
        assert "Traceback" not in new, new
        self.watch.look()  # what programs have written down before it was logged
        known = {slot.name for slot in slots()}
        with self.watch.rules() as rules:
            for name, detail in LOG_LINE.findall(new):
                if name in known:
                    rules.logged(now(), name, detail)

    def _call_all(self) -> None:
        for name, address in self.addresses.items():
            with self.watch.rules() as rules:
                due = rules.must_answer(name)
            if due:
                assert answer_of(address), f"{name} does not answer"

    def end(self) -> None:
        """Shut down: nothing may be left."""
        for thread in self._threads[1:]:  # all but the look
            thread.close()
        with self.watch.rules() as rules:
            rules.asked(now(), dict.fromkeys((slot.name for slot in slots()), Wish.DOWN))
        done = self.daemon.ctl("shutdown")
        assert done.returncode == 0, done.stderr
        below = self.daemon.init.pid
        wait_until(
            lambda: not descendants_of(below),
            lambda: f"the end of {[command_of(pid) for pid in descendants_of(below)]}",
            2 * PATIENCE,
        )
        with self.watch.rules() as rules:
            rules.answered(now(), [slot.name for slot in slots()], done=True)
        self.watch.look()
        assert not self.rules.complaints, self._told()


def _told(row: Row) -> Told:
    restarts = RESTARTS.search(row.detail)
    return Told(
        state=row.state,
        pid=row.pid,
        uptime=row.seconds,
        restarts=int(restarts[1]) if restarts else 0,
        detail=row.detail,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def chaos(make_daemon: Callable[..., Survivor]) -> Iterator[Chaos]:
    with ExitStack() as stack:
        yield Chaos(make_daemon(kind=Survivor), stack)


def test_whoever_is_killed_no_program_dies_and_none_runs_twice(chaos: Chaos) -> None:
    chance = random.Random(f"{SEED} moments")  # noqa: S311  # the same moments every time
    began = time.monotonic()
    chaos.begin()
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}, seed {SEED}: ", end="", flush=True)
        what = chaos.round(chance.uniform(0, 0.6))
        print(
            f"{what}; {time.monotonic() - began:.1f} s, guards {chaos.daemon.guards()}", flush=True
        )
    chaos.end()
    print(f"{dict(chaos.faults.done)}")
    print(f"{chaos.operator.granted} requests granted, {chaos.operator.refused} not")
    print(f"{chaos.rules.deaths} processes ended, of {chaos.rules.unknown_ends} nobody knows how")
