"""The states that a program can be in, in the words that everybody in this field uses."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a program is."""

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
