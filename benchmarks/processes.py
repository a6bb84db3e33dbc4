"""Processes: starting them, looking at them in /proc, and leaving none behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from waiting import Deadline

PR_SET_CHILD_SUBREAPER = 36
END_SECONDS = 20.0
SPARE_FILES = 256
PROC = Path("/proc")


class Failed(Exception):
    """Something was not as it has to be; the text goes below the table."""


class Command:
    """A daemon or a client in a session of its own; what it prints goes to a file."""

    def __init__(self, command: list[str], directory: Path, output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self.began = time.monotonic_ns()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=_environment(directory),
                start_new_session=True,
            )
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Return its process number, which stays its own until `close`."""
        return self._process.pid

    def fileno(self) -> int:
        """Return what becomes readable when it has ended, for poll."""
        return self._pidfd

    def wait(self, deadline: Deadline) -> int:
        """Wait for its end; return when that was."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while not poll.poll(deadline.left() * 1000):
            pass
        return time.monotonic_ns()

    def has_ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._process.poll() is not None

    def check(self) -> None:
        """Raise Failed unless it has ended with exit code 0."""
        code = self._process.wait()
        if code != 0:
            raise Failed(f"exit code {code}: {self.last_words()}")

    def printed(self) -> str:
        """Return all that it has printed."""
        return self._output.read_text("utf-8", "replace")

    def last_words(self) -> str:
        """Return the last line that it has printed."""
        return (self.printed().strip().splitlines() or ["(it printed nothing)"])[-1]

    def close(self) -> None:
        """Kill it if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pidfd)


def _environment(home: Path) -> dict[str, str]:
    """Return a small environment that is the same for everybody."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}


# Leaving none behind.


def adopt_orphans() -> None:
    """Become the parent of every process whose own parent, somewhere below us, dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def end_everything() -> None:
    """Kill and reap every process below this one. Raises TimedOut if some do not go."""
    deadline = Deadline(END_SECONDS)
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not _reap_all():
            return
        time.sleep(min(0.01, deadline.left()))


def _reap_all() -> bool:
    """Reap what has ended; return True if there are children left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


# Looking at them.


def descendants(root: int) -> list[int]:
    """Return every process below ``root``, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir(PROC):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = (PROC / entry / "stat").read_bytes()
                parent = int(text[text.rindex(b")") + 2 :].split(None, 2)[1])
                children.setdefault(parent, []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def pss_bytes(pids: Collection[int]) -> int:
    """Return the memory of the processes; what is shared counts in equal parts."""
    total = 0
    for pid in pids:
        try:
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError as error:
            raise Failed(f"cannot read smaps_rollup: {error.strerror}") from None
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def wakeups_and_nanoseconds(pids: Collection[int]) -> tuple[int, int]:
    """Return how often all threads of the processes have slept, and their time on a processor."""
    switches = nanoseconds = 0
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    switches += int(line.split()[1])
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return switches, nanoseconds


# Signals for children.


class Target:
    """A process that is known to be one of the children, held by its pidfd."""

    def __init__(self, pid: int, program: Path) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise Failed(f"the child with pid {pid} died by itself") from None
        command = (PROC / str(pid) / "cmdline").read_bytes()
        if not command.startswith(os.fsencode(program) + b"\0"):
            self.close()
            raise Failed(f"pid {pid} is not a child any more")

    def kill(self) -> None:
        """End it without a warning."""
        self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._pidfd)


@contextlib.contextmanager
def targets(pids: Collection[int], program: Path) -> Iterator[list[Target]]:
    """Hold all of them at once, with a higher limit of open files for as long as that lasts."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = min(limits[1], max(limits[0], len(pids) + SPARE_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limits[1]))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        held = []
        for pid in pids:
            held.append(Target(pid, program))
            stack.callback(held[-1].close)
        yield held
