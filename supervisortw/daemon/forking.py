"""A fork of the whole daemon, in whose child nothing of the daemon runs."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Callable
from typing import NoReturn


def fork(child: Callable[[], NoReturn]) -> int:
    """Fork, let the child call ``child``, and return its pid. Raises OSError.

    In the child all signals are blocked, so that none of the daemon's handlers runs there, and nothing
    is collected, so that no finalizer does.
    """
    collects = gc.isenabled()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        gc.disable()
        with warnings.catch_warnings():
            # Since Python 3.12, for every fork of a process with threads; the child takes no locks.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            try:
                child()
            finally:
                os._exit(127)
    finally:
        if collects:
            gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid
