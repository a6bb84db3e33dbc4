"""Running a program's stop command: a process beside it that asks it to end.

It runs like the program itself (user, directory, environment), finds the pid of the main process in
SUPERVISOR_PID, and writes to the program's log.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.model import Process
from supervisortw.daemon.ended import ended_by
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Clock, Sessions, Spawner, SpawnRequest

log = Logger(namespace="supervisor")

# Makes the request for the stop command of a program whose main process has that pid.
PrepareStop = Callable[[Process, int], SpawnRequest]


class StopCommand:
    """Runs stop commands; one that is not done in its time is killed."""

    def __init__(
        self, clock: Clock, spawner: Spawner, sessions: Sessions, prepare: PrepareStop
    ) -> None:
        self._clock = clock
        self._spawner = spawner
        self._sessions = sessions
        self._prepare = prepare

    def run(self, program: Process, pid: int, ended: Callable[[bool], None]) -> None:
        """Run the stop command of ``program``; call ``ended`` once, with whether it went well."""
        began = self._clock.seconds()
        name = program.name

        def over(reason: BaseException) -> None:
            end = ended_by(reason, self._clock.seconds() - began)
            if end.code != 0:
                log.warn("{name}: its stop-command {end}", name=name, end=end)
            ended(end.code == 0)

        def failed(failure: Failure) -> None:
            failure.trap(SpawnError)
            reason = failure.getErrorMessage()
            log.error("{name}: stop-command: {reason}", name=name, reason=reason)
            ended(False)

        running = _Running(over)
        try:
            request = self._prepare(program, pid)
        except SpawnError:
            failed(Failure())
            return
        wait = program.stop_steps[0].wait
        spawning = self._spawner.spawn(running, request)
        spawning.addCallbacks(lambda transport: self._limit(running, transport, wait), failed)

    def _limit(self, running: _Running, transport: IProcessTransport, seconds: float) -> None:
        sid = transport.pid
        if sid is None or running.is_over:
            return

        def kill() -> None:
            running.at_the_end = _nothing
            self._sessions.signal(sid, signal.SIGKILL)

        running.at_the_end = self._clock.callLater(seconds, kill).cancel


class _Running(ProcessProtocol):
    """One stop command that runs."""

    def __init__(self, over: Callable[[BaseException], None]) -> None:
        self._over = over
        self.is_over = False
        self.at_the_end: Callable[[], None] = _nothing

    def processExited(self, reason: Failure) -> None:
        self.is_over = True
        self.at_the_end()
        assert reason.value is not None
        self._over(reason.value)


def _nothing() -> None:
    pass
