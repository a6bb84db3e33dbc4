"""Starting processes, and learning that they have ended.

`PosixSpawner` builds on `subprocess.Popen`, which can give a child its session, umask and identity in
the right order and tells the errno of an exec that failed; `reactor.spawnProcess` can do none of it.
The end of a child is learnt from its pidfd, or from SIGCHLD where there are no pidfds.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IProcessProtocol,
    IProcessTransport,
    IReactorFDSet,
    IReadDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.errors import SpawnError
from supervisortw.interfaces import Cancel, SpawnRequest

# Shortages that pass, and files that may be there again in a moment.
PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})


class ExitWatcher(Protocol):
    """Notices the end of children."""

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look``, later, whenever the child ``pid`` may have ended, until told to stop.

        Raises OSError if there are no descriptors left to watch it with.
        """


@implementer(IProcessTransport)
class ChildTransport:
    """One child: its pid until it is reaped, and signals to it.

    The transport owns no pipes: output goes where the request said. So `processEnded` follows
    `processExited` at once.
    """

    def __init__(self, popen: subprocess.Popen[bytes], protocol: IProcessProtocol) -> None:
        self.pid: int | None = popen.pid
        self._popen = popen
        self._protocol = protocol
        self._unwatch: Cancel = _nothing

    def watch(self, watcher: ExitWatcher) -> None:
        """Have ``watcher`` notice the end of the child."""
        self._unwatch = watcher.watch(self._popen.pid, self.reap)

    def reap(self) -> None:
        """If the child has ended, collect its exit status and tell the protocol."""
        pid, status, _usage = os.wait4(self._popen.pid, os.WNOHANG)
        if pid == 0:
            return
        self._unwatch()
        code = os.waitstatus_to_exitcode(status)
        self._popen.returncode = code  # else Popen would look for the child again
        self.pid = None
        reason: Exception
        if code == 0:
            reason = ProcessDone(status)
        elif code > 0:
            reason = ProcessTerminated(exitCode=code, status=status)
        else:
            reason = ProcessTerminated(signal=-code, status=status)
        self._protocol.processExited(Failure(reason))
        self._protocol.processEnded(Failure(reason))

    def signalProcess(self, signalID: str | int) -> None:
        """Send a signal by number, or by name without SIG; ProcessExitedAlready after the reap."""
        if self.pid is None:
            raise ProcessExitedAlready()
        number = signalID if isinstance(signalID, int) else signal.Signals[f"SIG{signalID}"]
        os.kill(self.pid, number)  # not reaped yet, so the number is still this child's

    def closeStdin(self) -> None:
        """Do nothing: the child's stdin is /dev/null."""

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
        """Raise KeyError: the child's stdin is /dev/null."""
        raise KeyError(0)

    def writeSequence(self, data: Any) -> None:
        """Raise KeyError: the child's stdin is /dev/null."""
        raise KeyError(0)

    def getPeer(self) -> Any:
        """Return a description of the other end."""
        return self

    def getHost(self) -> Any:
        """Return a description of this end."""
        return self


class PosixSpawner:
    """Starts processes with `subprocess.Popen`; see `Spawner` for the promise."""

    def __init__(self, watcher: ExitWatcher) -> None:
        self._watcher = watcher

    def spawn(self, protocol: IProcessProtocol, request: SpawnRequest) -> ChildTransport:
        """Start a process; raises SpawnError with the reason in words."""
        path = find_command(request)
        identity: dict[str, Any] = {}
        if request.identity is not None:
            identity["user"] = request.identity.uid
            identity["group"] = request.identity.gid
            identity["extra_groups"] = request.identity.groups
        try:
            popen = subprocess.Popen(
                request.command,
                executable=path,
                stdin=subprocess.DEVNULL,
                stdout=request.output,
                stderr=request.output,
                env=request.environment,
                cwd=request.directory,
                umask=request.umask,
                start_new_session=True,
                **identity,
            )
        except OSError as error:
            raise _spawn_error(error, path, request) from None
        except (ValueError, subprocess.SubprocessError) as error:
            raise SpawnError(f"cannot start {path}: {error}", permanent=True) from None
        transport = ChildTransport(popen, protocol)
        try:
            transport.watch(self._watcher)
        except OSError as error:  # a child that nobody watches must not live
            popen.kill()
            popen.wait()
            raise _spawn_error(error, path, request) from None
        protocol.makeConnection(transport)
        return transport


