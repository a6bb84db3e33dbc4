"""The event bus: what happens in the daemon is told to whoever listens, in order, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.logger import Logger

from supervisortw.core import happening
from supervisortw.core.states import State
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")


class StateChanged(NamedTuple):
    """A program went from one state to another; ``pid`` is 0 if no process is left of it.

    ``time`` is the time of day, in seconds since 1970.
    """

    time: float
    name: str
    before: State
    after: State
    pid: int
    detail: str

    def __str__(self) -> str:
        return happening.change(self.name, self.before, self.after, self.pid, self.detail)


Listener = Callable[[StateChanged], None]


class EventBus:
    """Hands each event to every listener, in the order in which they came.

    A listener that fails is logged and harms neither the others nor the publisher.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Cancel:
        """Call ``listener`` with each event from now on, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, event: StateChanged) -> None:
        """Tell every listener."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                log.failure("a listener failed at {event}", event=event)
