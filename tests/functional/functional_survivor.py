"""A daemon that is meant to be killed: who guards the programs now, and their deaths."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from functional_account import Account
from functional_daemon import LONGEST_COMMAND, Command, Completed, Daemon, Status
from functional_init import Init
from functional_processes import (
    PATIENCE,
    command_of,
    descendants_of,
    environment_of,
    is_alive,
    stat_of,
    wait_until,
    wait_until_gone,
)

CHANNEL = "SUPERVISOR_HOLDER_FD"  # is in the environment of the daemon, and of nobody's programs
HOLDER = "supervisor-hold"


@dataclass(frozen=True, slots=True)
class Guards:
    """The two processes that look after the programs, by their numbers; 0 where there is none."""

    holder: int
    daemon: int


class Survivor(Daemon):
    """A daemon below a process 1 of its own, which reaps orphans as on a real machine."""

    def __init__(self, place: Path, account: Account) -> None:
        super().__init__(place, account)
        self.init = Init(place, account.command([]), self.environment_with())

    def run_supervisord(self, command: Command) -> Completed:
        """Run a command that becomes supervisord until it returns."""
        done = self.init.run([os.fspath(word) for word in command], LONGEST_COMMAND)
        guards = self.guards()
        self.pid, self.holder = guards.daemon, guards.holder
        return done

    def again(self, *options: str) -> Completed:
        """Start the daemon as at first, after the death of everybody; it is ready then."""
        done = self.supervisord(*options)
        assert done.returncode == 0, done.stderr
        return done

    # Who is there.

    def guards(self) -> Guards:
        """Return who looks after the programs at this moment, also before it is ready."""
        below = [stat for stat in map(stat_of, descendants_of(self.init.pid)) if stat is not None]
        holders = [stat.pid for stat in below if _name_of(stat.pid) == HOLDER]
        daemons = [
            stat.pid
            for stat in below
            if stat.parent in {self.init.pid, *holders}
            and stat.pid not in holders
            # A forker whose daemon has just died has its environment.
            and "forker" not in command_of(stat.pid)
            and _has(stat.pid, CHANNEL)
        ]
        # A daemon that the holder has just made is called as the holder until its exec.
        holders = [pid for pid in holders if not _has(pid, CHANNEL)]
        return Guards(holders[0] if holders else 0, max(daemons, default=0))

    def answers(self) -> bool:
        """True if somebody listens at the control socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def told(self) -> Status | None:
        """Return the status, or None if nobody tells it; by a client of its own."""
        done = self.ctl("status")
        return Status.parse(done.stdout) if done.returncode == 0 else None

    def wait_until_adopted(self, seconds: float = 2 * PATIENCE) -> Status:
        """Wait until another daemon than the last one tells its status."""

        def look() -> Status | None:
            status = self.told() if self.answers() else None
            return status if status is not None and status.pid != self.pid else None

        status = wait_until(look, lambda: f"{self.guards()}:\n{self.log_text()}", seconds)
        guards = self.guards()
        self.pid, self.holder = status.pid, guards.holder
        self.hang_up()
        return status

    # Deaths.

    def kill_daemon(self) -> None:
        """Kill the daemon; its holder starts another one."""
        self._kill(self.pid)

    def kill_holder(self) -> None:
        """Kill the holder; the daemon goes on."""
        self._kill(self.holder)
        self.holder = 0

    def kill_both(self) -> None:
        """Kill holder and daemon, so that nobody is left who looks after the programs."""
        for pid in (self.holder, self.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(self.holder, self.pid)
        self.hang_up()

    def _kill(self, pid: int) -> None:
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        self.hang_up()

    def stop(self) -> None:
        """End everything, also what has been stopped by a signal; called at the end of every test."""
        try:
            self._end_guards()
            self.pid = self.holder = 0
            super().stop()
            left = [command_of(pid) for pid in sorted(descendants_of(self.init.pid))]
        finally:
            self.init.close()
        assert not left, f"still there after the end of the daemon: {left}"

    def _end_guards(self) -> None:
        guards = self.guards()
        for pid in (guards.holder, guards.daemon):
            if pid:
                os.kill(pid, signal.SIGCONT)
        if guards.holder or guards.daemon:
            os.kill(guards.holder or guards.daemon, signal.SIGTERM)
        deadline = time.monotonic() + 2 * PATIENCE
        while descendants_of(self.init.pid) and time.monotonic() < deadline:
            time.sleep(0.02)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").rstrip("\n")
    return ""


def _has(pid: int, variable: str) -> bool:
    """True if the process was started with such a variable, and is still there."""
    with contextlib.suppress(OSError):
        return variable in environment_of(pid) and is_alive(pid)
    return False
