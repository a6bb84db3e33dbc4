"""What /proc tells of the processes of the machine, and elsewhere macOS itself.

To go through all of them takes a while, and is for a thread; to ask for one takes microseconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator

from supervisortw.core.limits import LIMITS
from supervisortw.core.text import one_line
from supervisortw.daemon import darwin

DIRECTORY = "/proc"
IS_DARWIN = sys.platform == "darwin"

# A thread that only makes short system calls gets the interpreter's lock back before anybody else has
# woken up, and the reactor waits for 5 ms. So a walk sleeps for a moment after each bit of work.
WORK_SECONDS = 0.001
PAUSE_SECONDS = 0.0001

CAP_SYS_PTRACE = 19

COMM_BYTES = 64  # the kernel's TASK_COMM_LEN is 16


def sessions() -> Iterator[tuple[int, int]]:
    """Give every process of the machine with its session; zombies are there, too.

    One getsid(2) for each takes a thirtieth of the time of reading /proc/PID/stat. Those that come
    while we look are looked at afterwards: whoever made them may be gone before they were seen. Raises
    FileNotFoundError where there is no /proc.
    """
    seen: set[str] = set()
    began = time.monotonic()
    for _ in range(2):
        with os.scandir(DIRECTORY) as entries:
            for entry in entries:
                if time.monotonic() - began > WORK_SECONDS:
                    time.sleep(PAUSE_SECONDS)
                    began = time.monotonic()
                name = entry.name
                if name in seen or not name.isdigit():
                    continue
                seen.add(name)
                pid = int(name)
                try:
                    sid = os.getsid(pid)
                except OSError:
                    continue
                yield pid, sid


def is_alive(pid: int) -> bool:
    """True if the process is there and has not ended; one that nobody has reaped yet has ended."""
    if IS_DARWIN:
        found = darwin.info(pid)
        return found is not None and not found.is_zombie
    try:
        return is_alive_by(_read(pid, "stat", 512))
    except (OSError, ValueError, IndexError):
        return False


def is_alive_by(stat: bytes) -> bool:
    """True if /proc/PID/stat tells that a process has not ended.

    Where the main thread has ended before the others, it looks like a zombie and has more threads.
    """
    # The second field is the command in parentheses, and may hold anything.
    fields = stat[stat.rindex(b")") + 2 :].split(None, 18)
    return fields[0] not in (b"Z", b"X") or int(fields[17]) > 1


def clock() -> float:
    """Return the time, in seconds of the clock by which `start` tells."""
    return time.time() if IS_DARWIN else time.clock_gettime(time.CLOCK_BOOTTIME)


def start(pid: int) -> float | None:
    """Return when a process was started, in seconds; None if it is not there.

    On Linux it takes a tenth of a millisecond, which is much for each start of a program.
    """
    if IS_DARWIN:
        found = darwin.info(pid)
        return None if found is None else found.start
    try:
        stat = _read(pid, "stat", 512)
        ticks = int(stat[stat.rindex(b")") + 2 :].split(None, 20)[19])
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def parent(pid: int) -> int:
    """Return the pid of the parent of a process, 0 if it is not there."""
    if IS_DARWIN:
        found = darwin.info(pid)
        return 0 if found is None else found.parent
    try:
        stat = _read(pid, "stat", 512)
        return int(stat[stat.rindex(b")") + 2 :].split(None, 2)[1])
    except (OSError, ValueError, IndexError):
        return 0


def children(pid: int, thread: int | None = None) -> list[int]:
    """Return the children that a thread of a process has, by default the main thread."""
    try:
        with open(f"{DIRECTORY}/{pid}/task/{thread or pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without this list
        with contextlib.suppress(FileNotFoundError):
            return [each for each, _ in sessions() if parent(each) == pid]
        return []


def threads() -> list[int]:
    """Return the threads of this process."""
    try:
        return [int(name) for name in os.listdir(f"{DIRECTORY}/self/task")]
    except FileNotFoundError:
        return []


def arguments(pid: int) -> list[str]:
    """Return the command line of a process as it shows it, at most of LIMITS.environ_bytes."""
    try:
        data = _read(pid, "cmdline", LIMITS.environ_bytes)
    except OSError:
        return []
    return [os.fsdecode(word) for word in data.split(b"\0")]


def world() -> str:
    """Return what pids and times belong to: this boot, and this namespace; empty if it has no name."""
    if IS_DARWIN:
        return darwin.boot()
    try:
        with open(f"{DIRECTORY}/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # The numbers of namespaces come again at once; process 1 of a container does not.
        return f"{boot} {os.readlink(f'{DIRECTORY}/self/ns/pid')} {start(1)}"
    except OSError:
        return ""


def command(pid: int) -> str:
    """Return the name of a process for people; it is the process's own choice."""
    try:
        comm = _read(pid, "comm", COMM_BYTES)
    except OSError:
        return "?"
    return one_line(comm.removesuffix(b"\n"))[: LIMITS.command_characters] or "?"


def is_root_without_ptrace() -> bool:
    """True if we are root and may still not look into processes of others, as in many containers."""
    if os.geteuid() != 0:
        return False
    try:
        with open(f"{DIRECTORY}/self/status", "rb") as file:
            found = re.search(rb"^CapEff:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    except OSError:
        return False
    return found is not None and not int(found[1], 16) >> CAP_SYS_PTRACE & 1


class Environments:
    """Looks into the environments of other processes, as they were when the program was started.

    A program can overwrite what is seen there; some do that to show a title in lists of processes.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(LIMITS.environ_bytes)  # a fresh one for each process takes longer

    def value(self, pid: int, name: str) -> str | None:
        """Return the value of the variable ``name``, None if it is not set or the process is gone.

        Raises PermissionError if we may not look.
        """
        try:
            descriptor = os.open(f"{DIRECTORY}/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None
        try:
            length = os.readv(descriptor, [self._buffer])
        except ProcessLookupError:
            return None
        finally:
            os.close(descriptor)
        return self._find(length, f"{name}=".encode())

    def _find(self, length: int, key: bytes) -> str | None:
        if self._buffer.startswith(key, 0, length):
            begin = len(key)
        else:
            at = self._buffer.find(b"\0" + key, 0, length)
            if at < 0:
                return None
            begin = at + 1 + len(key)
        end = self._buffer.find(b"\0", begin, length)
        value = self._buffer[begin : length if end < 0 else end]
        return value.decode("utf-8", "backslashreplace")


def _read(pid: int, name: str, length: int) -> bytes:
    descriptor = os.open(f"{DIRECTORY}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, length)
    finally:
        os.close(descriptor)
