"""Signals that do no harm to the tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def handled_signals() -> Iterator[None]:
    """Have signals handled by functions that do nothing, as Twisted has SIGCHLD."""
    numbers = (signal.SIGCHLD, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)
