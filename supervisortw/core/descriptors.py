"""How many open files a daemon needs for its processes."""

from __future__ import annotations

from collections.abc import Iterable

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Process, Stdin

OWN = 64  # for the daemon's own log, lock, libraries and listeners
FOR_START = 4  # while a process is made: its streams, and who tells of it; its sockets come on top


def needed(processes: Iterable[Process], sockets: int) -> int:
    """Return how many descriptors are needed for ``processes`` and so many listening sockets."""
    processes = list(processes)
    for_start = FOR_START + max([len(each.sockets) for each in processes], default=0)
    at_once = min(len(processes), LIMITS.spawns_under_way)
    own = OWN + LIMITS.sessions + sockets
    return own + at_once * for_start + sum(map(_needed_for, processes))


def _needed_for(process: Process) -> int:
    log_and_pipe = 2
    logs = log_and_pipe * (1 if process.stderr_logfile is None else 2)
    return logs + (process.stdin is Stdin.PIPE) + process.notify
