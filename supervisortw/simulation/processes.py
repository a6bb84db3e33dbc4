"""Processes that are not there: they start, become ready and end as a scenario says."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport

from supervisortw.core.born import Born
from supervisortw.core.notify import Notice
from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.daemon.child import ProcessTransport, reason_of
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Cancel, Ending, Escaped, SpawnRequest
from supervisortw.simulation.clock import Call, SimulatedClock
from supervisortw.simulation.scenario import Crash

ENDED_WELL = 0  # a wait status

Heard = Callable[[Notice, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the processes of one slot behave; see `Scenario`."""

    crash: Crash | None = None
    exec_fails: bool = False
    stop_takes: float | None = 0.0
    ready_takes: float | None = 0.0


ORDINARY = Behaviour()


class SimulatedProcess(ProcessTransport):
    """One process, until it ends by itself or because it is asked to."""

    def __init__(
        self,
        pid: int,
        protocol: IProcessProtocol,
        clock: SimulatedClock,
        stop_takes: float | None,
        gone: Callable[[int], object],
    ) -> None:
        super().__init__(pid, protocol)
        self._pid = pid
        self._clock = clock
        self._stop_takes = stop_takes
        self._gone = gone
        self._timers: list[Call] = []
        self._is_ending = False

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something after ``seconds``, unless it has ended by then."""
        self._timers.append(self._clock.callLater(seconds, act))

    def end_after(self, seconds: float, status: int) -> None:
        """End it after ``seconds``, unless something else does so before."""
        self.later(seconds, lambda: self.end(reason_of(status)))

    def ask_to_end(self, status: int) -> None:
        """Have it end as soon as it can; it begins with that once."""
        if self._stop_takes is not None and not self._is_ending:
            self._is_ending = True
            self.end_after(self._stop_takes, status)

    def end(self, reason: Exception) -> None:
        """Tell the protocol that the process has ended, and how."""
        for timer in self._timers:
            timer.cancel()
        self._gone(self._pid)
        super().end(reason)

    def _send(self, pid: int, number: int) -> None:
        if number == signal.SIGKILL:
            self.end_after(0, number)
        else:
            self.ask_to_end(number)


class SimulatedNotices:
    """A NoticeBoard: where processes would say that they are ready."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}

    def open(self, name: str, uid: int, heard: Heard) -> str:
        """Return what stands for the path of a socket."""
        self.heard[name] = heard
        return f"simulated/{name}"

    def adopt(self, name: str, uid: int, heard: Heard) -> str:
        """Do the same: nothing is there before a simulation."""
        return self.open(name, uid, heard)

    def close(self, name: str) -> None:
        """Let go of the socket of a process."""
        self.heard.pop(name, None)


class SimulatedProcesses:
    """A Spawner whose processes behave as ``behaviours`` say, by their full names.

    What has the mark of a start is a program; anything else is a stop command, which asks the program
    to end, as it should, and ends at once.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        notices: SimulatedNotices,
        behaviours: Mapping[str, Behaviour],
    ) -> None:
        self._clock = clock
        self._notices = notices
        self._behaviours = behaviours
        self._alive: dict[int, SimulatedProcess] = {}
        self._starts: dict[str, int] = {}
        self._last_pid = 0

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        """Start what the request asks for."""
        request.close()
        mark = SpawnId.parse(request.environment.get(VARIABLE, ""))
        if mark is None:
            return succeed(self._stop_command(protocol, request))
        behaviour = self._behaviours.get(mark.name, ORDINARY)
        if behaviour.exec_fails:
            return fail(SpawnError(f"cannot execute {request.command[0]}", permanent=True))
        return succeed(self._program(mark.name, behaviour, protocol))

    def together(self) -> AbstractContextManager[object]:
        """Do nothing: it takes no time to start a process."""
        return nullcontext()

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process, if it is there."""
        process = self._alive.get(pid)
        if process is not None:
            process.signalProcess(number)

    def _program(
        self, name: str, behaviour: Behaviour, protocol: IProcessProtocol
    ) -> SimulatedProcess:
        process = self._new(protocol, behaviour.stop_takes)
        start = self._starts[name] = self._starts.get(name, -1) + 1
        death = behaviour.crash.death(start) if behaviour.crash else None
        if death is not None:
            process.end_after(death.after, death.status)
        heard = self._notices.heard.get(name)
        if heard is not None and behaviour.ready_takes is not None:
            ready = partial(heard, Notice(ready=True), self._last_pid)
            process.later(behaviour.ready_takes, ready)
        return process

    def _stop_command(self, protocol: IProcessProtocol, request: SpawnRequest) -> SimulatedProcess:
        command = self._new(protocol, ORDINARY.stop_takes)
        command.end_after(0, ENDED_WELL)
        program = self._alive.get(int(request.environment["SUPERVISOR_PID"]))
        if program is not None:
            program.ask_to_end(ENDED_WELL)
        return command

    def _new(self, protocol: IProcessProtocol, stop_takes: float | None) -> SimulatedProcess:
        self._last_pid += 1
        process = SimulatedProcess(
            self._last_pid, protocol, self._clock, stop_takes, self._alive.pop
        )
        self._alive[self._last_pid] = process
        protocol.makeConnection(process)
        return process


class SimulatedSessions:
    """Sessions in which nobody is but their leaders."""

    def __init__(self, clock: SimulatedClock, processes: SimulatedProcesses) -> None:
        self._clock = clock
        self._processes = processes

    def adopt(self, sid: int, born: Born) -> None:
        """Do nothing: no session is there before a simulation."""

    def signal(self, sid: int, number: int) -> None:
        """Send a signal to the leader."""
        self._processes.signal(sid, number)

    def has_others(self, sid: int) -> bool:
        """Return False: it leaves nobody behind."""
        return False

    def when_empty(self, sid: int, emptied: Callable[[], None]) -> Cancel:
        """Call ``emptied`` in the next turn: it is asked for when the leader is gone."""
        return self._clock.callLater(0, emptied).cancel

    def find_escaped(self, spawn: SpawnId, sid: int) -> Deferred[tuple[Escaped, ...]]:
        """Return nobody."""
        return succeed(())

    def end_escaped(self, spawn: SpawnId, sid: int, wait: float) -> Deferred[Ending]:
        """Return that there was nobody to end."""
        return succeed(Ending())
