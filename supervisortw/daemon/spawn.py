"""Starting processes: in the fastest way that gives each what it needs.

A process that needs nothing of its own but streams, a directory and a umask is started by the daemon
with posix_spawn. All others have a `Birth`: a small process forks for them, the forker. `reactor
.spawnProcess` can do none of it: no session, no limits, no groups, and it hides why an exec failed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Iterator, Sequence
from itertools import groupby
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

REASONS = (StepFailed, SpawnError, OSError, ValueError)  # for which there is no process


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
        self._waiting: list[_Order] | None = None  # for the others that are started together

    def close(self) -> None:
        """Let go what is needed for starting processes; nothing can be started any more."""
        self._forker.close()
        self._file_limit.close()
        os.close(self._nowhere)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Start what is asked for within the context one after the other, at its end."""
        waiting: list[_Order] = []
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None
            for each, pid in zip(waiting, self._make_all(waiting), strict=True):
                self._tell(each, pid)

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        """Start a process; fails with SpawnError, which has the reason in words."""
        order = _Order(protocol, request, self._nowhere)
        try:
            if self._can_spawn and is_plain(request) and self._file_limit.can_be_lowered():
                if self._waiting is not None:
                    order.keep_streams()
                    self._waiting.append(order)
                    return order.started
                try:
                    pid = self._spawn_plainly(order)
                except NotImplementedError:
                    self._can_spawn = False
                else:
                    return succeed(self._connect(pid, order))
            birth = self._birth(order)
        except REASONS as error:
            return fail(order.refused(error))
        started = birth.born.addCallbacks(
            lambda pid: self._connect(pid, order), lambda failure: _translate(failure, order)
        )
        birth.start()
        return started

    def _make_all(self, waiting: Sequence[_Order]) -> list[int | Exception]:
        """Return the pids of processes that have waited for each other, or why there are none."""
        made: list[int | Exception] = []
        for surroundings, group in groupby(waiting, _surroundings):
            orders = list(group)
            try:
                with _as_asked(*surroundings):
                    made += map(self._make, orders)
            except StepFailed as error:
                made += [error] * len(orders)
        return made

    def _make(self, order: _Order) -> int | Exception:
        try:
            return self._run(order)
        except (*REASONS, NotImplementedError) as error:
            return error

    def _tell(self, order: _Order, made: int | Exception) -> None:
        """Let who has asked for a process have it, or know why there is none."""
        if isinstance(made, NotImplementedError):
            self._can_spawn = False
            stdin, stdout, stderr = order.streams
            request = order.request._replace(stdin=stdin, stdout=stdout, stderr=stderr)
            self.spawn(order.protocol, request).chainDeferred(order.started)
        elif isinstance(made, Exception):
            order.started.errback(order.refused(made))
        else:
            try:
                transport = self._connect(made, order)
            except SpawnError as error:
                order.started.errback(error)
            else:
                order.started.callback(transport)
        order.close_streams()

    def _spawn_plainly(self, order: _Order) -> int:
        """Start a program from here. Raises StepFailed."""
        with _as_asked(*_surroundings(order)):
            return self._run(order)

    def _run(self, order: _Order) -> int:
        path = _first_executable(order.paths)
        command, environment = order.request.command, order.request.environment
        try:
            with self._file_limit.for_child(order.streams) as low:
                return posixspawn.spawn(path, command, environment, low)
        except OSError as error:
            raise StepFailed(error.errno or errno.EIO, "exec") from None

    def _birth(self, order: _Order) -> Birth:
        request = order.request
        if len(request.listening) > LIMITS.spawn_sockets:
            raise SpawnError(
                f"cannot start {request.command[0]}: it has {len(request.listening)} sockets, "
                f"and {LIMITS.spawn_sockets} are allowed",
                permanent=True,
            )
        message = encode(request, order.paths, self._file_limit.for_message())
        descriptors = (*order.streams, *(descriptor for _, descriptor in request.listening))
        return Birth(message, descriptors, self._reactor, self._watcher, self._forker)

    def _connect(self, pid: int, order: _Order) -> IProcessTransport:
        """Watch a program that runs, and tell its protocol of it. Raises SpawnError."""
        transport = ChildTransport(pid, order.protocol)
        try:
            transport.watch(self._watcher)
        except OSError as error:  # a child that nobody watches must not live
            os.kill(pid, signal.SIGKILL)
            bury(pid, self._watcher)
            raise order.refused(error) from None
        order.protocol.makeConnection(transport)
        return transport


class _Order:
    """One process that somebody has asked for: where its command may be, and what its streams are."""

    def __init__(self, protocol: IProcessProtocol, request: SpawnRequest, nowhere: int) -> None:
        self.protocol = protocol
        self.request = request
        self.paths = search(request)
        stdin = nowhere if request.stdin is None else request.stdin
        self.streams: tuple[int, ...] = (stdin, request.stdout, request.stderr)
        self.started: Deferred[IProcessTransport] = Deferred()
        self._nowhere = nowhere
        self._copies: list[int] = []

    def keep_streams(self) -> None:
        """Have copies of the streams, since the caller closes them. Raises OSError."""
        kept = {self._nowhere: self._nowhere}  # which nobody closes
        try:
            for each in set(self.streams) - set(kept):
                kept[each] = fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3)
                self._copies.append(kept[each])
        except OSError:
            self.close_streams()
            raise
        self.streams = tuple(kept[each] for each in self.streams)

    def close_streams(self) -> None:
        """Let go of the copies."""
        while self._copies:
            os.close(self._copies.pop())

    def refused(self, error: Exception) -> SpawnError:
        """Return what to tell of an error, in words for people."""
        if isinstance(error, SpawnError):
            return error
        if isinstance(error, ValueError):
            return SpawnError(f"cannot start {self.request.command[0]}: {error}", permanent=True)
        if isinstance(error, OSError):
            error = StepFailed(error.errno or errno.EIO, "clone")
        assert isinstance(error, StepFailed)
        return refusal(error, self.paths, self.request)


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


def _translate(failure: Failure, order: _Order) -> Failure:
    if isinstance(failure.value, StepFailed):
        return Failure(order.refused(failure.value))
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


def _surroundings(order: _Order) -> tuple[str, int | None]:
    return order.request.directory, order.request.umask


# This changes what belongs to the whole process, for the moment of some posix_spawn. The thread of the
# reactor is in here meanwhile; the daemon's other threads read the configuration, /proc and the databases
# of users and hosts, by absolute paths, and make no files.


@contextlib.contextmanager
def _as_asked(directory: str, umask: int | None) -> Iterator[None]:
    """Be in ``directory``, and have ``umask``, for a moment. Raises StepFailed."""
    here = -1
    if _current_directory() != directory:
        here = _move_to(directory)
    before = None if umask is None else os.umask(umask)
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)
        if here >= 0:
            os.fchdir(here)
            os.close(here)


def _move_to(directory: str) -> int:
    """Go there; return a descriptor of where we were. Raises StepFailed."""
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    try:
        os.chdir(directory)
    except OSError as error:
        os.close(here)
        raise StepFailed(error.errno or errno.EIO, "directory") from None
    return here


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed; we can still come back to it
        return None
