"""One program as the daemon runs it: its life, its process, its timer, and who waits for it.

`ManagedProcess` feeds what happens to `lifecycle.step` and carries out the effects. It decides
nothing itself. There is one slot for a process, so two copies of a program cannot be alive.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core import lifecycle
from supervisortw.core.lifecycle import Effect, Event, Life
from supervisortw.core.model import Program, StopScope
from supervisortw.core.restart import Moment, is_expected, too_many_restarts
from supervisortw.core.signals import signal_name
from supervisortw.core.states import ALIVE, UNSETTLED, State
from supervisortw.core.status import Outcome, ProgramStatus, Result
from supervisortw.core.text import seconds
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.turns import Turns
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Cancel, Clock, Sessions, Spawner, SpawnRequest, Timer

log = Logger(namespace="supervisor")

# Makes the request for a program's next process; what it opened for it is closed at the end of the
# context, whether or not the process was made. Raises SpawnError.
Prepare = Callable[[Program], AbstractContextManager[SpawnRequest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and after how many seconds; neither code nor signal means unknown."""

    code: int | None
    signal: int | None
    core: bool
    uptime: float

    def __str__(self) -> str:
        after = f"after {seconds(self.uptime)}"
        if self.code is not None:
            return f"exited with code {self.code} {after}"
        if self.signal is not None:
            core = ", core dumped" if self.core else ""
            return f"ended by {signal_name(self.signal)}{core} {after}"
        return f"ended for an unknown reason {after}"


