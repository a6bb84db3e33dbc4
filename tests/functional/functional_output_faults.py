"""What is done to the daemon, its holder and the logs while programs print."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from functional_output_printers import Printer, Printers
from functional_processes import PATIENCE, wait_until, wait_until_gone
from functional_survivor import Survivor

# After that many deaths of its daemon, a holder waits for seconds before it starts the next one.
DEATHS_UNDER_ONE_HOLDER = 3

Act = Callable[[], None]


class Faults:
    """Does a few things at once, by chance; the holder and the daemon never die together."""

    def __init__(self, daemon: Survivor, printers: Printers, chance: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.told: list[str] = []  # what was done in this round, and when
        self.deaths = 0  # of daemons under this holder
        self._daemon = daemon
        self._printers = printers
        self._chance = chance
        self._number = 0
        self._began = 0.0
        self._clients = ThreadPoolExecutor(1)
        self._clears: list[tuple[Printer, Future[tuple[str, str]]]] = []
        self._shell = daemon.open_shell()
        self._asker = daemon.open_shell()

    def close(self) -> None:
        """Wait for whoever is still asking."""
        self._clients.shutdown()

    def strike(self) -> None:
        """Let some of them print at full speed, and do terrible things meanwhile."""
        self.told.clear()
        self._began = time.monotonic()
        acts = [self._guards_fault(), *self._chance.choices(self._log_faults(), k=3)]
        self._chance.shuffle(acts)
        for act in acts:
            self._printers.burst()
            self._pause(0.06)
            self._do(act)

    def _guards_fault(self) -> Act:
        kill: list[Act] = [self._kill_daemon, self._kill_daemon_while_holder_is_stopped]
        if self.deaths + 2 <= DEATHS_UNDER_ONE_HOLDER:
            kill.append(self._kill_daemon_twice)
        return self._chance.choice([*kill, self._kill_daemon, self._stop_for_a_moment])

    def _log_faults(self) -> list[Act]:
        return [self._rename, self._rename_and_create, self._clear, self._copy_and_truncate]

    def _do(self, act: Act) -> None:
        name = act.__name__.strip("_").replace("_", " ")
        self.done[name] += 1
        self._note(name)
        act()

    def _note(self, what: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:.3f} s: {what}")

    def _pause(self, longest: float) -> None:
        time.sleep(self._chance.uniform(0, longest))

    # To the daemon and its holder.

    def _kill_daemon(self) -> None:
        daemon = self._daemon.guards().daemon
        if daemon:
            self.deaths += 1
            self._printers.burst()
            self._pause(0.04)
            os.kill(daemon, signal.SIGKILL)
            wait_until_gone(daemon)

    def _kill_daemon_twice(self) -> None:
        self._kill_daemon()
        self._pause(0.8)
        self._kill_daemon()

    def _kill_daemon_while_holder_is_stopped(self) -> None:
        with self._stopped([self._daemon.guards().holder]):
            self._kill_daemon()
            self._pause(1)

    def _stop_for_a_moment(self) -> None:
        guards = self._daemon.guards()
        there = [pid for pid in (guards.holder, guards.daemon) if pid]
        with self._stopped(self._chance.sample(there, self._chance.randint(1, len(there)))):
            self._pause(1)

    @contextlib.contextmanager
    def _stopped(self, pids: list[int]) -> Iterator[None]:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # To the logs.

    def _any(self) -> Printer:
        return self._one(self._chance.choice([self._printers.slow, self._printers.quick]))

    def _one(self, printers: Sequence[Printer]) -> Printer:
        one = self._chance.choice(printers)
        self._note(f"... {one.name}, lines {one.done} to {one.begun}")
        self._number += 1
        return one

    def _rename(self) -> None:
        """Put a log aside, as logrotate does."""
        one = self._any()
        with contextlib.suppress(FileNotFoundError):  # the daemon is just doing so
            os.rename(one.log, f"{one.log}.moved{self._number}")

    def _rename_and_create(self) -> None:
        """Do so, and make a new file at once."""
        one = self._any()
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.rename(one.log, f"{one.log}.moved{self._number}")
            one.log.touch(0o640, exist_ok=False)

    def _clear(self) -> None:
        one = self._any()
        self._clears.append((one, self._clients.submit(self._shell.attempt, ["clear", one.name])))

    def _copy_and_truncate(self) -> None:
        """Copy a log and empty it: what comes between is lost.

        Only of one that prints slowly: who truncates a file while the kernel moves pages to it, gets
        a hole.
        """
        one = self._one(self._printers.slow)
        with contextlib.suppress(FileNotFoundError), open(one.log, "r+b") as file:
            copy = file.read()
            one.log.with_name(f"{one.log.name}.copied{self._number}").write_bytes(copy)
            file.truncate(0)
            copied = one.book.last_number_in(copy)
            if copied is not None:
                one.book.forgive(copied + 1, one.begun)

    # How all come back.

    def recover(self) -> None:
        """Wait until a daemon answers, and what was asked of it has been answered."""
        wait_until(
            lambda: self._daemon.answers() and bool(self._asker.attempt(["pid"])[0]),
            lambda: f"an answer of {self._daemon.guards()}:\n{self._daemon.log_text()}",
            4 * PATIENCE,
        )
        for one, answer in self._clears:
            text, complaint = answer.result(4 * PATIENCE)
            self._note(f"clear {one.name}: {(text or complaint).strip()}")
            # Perhaps it was done though nobody has said so.
            one.book.forgive(1, one.begun)
        self._clears.clear()
