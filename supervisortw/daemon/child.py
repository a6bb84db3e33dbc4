"""One child of the daemon: signals to it, and its end."""

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
class ChildTransport:
    """One child: its pid until it is reaped, and signals to it.

    The transport owns no pipes: output goes where the request said. So `processEnded` follows
    `processExited` at once.
    """

    def __init__(self, pid: int, protocol: IProcessProtocol) -> None:
        self.pid: int | None = pid
        self._pid = pid
        self._protocol = protocol
        self._unwatch: Cancel = _nothing

    def watch(self, watcher: ExitWatcher) -> None:
        """Have ``watcher`` notice the end of the child."""
        self._unwatch = watcher.watch(self._pid, self.reap)

    def reap(self) -> None:
        """If the child has ended, collect its exit status and tell the protocol."""
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError as error:  # somebody else has collected it
            self._end(error)
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            self._end(ProcessDone(status))
        elif code > 0:
            self._end(ProcessTerminated(exitCode=code, status=status))
        else:
            self._end(ProcessTerminated(signal=-code, status=status))

    def _end(self, reason: Exception) -> None:
        self._unwatch()
        self.pid = None
        failure = Failure(reason)
        self._protocol.processExited(failure)
        self._protocol.processEnded(failure)

    def signalProcess(self, signalID: str | int) -> None:
        """Send a signal by number, or by name without SIG; ProcessExitedAlready after the reap."""
        if self.pid is None:
            raise ProcessExitedAlready()
        number = signalID if isinstance(signalID, int) else signal.Signals[f"SIG{signalID}"]
        os.kill(self.pid, number)  # not reaped yet, so the number is still this child's

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


def _nothing() -> None:
    pass
