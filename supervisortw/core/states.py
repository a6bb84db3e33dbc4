"""The states that a program can be in, in the words that everybody in this field uses."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a program is."""

    # There is one of each, so this is as good as the hash of its name, and many times as fast.
    __hash__ = object.__hash__

    STOPPED = "STOPPED"
    WAITING = "WAITING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
UNSETTLED = frozenset({State.WAITING, State.STARTING, State.STOPPING})
