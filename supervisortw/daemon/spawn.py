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
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import posixspawn
from supervisortw.daemon.birth import Birth, StepFailed
from supervisortw.daemon.child import ChildTransport
from supervisortw.daemon.exits import ExitWatcher, bury
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.filetable import FileTable
from supervisortw.daemon.forkerlink import ForkerLink, launch
from supervisortw.daemon.spawnorder import encode, refusal, search
from supervisortw.errors import SpawnError
from supervisortw.interfaces import SpawnRequest

log = Logger(namespace="supervisor")

REASONS = (StepFailed, SpawnError, OSError, ValueError)  # for which there is no process


class PosixSpawner:
    """Starts processes; see `Spawner` for the promise.

    ``telling()`` is a context for telling what came of several that were started together.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: ExitWatcher,
        file_limit: FileLimit,
        forker: ForkerLink | None = None,
        telling: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        posixspawn.close_on_exec()
        self._reactor = reactor
        self._watcher = watcher
        self._telling = telling
        self._file_limit = file_limit
        self._forker = forker or ForkerLink(reactor, watcher, launch)
        self._nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._can_spawn = True
        self._table: FileTable | None = None
        self._gathers = False
        self._unborn: list[Birth] = []
        self._waiting: deque[_Order] = deque()  # for the others that are started together
        self._makes = False  # some of these now, and others in turns to come

    def close(self) -> None:
        """Let go what is needed for starting processes; nothing can be started any more."""
        self._forker.close()
        while self._waiting:
            self._waiting.pop().request.close()
        if self._table is not None:
            self._table.close()
        self._file_limit.close()
        os.close(self._nowhere)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Start what is asked for within the context one after the other, from its end on."""
        began = self._reactor.seconds()
        self._gathers = True
        try:
            yield
        finally:
            self._gathers = False
            unborn, self._unborn = self._unborn, []
            for birth in unborn:
                birth.start()
            if not self._makes:  # else they are made by whoever is at it, or is to go on
                self._make_some(began)

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        """Start a process; fails with SpawnError, which has the reason in words."""
        order = _Order(protocol, request)
        waits = False
        try:
            if self._gathers and self._is_for_us(request):
                self._gather(order)
                waits = True
                return order.started
            return self._start(order)
        except REASONS as error:
            return fail(order.refused(error))
        finally:
            if not waits:
                request.close()

    def _is_for_us(self, request: SpawnRequest) -> bool:
        """True if the daemon itself can start it now."""
        return is_plain(request) and self._can_start()

    def _can_start(self) -> bool:
        return self._can_spawn and self._file_limit.can_be_lowered()

    def _gather(self, order: _Order) -> None:
        """Have an order wait. Raises OSError."""
        if self._table is None:  # not earlier: a daemon forks when it begins, and loses its threads
            self._table = FileTable()
        self._waiting.append(order)

    def _start(self, order: _Order) -> Deferred[IProcessTransport]:
        """Start a process now, or have it forked. Raises one of the REASONS."""
        if self._is_for_us(order.request):
            try:
                with _as_asked(*order.surroundings):
                    pid = self._run_here(order)
                return succeed(self._connect(pid, order))
            except NotImplementedError:
                self._can_spawn = False
        birth = self._birth(order)
        started = birth.born.addCallbacks(
            lambda pid: self._connect(pid, order), lambda failure: _translate(failure, order)
        )
        if self._gathers:
            self._unborn.append(birth)
        else:
            birth.start()
        return started

    def _make_some(self, began: float) -> None:
        """Make the processes that have waited for each other, as many as there is time for, or one."""
        self._makes = True
        try:
            while self._waiting:
                assert self._table is not None
                made: list[tuple[_Order, int | Exception]] = []
                with self._telling():
                    try:
                        self._table.run(partial(self._make_alike, self._table, began, made))
                    finally:
                        for order, pid in made:
                            self._tell(order, pid)
                if self._is_over(began):
                    break
        finally:
            self._makes = bool(self._waiting)
            if self._makes:
                self._reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._make_some(self._reactor.seconds())

    def _is_over(self, began: float) -> bool:
        return bool(self._reactor.seconds() - began >= LIMITS.turn_seconds)

    def _make_alike(
        self, table: FileTable, began: float, made: list[tuple[_Order, int | Exception]]
    ) -> None:
        """Make the next ones that are to begin in the same directory; note what came of each."""
        order = self._waiting.popleft()
        if not self._can_start():  # any more
            made.append((order, _NotHere()))
            return
        surroundings = order.surroundings
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_as_asked(*surroundings))
                if table.is_apart:
                    stack.enter_context(self._file_limit.for_children())
            except REASONS as error:
                made.append((order, error))
                return
            made.append((order, self._make(table, order)))
            while self._waiting and self._waiting[0].surroundings == surroundings:
                if self._is_over(began):
                    return
                order = self._waiting.popleft()
                made.append((order, self._make(table, order)))

    def _make(self, table: FileTable, order: _Order) -> int | Exception:
        try:
            return self._run_there(table, order) if table.is_apart else self._run_here(order)
        except NotImplementedError:
            return _NotHere()
        except REASONS as error:
            return error

    def _run_there(self, table: FileTable, order: _Order) -> int:
        copies: dict[int, int] = {}
        try:
            for each in order.request.streams():
                copies[each] = table.copy(each)
            return self._run(order, order.copied_streams(copies, table.nowhere))
        finally:
            for copy in copies.values():
                os.close(copy)

    def _run_here(self, order: _Order) -> int:
        with self._file_limit.for_child(order.streams(self._nowhere)) as low:
            return self._run(order, low)

    def _tell(self, order: _Order, made: int | Exception) -> None:
        """Let who has asked for a process have it, or know why there is none."""
        try:
            if isinstance(made, _NotHere):
                self._start(order).chainDeferred(order.started)
            elif isinstance(made, Exception):
                order.started.errback(order.refused(made))
            else:
                order.started.callback(self._connect(made, order))
        except REASONS as error:
            order.started.errback(order.refused(error))
        finally:
            _close(order.request)

    def _run(self, order: _Order, streams: Sequence[int]) -> int:
        path = _first_executable(order.paths)
        try:
            return posixspawn.spawn(path, order.request.command, order.request.environment, streams)
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
        sockets = [descriptor for _, descriptor in request.listening]
        descriptors = (*order.streams(self._nowhere), *sockets)
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


