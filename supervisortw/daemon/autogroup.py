"""The daemon's share of the processors, beside programs that take all they can get.

Linux can give each session the same share (sched_autogroup_enabled, as most desktops and many servers
have it): then a daemon with a hundred busy programs has a hundredth, and takes their output and answers
clients at that pace. So the daemon's session weighs more than one of a program does. Programs are not
concerned: each has a session of its own.
"""

from __future__ import annotations

import contextlib
import os

PATH = "/proc/self/autogroup"
NICE = -10  # of a session, as nice(1) has it; some nine times the weight of others


def weigh_more(path: str = PATH) -> None:
    """Let our session weigh more, if it is the daemon's own, and the system lets us (root, Linux)."""
    leader = os.getsid(0)
    if leader not in {os.getpid(), os.getppid()}:
        return  # a terminal's: others are in it as well
    with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as autogroup:
        autogroup.write(str(NICE))
