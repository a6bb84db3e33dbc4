"""posix_spawn: the fastest way to start a program, for those that need nothing but streams."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache

UNCHANGEABLE = {signal.SIGKILL, signal.SIGSTOP}
ALL_SIGNALS = frozenset(signal.valid_signals() - UNCHANGEABLE)
STREAMS = 3


def spawn(
    path: str, command: tuple[str, ...], environment: Mapping[str, str], streams: Sequence[int]
) -> int:
    """Run a program as a child that leads a session of its own; return its pid.

    ``streams`` are the descriptors that it gets as 0, 1 and 2; all of ours that are not inheritable
    are closed in it. No signal is blocked or ignored in it. Raises OSError if it cannot be run,
    ValueError if a text cannot be passed, NotImplementedError where there is no posix_spawn that makes
    sessions.
    """
    if min(streams) >= STREAMS:
        return _spawn(path, command, environment, tuple(streams))
    # A source that is itself a target might be overwritten before its turn, or stay close-on-exec.
    low = {each for each in streams if each < STREAMS}
    moved = {each: fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, STREAMS) for each in low}
    try:
        return _spawn(
            path, command, environment, tuple([moved.get(each, each) for each in streams])
        )
    finally:
        for descriptor in moved.values():
            os.close(descriptor)


def _spawn(
    path: str, command: tuple[str, ...], environment: Mapping[str, str], streams: tuple[int, ...]
) -> int:
    return os.posix_spawn(
        path,
        command,
        environment,
        file_actions=_becoming(streams),
        setsid=True,
        setsigmask=(),
        setsigdef=ALL_SIGNALS,
    )


@lru_cache(maxsize=64)  # nearly always the same
def _becoming(streams: tuple[int, ...]) -> list[tuple[int, int, int]]:
    return [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(streams)]


def close_on_exec() -> None:
    """Keep from all children what we have inherited ourselves, besides the standard streams."""
    listing = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(listing):
        if int(name) >= STREAMS:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # that of the listing itself
                continue
