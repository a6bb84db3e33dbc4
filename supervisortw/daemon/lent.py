"""Listening sockets that programs still have, while nobody else has them any more.

Where daemon and holder have died together, the sockets that programs were given live on in the programs
alone. They are taken back from there, as a debugger could do it (pidfd_getfd(2)): so nobody who connects
is refused when such a program is started again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from supervisortw.core.memory import Memory
from supervisortw.core.model import ListeningSocket, Process, UnixAddress
from supervisortw.daemon.getfd import descriptor_of
from supervisortw.daemon.living import NO_PIDFD, LivingProcesses
from supervisortw.daemon.opensocket import FILE, SOCKET
from supervisortw.interfaces import DescriptorStore

STDIN = 0
FIRST_LISTENING = 3

# The programs that a former daemon has left, and what is remembered of each.
Lenders = Callable[[], Iterable[tuple[Process, Memory]]]


class LentSockets:
    """A store that also knows the sockets of programs which a former daemon has left.

    Whether what is taken is what it should be, is for the one who takes it to see: a program may have
    done anything to it.
    """

    def __init__(
        self,
        store: DescriptorStore,
        living: LivingProcesses,
        sockets: Mapping[str, ListeningSocket],
        lenders: Lenders,
    ) -> None:
        self._store = store
        self._living = living
        self._sockets = sockets
        self._lenders = lenders

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a copy of ``descriptor`` in the store."""
        self._store.keep(name, descriptor)

    def drop(self, name: str) -> None:
        """Let the store let go of what it keeps under ``name``."""
        self._store.drop(name)

    def take(self, name: str) -> int | None:
        """Return what the store has kept, or else what a program still has."""
        found = self._store.take(name)
        if found is not None or not name.startswith(SOCKET):
            return found
        if name.endswith(FILE):
            return self._file(name.removeprefix(SOCKET).removesuffix(FILE))
        return self._lent(name.removeprefix(SOCKET))

    def _file(self, socket: str) -> int | None:
        """Return a descriptor of the file of a UNIX socket that a program may have."""
        wanted = self._sockets.get(socket)
        if wanted is None or not isinstance(wanted.address, UnixAddress):
            return None
        if not any(True for _ in self._lenders_of(socket)):
            return None
        try:
            return os.open(wanted.address.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (AttributeError, OSError):
            return None

    def _lent(self, socket: str) -> int | None:
        for memory, number in self._lenders_of(socket):
            pidfd = self._living.find(memory.pid, memory.born)
            if pidfd is None or pidfd == NO_PIDFD:
                continue
            try:
                return descriptor_of(pidfd, number)
            except OSError:  # we may not, or it has closed it
                continue
            finally:
                os.close(pidfd)
        return None

    def _lenders_of(self, socket: str) -> Iterable[tuple[Memory, int]]:
        """Give what is remembered of programs with that socket, and the number that it has there."""
        for process, memory in self._lenders():
            if not memory.pid:
                continue
            if socket in process.sockets:
                yield memory, FIRST_LISTENING + process.sockets.index(socket)
            if process.stdin_socket == socket:
                yield memory, STDIN
