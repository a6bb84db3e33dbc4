"""Deputies for tests, which leave no process behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fakes.stranger import STRANGER
from fakes.watcher import FakeWatcher
from twisted.internet.task import Clock

from supervisortw.core.environment import Login
from supervisortw.daemon.deputies import Deputies
from supervisortw.interfaces import Identity


class Deputized:
    """Deputies, and what they are given."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watcher = FakeWatcher()
        self.deputies = Deputies(self.clock, self.watcher)

    def bury(self) -> None:
        """Wait for the end of those that were let go."""
        for pid in list(self.watcher.looks):
            self.watcher.wait(pid)


@contextmanager
def deputized() -> Iterator[Deputized]:
    """Give deputies, and end those that are left."""
    made = Deputized()
    try:
        yield made
    finally:
        made.deputies.close()
        made.bury()
        assert not made.clock.getDelayedCalls()


def identity(uid: int = STRANGER, gid: int | None = None, groups: Sequence[int] = ()) -> Identity:
    """Return who a user is, by numbers alone."""
    return Identity(
        uid=uid,
        gid=uid if gid is None else gid,
        groups=tuple(groups),
        login=Login(name="somebody", home="/", shell="/bin/sh"),  # noqa: S604  # a record
    )
