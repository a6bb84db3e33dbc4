"""Writing to descriptors that others have, too, without ever waiting."""

from __future__ import annotations

import os
import select
import socket
import stat
from typing import Protocol


class Way(Protocol):
    """A descriptor to write to."""

    def write(self, data: memoryview) -> int:
        """Write what is taken at once; return how much that was. Raises OSError."""

    def fileno(self) -> int:
        """Return what becomes writable."""

    def close(self) -> None:
        """Close it."""


class OwnWay:
    """A descriptor that refuses instead of waiting."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: memoryview) -> int:
        """Write what is taken at once."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class SharedWay(OwnWay):
    """A copy of a descriptor that others do not expect to refuse, so it stays as it is.

    What others write between the two calls can make us wait for its reader.
    """

    def write(self, data: memoryview) -> int:
        """Write what is taken at once."""
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        return os.write(self._descriptor, data[: select.PIPE_BUF]) if ready.poll(0) else 0


class SocketWay:
    """A copy of the descriptor of a connection, such as journald gives it to services."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def write(self, data: memoryview) -> int:
        """Send what is taken at once."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def way_to(stream: int) -> Way:
    """Return a way to a stream of our own, which stays as it is. Raises OSError."""
    found = os.fstat(stream)
    if stat.S_ISSOCK(found.st_mode):
        return SocketWay(os.dup(stream))
    again = opened_again(stream)
    if again is not None:
        return OwnWay(again)
    if stat.S_ISREG(found.st_mode):  # which never refuses
        return OwnWay(os.dup(stream))
    return SharedWay(os.dup(stream))


def opened_again(stream: int) -> int | None:
    """Return a descriptor of the same terminal or pipe, which refuses instead of waiting.

    None if it is something else, belongs to another user, or is a pipe on a system without /proc.
    """
    try:
        if os.isatty(stream):
            path = os.ttyname(stream)
        elif stat.S_ISFIFO(os.fstat(stream).st_mode):
            path = f"/proc/self/fd/{stream}"
        else:
            return None
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
