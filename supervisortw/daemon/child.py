"""Processes of the daemon: signals to them, and their end."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.daemon.exits import ExitWatcher
from supervisortw.interfaces import Cancel


@implementer(IProcessTransport)
class ProcessTransport:
    """One process: its pid until it has ended.

    The transport owns no pipes: output goes where the request said. So `processEnded` follows
    `processExited` at once.
    """

    def __init__(self, pid: int, protocol: IProcessProtocol) -> None:
        self.pid: int | None = pid
        self._protocol = protocol

    def end(self, reason: Exception) -> None:
        """Tell the protocol that the process has ended, and how."""
        self.pid = None
        failure = Failure(reason)
        self._protocol.processExited(failure)
        self._protocol.processEnded(failure)

    def signalProcess(self, signalID: str | int) -> None:
        """Send a signal by number, or by name without SIG; ProcessExitedAlready after the end."""
        if self.pid is None:
            raise ProcessExitedAlready()
        number = signalID if isinstance(signalID, int) else signal.Signals[f"SIG{signalID}"]
        self._send(self.pid, number)

    def _send(self, pid: int, number: int) -> None:
        raise NotImplementedError

    def closeStdin(self) -> None:
        """Do nothing: the child's stdin is not the transport's."""

    def closeStdout(self) -> None:
        """Do nothing: the output is not the transport's."""

    def closeStderr(self) -> None:
        """Do nothing: the output is not the transport's."""

    def closeChildFD(self, descriptor: int) -> None:
        """Do nothing: the transport has no descriptors of the child."""

    def writeToChild(self, childFD: int, data: bytes) -> None:
        """Raise KeyError: the transport has no descriptors of the child."""
        raise KeyError(childFD)

    def loseConnection(self) -> None:
        """Do nothing: there is nothing to close."""

    def write(self, data: bytes) -> None:
        """Raise KeyError: the child's stdin is not the transport's."""
        raise KeyError(0)

    def writeSequence(self, data: Any) -> None:
        """Raise KeyError: the child's stdin is not the transport's."""
        raise KeyError(0)

    def getPeer(self) -> Any:
        """Return a description of the other end."""
        return self

    def getHost(self) -> Any:
        """Return a description of this end."""
        return self


class ChildTransport(ProcessTransport):
    """A child, which is reaped here."""

    def __init__(self, pid: int, protocol: IProcessProtocol) -> None:
        super().__init__(pid, protocol)
        self._pid = pid
        self._unwatch: Cancel = _nothing

    def watch(self, watcher: ExitWatcher) -> None:
        """Have ``watcher`` notice the end of the child."""
        self._unwatch = watcher.watch(self._pid, self.reap)

    def reap(self) -> None:
        """If the child has ended, collect its exit status and tell the protocol."""
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError as error:  # somebody else has collected it
            self.end(error)
            return
        if pid != 0:
            self.end(reason_of(status))

    def end(self, reason: Exception) -> None:
        """Tell the protocol that the process has ended, and how."""
        self._unwatch()
        super().end(reason)

    def _send(self, pid: int, number: int) -> None:
        os.kill(pid, number)  # not reaped yet, so the number is still this child's


def reason_of(status: int) -> Exception:
    """Return what Twisted tells a protocol of a process that ended with this wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ProcessDone(status)
    if code > 0:
        return ProcessTerminated(exitCode=code, status=status)
    return ProcessTerminated(signal=-code, status=status)


def _nothing() -> None:
    pass
