"""posix_spawn: the fastest way to start a program, for those that need nothing but streams."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence

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
    # A source that is itself a target might be overwritten before its turn, or stay close-on-exec.
    moved: dict[int, int] = {}
    if min(streams) < STREAMS:
        low = {each for each in streams if each < STREAMS}
        moved = {each: fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, STREAMS) for each in low}
    try:
        return os.posix_spawn(
            path,
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, moved.get(source, source), target)
                for target, source in enumerate(streams)
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=ALL_SIGNALS,
        )
    finally:
        for descriptor in moved.values():
            os.close(descriptor)


def close_on_exec() -> None:
    """Keep from all children what we have inherited ourselves, besides the standard streams."""
    listing = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(listing):
        if int(name) >= STREAMS:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # that of the listing itself
                continue