def _nothing() -> None:
    pass


def find_command(request: SpawnRequest) -> str:
    """Return the path of the command of ``request``.

    Raises SpawnError if there is no such file, or if it is not executable.
    """
    first = request.command[0]
    if "/" in first:
        return first
    search = request.environment.get("PATH", os.defpath)
    found = shutil.which(first, path=search)
    if found is None:
        raise SpawnError(f"command not found: {first} (looked in {search})", permanent=True)
    return found


def _spawn_error(error: OSError, path: str, request: SpawnRequest) -> SpawnError:
    permanent = error.errno not in PASSING
    if error.errno == errno.ENOENT and not os.path.exists(path):
        return SpawnError(f"command not found: {path}", permanent=permanent)
    if error.errno == errno.ENOENT and os.path.isdir(request.directory):
        return SpawnError(
            f"cannot start {path}: the interpreter in its first line is missing",
            permanent=permanent,
        )
    if error.errno == errno.EACCES:
        who = "" if request.identity is None else f" by {request.identity.login.name}"
        what = "a directory" if os.path.isdir(path) else f"not executable{who}"
        return SpawnError(f"cannot start {path}: {what}", permanent=permanent)
    if error.errno == errno.ENOEXEC:
        return SpawnError(
            f"cannot start {path}: not a program (a script needs a first line like #!/bin/sh)",
            permanent=permanent,
        )
    return SpawnError(f"cannot start {path}: {error.strerror}", permanent=permanent)


@implementer(IReadDescriptor)
class _Pidfd:
    """A pidfd in the reactor: readable once the process has ended."""

    def __init__(self, descriptor: int, ended: Callable[[], None], reactor: Any) -> None:
        self._descriptor = descriptor
        self._ended = ended
        self._reactor = reactor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pidfd"

    def doRead(self) -> None:
        self.close()
        self._ended()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1


class PidfdWatcher:
    """Notices the end of a process, child or not, by a pidfd in the reactor."""

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor

    @staticmethod
    def works() -> bool:
        """True if this kernel and Python have pidfds."""
        try:
            os.close(os.pidfd_open(os.getpid()))
        except (AttributeError, OSError):
            return False
        return True

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look`` once when the process ends; raises OSError if it cannot be watched."""
        pidfd = _Pidfd(os.pidfd_open(pid), look, self._reactor)
        self._reactor.addReader(pidfd)
        return pidfd.close


class SigchldWatcher:
    """Notices the end of children by SIGCHLD, where there are no pidfds.

    Signals are merged, so each one looks at every watched child. The handler that was there before
    is called as well: Twisted's own processes stay Twisted's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._looks: dict[int, Callable[[], None]] = {}
        reactor.callWhenRunning(self._install)

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        """Call ``look`` after each SIGCHLD, and once soon."""
        self._looks[pid] = look
        self._reactor.callLater(0, self._look_at, pid)  # it may have ended before it was watched
        return lambda: self._forget(pid)

    def _forget(self, pid: int) -> None:
        self._looks.pop(pid, None)

    def _install(self) -> None:
        before = signal.getsignal(signal.SIGCHLD)

        def on_signal(number: int, frame: Any) -> None:
            if callable(before):
                before(number, frame)
            self._reactor.callFromThread(self._look_at_all)

        signal.signal(signal.SIGCHLD, on_signal)

    def _look_at_all(self) -> None:
        for pid in list(self._looks):
            self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        self._looks.get(pid, _nothing)()


def exit_watcher(reactor: Any) -> PidfdWatcher | SigchldWatcher:
    """Return the best way that this machine has to notice the end of children."""
    return PidfdWatcher(reactor) if PidfdWatcher.works() else SigchldWatcher(reactor)
