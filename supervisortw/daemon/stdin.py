"""What operators write to programs that read their standard input from a pipe (``stdin pipe``)."""

from __future__ import annotations

import os

from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.errors import Refused, SpawnError
from supervisortw.interfaces import DescriptorStore


class StdinPipes:
    """The writing ends, by the name of the process that reads; each process gets a pipe of its own.

    They are kept beyond the end of the daemon: a process reads on, and not the end of its input. What was
    written and the pipe had no room for is in the daemon's memory only, and is lost with it.
    """

    def __init__(self, reactor: IReactorFDSet, store: DescriptorStore) -> None:
        self._reactor = reactor
        self._store = store
        self._pipes: dict[str, _Writer] = {}

    def reader(self, name: str) -> int:
        """Make a new pipe and return its reading end, which the caller closes.

        The pipe before is closed. Raises SpawnError.
        """
        self.close(name)
        try:
            read_end, write_end = os.pipe()
        except OSError as error:
            raise SpawnError(f"no pipe for stdin: {error.strerror}", permanent=False) from None
        os.set_blocking(write_end, False)
        self._store.keep(_kept(name), write_end)
        self._pipes[name] = _Writer(write_end, self._reactor)
        return read_end

    def adopt(self, name: str) -> bool:
        """Go on writing to the process of the daemon before this one; False if it left no pipe behind."""
        end = self._store.take(_kept(name))
        if end is None:
            return False
        self._pipes[name] = _Writer(end, self._reactor)
        return True

    def write(self, name: str, data: bytes) -> None:
        """Have ``data`` read by the process. Raises Refused if it does not read, or too slowly."""
        pipe = self._pipes.get(name)
        if pipe is None:
            raise Refused("does not read what operators write; it has no 'stdin pipe'")
        pipe.write(data)

    def close(self, name: str) -> None:
        """Let the process read the end of its input."""
        pipe = self._pipes.pop(name, None)
        if pipe is not None:
            self._store.drop(_kept(name))
            pipe.close()


def _kept(name: str) -> str:
    return f"stdin/{name}"


@implementer(IWriteDescriptor)
class _Writer:
    """One writing end, with what the pipe has no room for yet."""

    def __init__(self, descriptor: int, reactor: IReactorFDSet) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self._rest = b""

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "stdin"

    def write(self, data: bytes) -> None:
        if self._descriptor < 0:
            raise Refused("it does not read its standard input any more")
        if len(self._rest) + len(data) > LIMITS.stdin_bytes:
            waiting = f"{len(self._rest)} bytes wait already"
            raise Refused(f"it does not read its standard input fast enough; {waiting}")
        if self._rest:
            self._rest += data
            return
        self._rest = data
        self.doWrite()
        if self._descriptor < 0:
            raise Refused("it does not read its standard input any more")
        if self._rest:
            self._reactor.addWriter(self)

    def doWrite(self) -> None:
        try:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]
        except BlockingIOError:
            return
        except OSError:  # nobody has the other end
            self.close()
            return
        if not self._rest:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor, self._rest = -1, b""
