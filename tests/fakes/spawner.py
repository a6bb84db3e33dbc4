"""A Spawner whose processes exist only in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.errors import SpawnError
from supervisortw.interfaces import SpawnRequest

CORE_DUMPED = 0x80


@implementer(IProcessTransport)
class FakeTransport:
    """One process: what was sent to it, until it ends."""

    def __init__(self, pid: int, protocol: IProcessProtocol) -> None:
        self.pid: int | None = pid
        self.protocol = protocol
        self.signals: list[str | int] = []
        self.forbidden = False

    def signalProcess(self, signalID: str | int) -> None:
        if self.pid is None:
            raise ProcessExitedAlready
        if self.forbidden:
            raise PermissionError(1, "Operation not permitted")
        self.signals.append(signalID)

    def closeStdin(self) -> None: ...

    def closeStdout(self) -> None: ...

    def closeStderr(self) -> None: ...

    def closeChildFD(self, descriptor: int) -> None: ...

    def writeToChild(self, childFD: int, data: bytes) -> None: ...

    def loseConnection(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def writeSequence(self, data: Sequence[bytes]) -> None: ...

    def getPeer(self) -> object:
        return self

    def getHost(self) -> object:
        return self


class FakeSpawner:
    """Records what it was asked to start; the test says when and how it ends.

    ``failures`` come of the next spawns, one each; ``broken`` maps the first word of a command to a
    reason for which it can never be started. While ``hold`` is true, spawns wait for `release` or
    `refuse`. ``about_to_run`` is called with the request of each process that is made.
    """

    def __init__(self, last_pid: int = 100) -> None:
        self.requests: list[SpawnRequest] = []
        self.alive: dict[int, FakeTransport] = {}
        self.failures: list[SpawnError] = []
        self.broken: dict[str, str] = {}
        self.most_alive = 0
        self.hold = False
        self.held: list[tuple[Deferred[IProcessTransport], IProcessProtocol, SpawnRequest]] = []
        self.about_to_run: Callable[[SpawnRequest], None] = lambda request: None
        self._last_pid = last_pid
        self._together: list[Callable[[], None]] | None = None

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        self.requests.append(request)
        request.close()
        if self.failures:
            return fail(self.failures.pop(0))
        if request.command[0] in self.broken:
            return fail(SpawnError(self.broken[request.command[0]], permanent=True))
        waiting: Deferred[IProcessTransport] = Deferred(self._forget)
        if self.hold:
            self.held.append((waiting, protocol, request))
        elif self._together is not None:
            self._together.append(lambda: waiting.callback(self._run(protocol, request)))
        else:
            waiting.callback(self._run(protocol, request))
        return waiting

    @contextmanager
    def together(self) -> Iterator[None]:
        self._together = starts = []
        yield
        self._together = None
        for start in starts:
            start()

    def release(self, index: int = 0) -> int:
        """Let one of the spawns that are held succeed; return the pid."""
        waiting, protocol, request = self.held.pop(index)
        transport = self._run(protocol, request)
        pid = self._last_pid
        waiting.callback(transport)
        return pid

    def refuse(self, reason: str | SpawnError, index: int = 0) -> None:
        """Let one of the spawns that are held fail; a mere reason is one that stays."""
        waiting, *_ = self.held.pop(index)
        if isinstance(reason, str):
            reason = SpawnError(reason, permanent=True)
        waiting.errback(reason)

    def _forget(self, cancelled: Deferred[IProcessTransport]) -> None:
        self.held = [each for each in self.held if each[0] is not cancelled]

    def _run(self, protocol: IProcessProtocol, request: SpawnRequest) -> FakeTransport:
        self.about_to_run(request)
        self._last_pid += 1
        transport = FakeTransport(self._last_pid, protocol)
        self.alive[self._last_pid] = transport
        self.most_alive = max(self.most_alive, len(self.alive))
        protocol.makeConnection(transport)
        return transport

    @property
    def started(self) -> list[str]:
        """The first words of the commands, in the order in which they were asked for."""
        return [request.command[0] for request in self.requests]

    def exit(
        self, pid: int, *, code: int = 0, signal: int | None = None, core: bool = False
    ) -> None:
        """End a process by itself or by a signal."""
        transport = self.alive.pop(pid)
        transport.pid = None
        reason: Exception
        if signal is not None:
            status = signal | (CORE_DUMPED if core else 0)
            reason = ProcessTerminated(signal=signal, status=status)
        elif code:
            reason = ProcessTerminated(exitCode=code, status=code << 8)
        else:
            reason = ProcessDone(0)
        self._tell(transport, reason)

    def lose(self, pid: int) -> None:
        """End a process in a way of which nobody learns the status."""
        transport = self.alive.pop(pid)
        transport.pid = None
        self._tell(transport, OSError("nobody knows"))

    def _tell(self, transport: FakeTransport, reason: Exception) -> None:
        transport.protocol.processExited(Failure(reason))
        transport.protocol.processEnded(Failure(reason))
