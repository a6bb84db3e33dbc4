"""Starting processes: in the fastest way that gives each what it needs.

A process that needs nothing of its own but streams, a directory and a umask is started by the daemon
with posix_spawn. All others have a `Birth`: a small process forks for them, the forker. `reactor
.spawnProcess` can do none of it: no session, no limits, no groups, and it hides why an exec failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import posixspawn
from supervisortw.daemon.birth import Birth, StepFailed
from supervisortw.daemon.child import ChildTransport
from supervisortw.daemon.exits import ExitWatcher, bury
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.forkerlink import ForkerLink, launch
from supervisortw.daemon.spawnorder import encode, refusal, search
from supervisortw.errors import SpawnError
from supervisortw.interfaces import SpawnRequest


class PosixSpawner:
    """Starts processes; see `Spawner` for the promise."""

    def __init__(
        self,
        reactor: Any,
        watcher: ExitWatcher,
        file_limit: FileLimit,
        forker: ForkerLink | None = None,
    ) -> None:
        posixspawn.close_on_exec()
        self._reactor = reactor
        self._watcher = watcher
        self._file_limit = file_limit
        self._forker = forker or ForkerLink(reactor, watcher, launch)
        self._nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._can_spawn = True

    def close(self) -> None:
        """Let go what is needed for starting processes; nothing can be started any more."""
        self._forker.close()
        self._file_limit.close()
        os.close(self._nowhere)

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        """Start a process; fails with SpawnError, which has the reason in words."""
        paths = search(request)
        stdin = self._nowhere if request.stdin is None else request.stdin
        streams = (stdin, request.stdout, request.stderr)
        try:
            if self._can_spawn and is_plain(request) and self._file_limit.can_be_lowered():
                try:
                    pid = self._spawn_plainly(paths, streams, request)
                except NotImplementedError:
                    self._can_spawn = False
                else:
                    return succeed(self._connect(pid, protocol, paths, request))
            birth = self._birth(paths, streams, request)
        except StepFailed as failure:
            return fail(refusal(failure, paths, request))
        except OSError as error:
            return fail(refusal(StepFailed(error.errno or errno.EIO, "clone"), paths, request))
        except ValueError as error:
            reason = f"cannot start {request.command[0]}: {error}"
            return fail(SpawnError(reason, permanent=True))
        except SpawnError as error:
            return fail(error)
        started = birth.born.addCallbacks(
            lambda pid: self._connect(pid, protocol, paths, request),
            lambda failure: _translate(failure, paths, request),
        )
        birth.start()
        return started

    def _spawn_plainly(
        self, paths: Sequence[str], streams: Sequence[int], request: SpawnRequest
    ) -> int:
        """Start a program from here. Raises StepFailed."""
        with _in_directory(request.directory), _with_umask(request.umask):
            path = _first_executable(paths)
            try:
                with self._file_limit.for_streams(streams) as low, self._file_limit.for_children():
                    return posixspawn.spawn(path, request.command, request.environment, low)
            except OSError as error:
                raise StepFailed(error.errno or errno.EIO, "exec") from None

    def _birth(self, paths: Sequence[str], streams: Sequence[int], request: SpawnRequest) -> Birth:
        if len(request.listening) > LIMITS.spawn_sockets:
            raise SpawnError(
                f"cannot start {request.command[0]}: it has {len(request.listening)} sockets, "
                f"and {LIMITS.spawn_sockets} are allowed",
                permanent=True,
            )
        message = encode(request, paths, self._file_limit.for_message())
        descriptors = (*streams, *(descriptor for _, descriptor in request.listening))
        return Birth(message, descriptors, self._reactor, self._watcher, self._forker)

    def _connect(
        self,
        pid: int,
        protocol: IProcessProtocol,
        paths: Sequence[str],
        request: SpawnRequest,
    ) -> IProcessTransport:
        """Watch a program that runs, and tell its protocol of it."""
        transport = ChildTransport(pid, protocol)
        try:
            transport.watch(self._watcher)
        except OSError as error:  # a child that nobody watches must not live
            os.kill(pid, signal.SIGKILL)
            bury(pid, self._watcher)
            raise refusal(StepFailed(error.errno or errno.EIO, "clone"), paths, request) from None
        protocol.makeConnection(transport)
        return transport


def is_plain(request: SpawnRequest) -> bool:
    """True if a process needs nothing that posix_spawn does not give."""
    return not (
        request.identity is not None
        or request.limits
        or request.nice is not None
        or request.no_new_privileges
        or request.cgroup is not None
        or request.death_signal is not None
        or request.listening
    )


def _translate(failure: Failure, paths: Sequence[str], request: SpawnRequest) -> Failure:
    if isinstance(failure.value, StepFailed):
        return Failure(refusal(failure.value, paths, request))
    return failure


def _first_executable(paths: Sequence[str]) -> str:
    """Return the path that can be run, of several; raises StepFailed if there is none."""
    if len(paths) == 1:
        return paths[0]  # the exec will tell
    for path in paths:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    found = any(map(os.path.exists, paths))
    raise StepFailed(errno.EACCES if found else errno.ENOENT, "exec")


# The two below change what belongs to the whole process, for the moment of one posix_spawn. The
# thread of the reactor is in here meanwhile; the daemon's other threads read the configuration, /proc
# and the databases of users and hosts, by absolute paths, and make no files.


@contextlib.contextmanager
def _in_directory(directory: str) -> Iterator[None]:
    """Be in ``directory`` for a moment, if we are not there already. Raises StepFailed."""
    if _current_directory() == directory:
        yield
        return
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    try:
        try:
            os.chdir(directory)
        except OSError as error:
            raise StepFailed(error.errno or errno.EIO, "directory") from None
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed; we can still come back to it
        return None


@contextlib.contextmanager
def _with_umask(umask: int | None) -> Iterator[None]:
    """Have ``umask`` for a moment."""
    if umask is None:
        yield
        return
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)
