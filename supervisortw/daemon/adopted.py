"""Processes that a former daemon has started: signals to them, and how they ended.

They are no children of ours. If the holder is their parent, it tells how they ended. The end of others is
seen by their pidfds, and how it was is known where the kernel tells it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessProtocol

from supervisortw.core.born import Born
from supervisortw.daemon import proc
from supervisortw.daemon.child import ProcessTransport, reason_of
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.exits import PidfdWatcher
from supervisortw.daemon.living import NO_PIDFD

# struct pidfd_info of Linux 6.13; the exit status came with 6.15, and is there once somebody has
# reaped the process.
_INFO = struct.Struct("=QQ11Ii")
_GET_INFO = 0xC0000000 | _INFO.size << 16 | 0xFF << 8 | 11
_EXIT = 1 << 3

REAPED_SECONDS = 0.2  # the parent has that long to reap, for the status to be known


class UnknownEnd(Exception):
    """The process has ended, and nobody knows how."""


class AdoptedTransport(ProcessTransport):
    """One process that is somebody else's child; ``pidfd`` may be NO_PIDFD."""

    def __init__(self, pid: int, pidfd: int, born: Born, protocol: IProcessProtocol) -> None:
        super().__init__(pid, protocol)
        self._pidfd = pidfd
        self._born = born

    def end(self, reason: Exception) -> None:
        """Tell the protocol that the process has ended, and how."""
        if self.has_pidfd:
            os.close(self._pidfd)
            self._pidfd = NO_PIDFD
        super().end(reason)

    def copy_of_pidfd(self) -> int:
        """Return another descriptor of the pidfd. Raises OSError."""
        return fcntl.fcntl(self._pidfd, fcntl.F_DUPFD_CLOEXEC, 3)

    @property
    def has_pidfd(self) -> bool:
        """True if there is a pidfd."""
        return self._pidfd != NO_PIDFD

    def known_status(self) -> int | None:
        """Return the wait status, if the process was reaped and the kernel tells it."""
        if not self.has_pidfd:
            return None
        info = bytearray(_INFO.pack(_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self._pidfd, _GET_INFO, info)
        except OSError:
            return None
        mask, *_, status = _INFO.unpack(info)
        return status if mask & _EXIT else None

    def is_there(self) -> bool:
        """True if the process has not ended."""
        pid = self.pid
        return pid is not None and self._born.agrees_with(proc.start(pid)) and proc.is_alive(pid)

    def _send(self, pid: int, number: int) -> None:
        try:
            if self.has_pidfd:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self.is_there():
                os.kill(pid, number)
            else:
                raise ProcessExitedAlready()
        except ProcessLookupError:
            raise ProcessExitedAlready() from None


class AdoptedProcesses:
    """All processes that were adopted and have not ended yet.

    ``watcher`` is None where there are no pidfds.
    """

    def __init__(self, clock: Any, departures: Departures, watcher: PidfdWatcher | None) -> None:
        self._clock = clock
        self._departures = departures
        self._watcher = watcher
        self._transports: dict[int, AdoptedTransport] = {}
        self._held: set[int] = set()

    def adopt(
        self, pid: int, pidfd: int, born: Born, protocol: IProcessProtocol, *, held: bool
    ) -> AdoptedTransport:
        """Be in charge of a process; ``pidfd`` is ours from now on.

        If it is ``held``, `ended` or `holder_is_gone` will tell more.
        """
        transport = AdoptedTransport(pid, pidfd, born, protocol)
        self._transports[pid] = transport
        protocol.makeConnection(transport)
        if held:
            self._held.add(pid)
        else:
            self._watch(transport)
        return transport

    def ended(self, pid: int, status: int) -> None:
        """Hear from the holder that a process has ended; others than ours mean nothing."""
        if pid in self._held:
            self._held.discard(pid)
            self._transports.pop(pid).end(reason_of(status))

    def holder_is_gone(self) -> None:
        """Watch ourselves from now on whom it has held."""
        held, self._held = self._held, set()
        for pid in held:
            self._watch(self._transports[pid])

    def _watch(self, transport: AdoptedTransport) -> None:
        def seen() -> None:
            self._seen(transport)

        def look() -> None:
            if transport.is_there():
                self._watch(transport)
            else:
                seen()

        if self._watcher is not None and transport.has_pidfd:
            try:
                self._watcher.watch_pidfd(transport.copy_of_pidfd(), seen)
            except OSError:  # no descriptors left
                self._departures.look_again(look)
        else:
            self._departures.look_again(look)

    def _seen(self, transport: AdoptedTransport) -> None:
        """It has ended; how, is known if it was reaped, or perhaps in a moment."""
        if transport.known_status() is None and transport.has_pidfd:
            self._clock.callLater(REAPED_SECONDS, self._settle, transport)
        else:
            self._settle(transport)

    def _settle(self, transport: AdoptedTransport) -> None:
        pid = transport.pid
        if pid is None:
            return
        status = transport.known_status()
        self._transports.pop(pid, None)
        transport.end(UnknownEnd() if status is None else reason_of(status))
