"""Looks at the programs of the chaos test all the time: at the processes, their notes, their sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from functional_chaos_children import MARK
from functional_chaos_rules import Instance, Rules
from functional_processes import PATIENCE, environment_of

LOOK_SECONDS = 0.05
CALL_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")
# A process has the environment of the daemon until its exec.
YOUNG_SECONDS = 5.0


def now() -> float:
    """Return the seconds since the boot, as the kernel tells births."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Repeated:
    """Does something again and again in a thread, until it is closed or fails."""

    def __init__(self, act: Callable[[], object], pause: float) -> None:
        self._act = act
        self._pause = pause
        self._enough = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._enough.wait(self._pause):
                self._act()
        except BaseException as error:  # is raised again by whoever closes it
            self.failure = error

    def check(self) -> None:
        """Raise what has gone wrong in the thread."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """End it."""
        self._enough.set()
        self._thread.join(4 * PATIENCE)
        assert not self._thread.is_alive(), "a thread of the test does not end"


class Watch:
    """Tells the rules what is to be seen; also keeps them from being told two things at once."""

    def __init__(self, place: Path, rules: Rules) -> None:
        self._place = place
        self._rules = rules
        self._lock = threading.RLock()
        self._marked: dict[tuple[int, str], str | None] = {}
        (place / "record").touch()
        self._record = open(place / "record", "rb")  # noqa: SIM115  # closed by close()
        self._rest = b""
        self.living: dict[str, Instance] = {}

    @contextlib.contextmanager
    def rules(self) -> Iterator[Rules]:
        """Give the rules to one who alone tells them something meanwhile."""
        with self._lock:
            yield self._rules

    def close(self) -> None:
        """Read the record no more."""
        self._record.close()

    # The processes.

    def look(self) -> None:
        """Look at all processes once, and at what they have written down."""
        with self._lock:
            begin = now()
            found = self._without_the_dead(list(self._find(begin)))
            end = now()
            self._read_record()
            self._rules.seen(begin, end, found)
            self.living = {each.slot: each for each in found}

    def _find(self, at: float) -> Iterator[Instance]:
        known, self._marked = self._marked, {}
        for name in os.listdir("/proc"):
            born = _birth_of_leader(name) if name.isdigit() else None
            if born is None:
                continue
            key = int(name), born
            slot = known.get(key, "")
            if slot == "":
                slot = self._slot_of(int(name), at - int(born) / TICKS)
            if slot != "":
                self._marked[key] = slot
            if slot:
                yield Instance(slot, int(name), int(born) / TICKS)

    def _slot_of(self, pid: int, age: float) -> str | None:
        """Return the slot of one of our programs, None for other processes, or nothing for not yet."""
        environment: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):  # it is gone, or just changes
            environment = environment_of(pid)
        if environment.get(MARK) == str(self._place):
            return environment["SUPERVISOR_SPAWN_ID"].split(":", 1)[1].rpartition(":")[0]
        return "" if age < YOUNG_SECONDS else None

    def _without_the_dead(self, found: list[Instance]) -> list[Instance]:
        """Leave out who has died while we looked, where two have the same slot."""
        slots = [each.slot for each in found]
        return [
            each
            for each in found
            if slots.count(each.slot) == 1
            or _birth_of_leader(str(each.pid)) == str(round(each.born * TICKS))
        ]

    def _read_record(self) -> None:
        *lines, self._rest = (self._rest + self._record.read()).split(b"\n")
        for line in lines:
            slot, pid, born, at, *words = line.decode().split()
            instance = Instance(slot, int(pid), int(born) / TICKS)
            self._rules.recorded(float(at), instance, words)

    def kill(self, instance: Instance) -> None:
        """Kill a program, if it is still that one."""
        with contextlib.suppress(ProcessLookupError), self._lock:
            pidfd = os.pidfd_open(instance.pid)
            try:
                if _birth_of_leader(str(instance.pid)) == str(round(instance.born * TICKS)):
                    self._rules.kills(now(), instance)
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)

    # The sockets.

    def call(self, name: str, address: str) -> None:
        """Connect to the socket of a program; it need not answer."""
        with _socket_for(address) as caller:
            caller.settimeout(PATIENCE)
            try:
                caller.connect(_where(address))
            except (ConnectionRefusedError, FileNotFoundError):
                with self._lock:
                    self._rules.refused(now(), name)


def answer_of(address: str) -> bytes:
    """Connect to the socket of a program, and return what it answers; nothing if it does not."""
    with _socket_for(address) as caller, contextlib.suppress(OSError):
        caller.settimeout(PATIENCE)
        caller.connect(_where(address))
        return caller.recv(100)
    return b""


def _socket_for(address: str) -> socket.socket:
    return socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET)


def _where(address: str) -> str | tuple[str, int]:
    if "/" in address:
        return address
    host, _, port = address.partition(":")
    return host, int(port)


def _birth_of_leader(pid: str) -> str | None:
    """Return when a living leader of a session was born, in ticks; None for anybody else."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in b"ZX" or fields[3] != pid.encode():
        return None
    return fields[19].decode()
