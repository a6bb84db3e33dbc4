"""Doing the same for many processes before the next thing is done for any of them.

Where hundreds of programs have died together, that is faster than to do all for one after the other:
what is done for one leaves nothing of the next thing in the processor's caches. Each phase is over within
a turn of the reactor; the order of what has to be on the disk before something else is done stays the
same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from supervisortw.daemon.admission import Admission
from supervisortw.daemon.journal import Journal
from supervisortw.interfaces import Spawner


@contextmanager
def ending(journal: Journal, admission: Admission) -> Iterator[None]:
    """Take note of ends, or of new processes, within the context.

    At its end what follows is started, and all of it is written down.
    """
    with journal.together, admission.held:
        yield


@contextmanager
def starting(journal: Journal, spawner: Spawner) -> Iterator[None]:
    """Ask for processes within the context; at its end, write that down, and then start them."""
    with journal.together, spawner.together():
        try:
            yield
        finally:
            journal.flush()  # a later daemon knows by its mark whose a process is
