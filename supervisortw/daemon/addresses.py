"""Where a host is, by its name: looked up without the reactor waiting for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

Address = tuple[int, Any]  # the family, and what connect(2) is given
InThread = Callable[..., Deferred[Any]]


class Addresses:
    """Finds addresses; ``in_thread`` calls a function beside the reactor."""

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    def find(self, host: str, port: int, kind: int) -> Deferred[Sequence[Address]]:
        """Fire with the addresses of a host, at least one, or fail with OSError."""
        try:
            return succeed(_look_up(host, port, kind, socket.AI_NUMERICHOST))
        except socket.gaierror:  # it is a name
            return self._in_thread(_look_up, host, port, kind, 0)
        except OSError:
            return fail(Failure())


def why_not_found(failure: Failure) -> str:
    """Return why there is no address, for people."""
    error = failure.value
    return str(error.strerror if isinstance(error, OSError) else error)


def _look_up(host: str, port: int, kind: int, flags: int) -> Sequence[Address]:
    found = socket.getaddrinfo(host, port, type=kind, flags=flags)
    return [(int(family), address) for family, _, _, _, address in found]