class _NotHere(Exception):
    """It cannot be done by the daemon itself at the moment."""


class _Order:
    """One process that somebody has asked for: where its command may be, and what its streams are."""

    def __init__(self, protocol: IProcessProtocol, request: SpawnRequest) -> None:
        self.protocol = protocol
        self.request = request
        self.paths = search(request)
        self.started: Deferred[IProcessTransport] = Deferred()
        self.surroundings = request.directory, request.umask

    def streams(self, nowhere: int) -> tuple[int, int, int]:
        """Return what are to be stdin, stdout and stderr; ``nowhere`` is /dev/null."""
        stdin, stdout, stderr = self.request.stdin, self.request.stdout, self.request.stderr
        return nowhere if stdin is None else stdin, stdout, stderr

    def copied_streams(self, copies: Mapping[int, int], nowhere: int) -> tuple[int, int, int]:
        """Return the same, as it is where the streams have ``copies``."""
        stdin, stdout, stderr = self.request.stdin, self.request.stdout, self.request.stderr
        return nowhere if stdin is None else copies[stdin], copies[stdout], copies[stderr]

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


def _close(request: SpawnRequest) -> None:
    try:
        request.close()
    except OSError:  # the others are to be told all the same
        log.failure("the streams of {command} were not open", command=request.command[0])


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


# Where the table of open files is the usual one, this changes what belongs to the whole process, for
# the moment of some posix_spawn. The thread of the reactor is in here meanwhile; the daemon's other
# threads read the configuration, /proc and the databases of users and hosts, by absolute paths, and make
# no files.


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
