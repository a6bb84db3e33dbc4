"""Processes as the kernel tells of them, and waiting for something to become true."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

PATIENCE = 15.0
PR_SET_CHILD_SUBREAPER = 36

Found = TypeVar("Found")


def wait_until(
    look: Callable[[], Found], what: str | Callable[[], str], seconds: float = PATIENCE
) -> Found:
    """Return the first true value of ``look()``; fail with ``what`` if none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {told}")
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Stat:
    """One process, from /proc/PID/stat."""

    pid: int
    state: str
    parent: int
    group: int
    session: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def stat_of(pid: int) -> Stat | None:
    """Return what the kernel tells of a process, or None if there is none of that number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses, and may hold anything.
    state, parent, group, session = text[text.rindex(b")") + 2 :].split()[:4]
    return Stat(pid, state.decode(), int(parent), int(group), int(session))


def everybody() -> Iterator[Stat]:
    """Give each process of the machine."""
    for name in os.listdir("/proc"):
        stat = stat_of(int(name)) if name.isdigit() else None
        if stat is not None:
            yield stat


def is_alive(pid: int) -> bool:
    """True if the process has not ended; one that nobody has reaped yet has ended.

    No process has the number 0.
    """
    if pid == 0:
        return False
    if sys.platform == "linux":
        stat = stat_of(pid)
        return stat is not None and stat.alive
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(*pids: int, seconds: float = PATIENCE) -> None:
    """Wait until all these processes have ended."""
    wait_until(
        lambda: not any(map(is_alive, pids)),
        lambda: f"the end of {[command_of(pid) for pid in pids if is_alive(pid)]}",
        seconds,
    )


def session_of(leader: int) -> set[int]:
    """Return the living processes of a session."""
    return {stat.pid for stat in everybody() if stat.session == leader and stat.alive}


def descendants_of(ancestor: int) -> set[int]:
    """Return the living processes below a process."""
    children: dict[int, list[Stat]] = {}
    for stat in everybody():
        children.setdefault(stat.parent, []).append(stat)
    found: set[int] = set()
    ahead = [ancestor]
    while ahead:
        for stat in children.get(ahead.pop(), ()):
            ahead.append(stat.pid)
            if stat.alive:
                found.add(stat.pid)
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process, for messages."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"{pid}: {file.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return str(pid)


def descriptors_of(pid: int) -> dict[int, str]:
    """Return the open descriptors of a process, and what each of them is."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = file.read().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def ticks_of(pid: int) -> int:
    """Return how much time a process has used, in hundredths of a second."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def file_limits_of(pid: int) -> tuple[int, int]:
    """Return the soft and the hard limit of open files of a process."""
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        [line] = [line for line in file if line.startswith("Max open files")]
    _, soft, hard, _ = line.rsplit(maxsplit=3)
    return int(soft), int(hard)


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Fail at the end if a process that was begun within is still there; it is then ended.

    Whoever loses their parent meanwhile becomes our child, however far they went.
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    before = descendants_of(os.getpid())
    try:
        yield
    finally:
        left = _wait_for_the_last(before)
        told = [command_of(pid) for pid in sorted(left)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            wait_until_gone(*left)
        _reap()
        assert libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0
        assert not told, f"still there after the test: {told}"


def _wait_for_the_last(before: Collection[int]) -> set[int]:
    """Return who is still there after a moment: a process may be about to end."""
    deadline = time.monotonic() + 2
    while True:
        left = descendants_of(os.getpid()) - set(before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _reap() -> None:
    for stat in list(everybody()):
        if stat.parent == os.getpid() and not stat.alive:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(stat.pid, os.WNOHANG)