class ManagedProcess:
    """Keeps one program as it is wanted to be."""

    def __init__(
        self,
        program: Program,
        *,
        clock: Clock,
        spawner: Spawner,
        sessions: Sessions,
        prepare: Prepare,
        bus: EventBus,
        random: Callable[[], float] = random.random,
        turns: Turns | None = None,
    ) -> None:
        self.program = program
        self.life = Life()
        self.pid = 0
        self._clock = clock
        self._spawner = spawner
        self._sessions = sessions
        self._prepare = prepare
        self._bus = bus
        self._random = random
        self._turns = turns or Turns(clock)
        self._cancel_spawn: Cancel = _nothing
        self._transport: IProcessTransport | None = None
        self._sid = 0
        self._started = 0.0
        self._since = clock.seconds()
        self._asked = False
        self._restarts = 0
        self._detail = "not started"
        self._spawn_error = ""
        self._last: Ended | None = None
        self._timer: Timer | None = None
        self._events: deque[Event] = deque()
        self._handling = False
        self._waiting: list[Deferred[None]] = []

    @property
    def up(self) -> bool:
        """True if the program's main process is alive."""
        return self.pid != 0

    @property
    def going_up(self) -> bool:
        """True if the program is up to stay, or will be: not if it ended, nor while it is stopped."""
        state = self.life.next if self.life.state is State.STOPPING else self.life.state
        return state in {State.STARTING, State.RUNNING, State.BACKOFF}

    def status(self) -> ProgramStatus:
        """Tell how the program stands now."""
        return ProgramStatus(
            name=self.program.name,
            state=self.life.state,
            wanted=self.life.wanted,
            pid=self.pid,
            since=self._clock.seconds() - (self._started if self.pid else self._since),
            restarts=self._restarts,
            detail=self._detail,
        )

    # What operators ask for.

    async def start(self) -> Outcome:
        """Have the program up, and wait until it is, or has failed."""
        if self.life.state is State.RUNNING:
            return self._outcome(Result.ALREADY_UP, f"already up, pid {self.pid}")
        self.handle(lifecycle.StartAsked())
        await self.settled()
        return self._came_up(Result.STARTED, f"started, pid {self.pid}")

    async def restart(self) -> Outcome:
        """Have the program up in a new process, and wait until it is, or has failed."""
        old = self.pid
        self.handle(lifecycle.RestartAsked())
        await self.settled()
        was = f" (was {old})" if old else ""
        return self._came_up(Result.RESTARTED, f"restarted, pid {self.pid}{was}")

    async def stop(self) -> Outcome:
        """Have the program down, and wait until all of its processes are gone."""
        if self.life.state not in ALIVE and self.life.state is not State.BACKOFF:
            self.handle(lifecycle.StopAsked())
            return self._outcome(Result.ALREADY_DOWN, "already down")
        self.handle(lifecycle.StopAsked())
        await self.settled()
        if self.life.state in ALIVE or self.life.wanted:
            return self._outcome(Result.SUPERSEDED, "somebody else started it meanwhile")
        return self._outcome(Result.STOPPED, self._detail)

    def signal(self, number: int) -> Outcome:
        """Send a signal to the main process."""
        if self._transport is not None:
            try:
                self._transport.signalProcess(number)
            except ProcessExitedAlready:
                pass
            except PermissionError:
                text = f"no permission to send {signal_name(number)} to pid {self.pid}"
                return self._outcome(Result.FAILED, text)
            else:
                text = f"sent {signal_name(number)} to pid {self.pid}"
                return self._outcome(Result.SIGNALLED, text)
        return self._outcome(Result.FAILED, f"not up, {signal_name(number)} not sent")

    def settled(self) -> Deferred[None]:
        """Fire once the program is neither STARTING nor STOPPING; at once if it is neither now."""
        waiter: Deferred[None] = Deferred()
        if self.life.state in UNSETTLED:
            self._waiting.append(waiter)
        else:
            waiter.callback(None)
        return waiter

    def _came_up(self, result: Result, text: str) -> Outcome:
        state = self.life.state
        if state is State.RUNNING:
            return self._outcome(result, text)
        if state is State.STOPPED:
            return self._outcome(Result.SUPERSEDED, "somebody else stopped it meanwhile")
        if state is State.EXITED and self._last and is_expected(self.program, self._last.code):
            return self._outcome(Result.ENDED, self._detail)
        return self._outcome(Result.FAILED, self._detail)

    def _outcome(self, result: Result, text: str) -> Outcome:
        return Outcome(name=self.program.name, result=result, text=text)

    # What happens.

    def handle(self, event: Event) -> None:
        """Let an event happen, and carry out what follows from it.

        An effect may itself make an event happen at once (a spawn that fails); it waits its turn.
        """
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._step(self._events.popleft())
        finally:
            self._handling = False
        if self.life.state not in UNSETTLED:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    def _step(self, event: Event) -> None:
        before = self.life.state
        self.life, effects = lifecycle.step(self.life, self.program, event)
        after = self.life.state
        self._note_who_asked(event, before)
        for effect in effects:
            self._carry_out(effect)
        if after is not before or lifecycle.Spawn() in effects:
            self._since = self._clock.seconds()
            self._detail = self._tell(before)
            change = StateChanged(
                name=self.program.name,
                before=before,
                after=after,
                pid=self.pid,
                detail=self._detail,
            )
            self._bus.publish(change)

    def _note_who_asked(self, event: Event, before: State) -> None:
        if isinstance(event, lifecycle.RestartAsked):
            self._asked = True
        elif isinstance(event, lifecycle.StartAsked):
            self._asked = before not in {State.STARTING, State.RUNNING}
        elif isinstance(event, lifecycle.StopAsked):
            self._asked = False

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, lifecycle.Spawn):
            self._cancel_spawn = self._turns.take(self._spawn)
        elif isinstance(effect, lifecycle.CancelSpawn):
            self._cancel_spawn()
        elif isinstance(effect, lifecycle.Signal):
            self._signal_all(effect.number)
        elif isinstance(effect, lifecycle.SetTimer):
            self._cancel_timer()
            self._timer = self._clock.callLater(effect.seconds, self._timed_out)
        else:
            self._cancel_timer()

    def _signal_all(self, number: int) -> None:
        """Signal whatever the stop is for."""
        if self.program.stop_scope is StopScope.SESSION:
            self._sessions.signal(self._sid, number)
        else:
            self.signal(number)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self.handle(lifecycle.TimedOut())

    def _spawn(self) -> None:
        if not self._asked:
            self._restarts += 1
        self._asked = False
        self._spawn_error = ""
        protocol = _Protocol(self._exited)
        try:
            with self._prepare(self.program) as request:
                self._transport = self._spawner.spawn(protocol, request)
        except SpawnError as error:
            self._spawn_error = str(error)
            self.handle(lifecycle.SpawnFailed(error.permanent, self._moment()))
            return
        pid = self._transport.pid
        assert pid is not None
        self.pid = self._sid = pid
        self._started = self._clock.seconds()
        log.info("{name}: started, pid {pid}", name=self.program.name, pid=pid)
        self.handle(lifecycle.Spawned())

    def _exited(self, code: int | None, number: int | None, core: bool) -> None:
        uptime = self._clock.seconds() - self._started
        self._last = Ended(code=code, signal=number, core=core, uptime=uptime)
        self._transport = None
        self.pid = 0
        # A stop is over when the whole session is empty; otherwise only the group has to be, which
        # costs no walk through all processes of the machine.
        others_left = self.program.stop_scope is StopScope.SESSION and (
            self.life.state is State.STOPPING or self._sessions.has_others(self._sid)
        )
        self.handle(lifecycle.Exited(code, uptime, others_left, self._moment()))
        if others_left:
            self._sessions.when_empty(self._sid, self._emptied)

    def _moment(self) -> Moment:
        return Moment(at=self._clock.seconds(), chance=self._random())

    def _emptied(self) -> None:
        self.handle(lifecycle.SessionEmptied())

    def _tell(self, before: State) -> str:
        """Return why the program is in the state that it is in now, as the end of a sentence."""
        state = self.life.state
        last = str(self._last) if self._last else "not started"
        if state is State.BACKOFF:
            again = f"next try in {round(self.life.delay, 1):g} s"
            return f"{self._spawn_error or last + ', too quickly'}; {again}"
        if state is State.FATAL:
            if self._spawn_error:
                return self._spawn_error
            return f"given up after {self._too_many()}; {last}"
        if state is State.STOPPED:
            return "stopped" if before is State.BACKOFF else f"stopped; {last}"
        if state is State.STOPPING:
            return "waiting for it to end" if self.pid else f"{last}; ending what it left behind"
        return last if state is State.EXITED else ""

    def _too_many(self) -> str:
        tally = self.life.tally
        if too_many_restarts(self.program, tally):
            return (
                f"{self.program.restart_limit} restarts in {seconds(self.program.restart_period)}"
            )
        count = tally.quick_deaths
        return "1 quick death" if count == 1 else f"{count} quick deaths"


def _nothing() -> None:
    pass


class _Protocol(ProcessProtocol):
    """Hands the end of one process on, in plain values."""

    def __init__(self, exited: Callable[[int | None, int | None, bool], None]) -> None:
        self._exited = exited

    def processExited(self, reason: Failure) -> None:
        ended = reason.value
        if not isinstance(ended, (ProcessDone, ProcessTerminated)):
            self._exited(None, None, False)
            return
        dumped = ended.status is not None and os.WCOREDUMP(ended.status)
        code = None if ended.signal is not None else ended.exitCode
        self._exited(code, ended.signal, dumped)
