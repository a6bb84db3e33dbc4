"""One process slot as the daemon runs it: its life, its process, its timer, and who waits for it.

`ManagedProcess` feeds what happens to `lifecycle.step` and carries out the effects. It decides
nothing itself. There is one slot for a process, so two copies of it cannot be alive.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from supervisortw.core import lifecycle, lifeevents, telling
from supervisortw.core.ended import Ended
from supervisortw.core.lifecycle import Life
from supervisortw.core.lifeevents import Effect, Event
from supervisortw.core.model import Process, StopScope
from supervisortw.core.notify import Notice
from supervisortw.core.restart import Moment, is_expected
from supervisortw.core.signals import signal_name
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import ALIVE, UNSETTLED, State
from supervisortw.core.status import Outcome, ProgramStatus, Result
from supervisortw.core.text import one_line
from supervisortw.daemon.admission import Admission, Prospect
from supervisortw.daemon.ended import ended_by, told_ending, told_escaped
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.stopcommand import StopCommand
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Clock, Sessions, Spawner, SpawnRequest, Timer

# Makes the request for the next process of a slot; what it opened for it is closed at the end of the
# context, whether or not the process was made. Raises SpawnError.
Prepare = Callable[[Process, SpawnId], AbstractContextManager[SpawnRequest]]


class ManagedProcess:
    """Keeps one process as it is wanted to be."""

    def __init__(
        self,
        program: Process,
        *,
        clock: Clock,
        spawner: Spawner,
        sessions: Sessions,
        prepare: Prepare,
        stop_command: StopCommand,
        admission: Admission,
        bus: EventBus,
        new_spawn_id: Callable[[str], SpawnId],
        random: Callable[[], float] = random.random,
    ) -> None:
        self.program = program
        self.life = Life()
        self.pid = 0
        self.last: Ended | None = None
        self.removed = False  # is down for ever: another slot may have its name now
        self._clock = clock
        self._spawner = spawner
        self._sessions = sessions
        self._prepare = prepare
        self._stop_command = stop_command
        self._admission = admission
        self._bus = bus
        self._new_spawn_id = new_spawn_id
        self._random = random
        self._transport: IProcessTransport | None = None
        self._sid = 0
        self._spawn_id: SpawnId | None = None
        self._ending_escaped = False
        self._started = 0.0
        self._since = clock.seconds()
        self._asked = False
        self._restarts = 0
        self._told = State.STOPPED
        self._before: State | None = None
        self._spawn_error = ""
        self._fault = ""
        self._said = ""
        self._timer: Timer | None = None
        self._due = 0.0
        self._events: deque[Event] = deque()
        self._handling = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def up(self) -> bool:
        """True if the main process is alive."""
        return self.pid != 0

    @property
    def going_up(self) -> bool:
        """True if it is up to stay, or will be: not if it ended, nor while it is stopped."""
        return self._to_be in {State.WAITING, State.STARTING, State.RUNNING, State.BACKOFF}

    @property
    def _to_be(self) -> State:
        """The state that follows, where it is clear already."""
        return self.life.next if self.life.state is State.STOPPING else self.life.state

    @property
    def prospect(self) -> Prospect:
        """How it stands for those who depend on it."""
        state = self.life.state
        if self.program.oneshot:
            ready = state is State.EXITED and self._ended_well
            coming = self.going_up
        else:
            ready = state is State.RUNNING
            coming = self.going_up and not (
                state is State.WAITING and self._admission.is_hopeless(self)
            )
        text = f"{self.program.name} ({state.value})"
        return Prospect(ready=ready, coming=coming, text=text)

    @property
    def exit_code(self) -> int:
        """The code that its last process ended with, as a shell tells it; 1 if there was none."""
        return 1 if self.last is None or self._spawn_error else self.last.exit_code

    @property
    def _ended_well(self) -> bool:
        return self.last is not None and is_expected(self.program, self.last.code)

    def status(self) -> ProgramStatus:
        """Tell how the process stands now."""
        return ProgramStatus(
            name=self.program.name,
            program=self.program.program,
            group=self.program.group,
            state=self.life.state,
            wanted=self.life.wanted,
            pid=self.pid,
            since=self._clock.seconds() - (self._started if self.pid else self._since),
            restarts=self._restarts,
            detail=self.detail,
        )

    @property
    def detail(self) -> str:
        """Why it is in the state that it is in, as the end of a sentence."""
        if self.life.state is State.WAITING:
            return self._admission.waits_for(self)
        if self.life.state in {State.STARTING, State.RUNNING} and self._said:
            return self._said
        if self._before is None:
            return "not started"
        history = telling.History(
            before=self._before,
            last=self.last,
            alive=self.up,
            spawn_error=self._spawn_error,
            fault=self._fault,
        )
        return telling.detail(self.program, self.life, history)

    # What operators ask for.

    async def start(self) -> Outcome:
        """Have it up, and wait until it is, or has failed."""
        await self._when(self._is_free)
        if self.removed:
            return self._outcome(Result.FAILED, "was removed meanwhile")
        if self.life.state is State.RUNNING and not self.program.oneshot:
            return self._outcome(Result.ALREADY_UP, f"already up, pid {self.pid}")
        self.handle(lifeevents.StartAsked())
        await self.settled()
        return self._came_up(Result.STARTED, f"started, pid {self.pid}")

    async def restart(self) -> Outcome:
        """Have it up in a new process, and wait until it is, or has failed."""
        await self._when(self._is_free)
        if self.removed:
            return self._outcome(Result.FAILED, "was removed meanwhile")
        old = self.pid
        self.handle(lifeevents.RestartAsked())
        await self.settled()
        was = f" (was {old})" if old else ""
        return self._came_up(Result.RESTARTED, f"restarted, pid {self.pid}{was}")

    async def stop(self) -> Outcome:
        """Have it down, and wait until all of its processes are gone."""
        was_down = self.life.state not in ALIVE and not self.going_up
        self.handle(lifeevents.StopAsked())
        if was_down:
            return self._outcome(Result.ALREADY_DOWN, "already down")
        await self.settled()
        if self.life.state in ALIVE or self.life.wanted:
            return self._outcome(Result.SUPERSEDED, "somebody else started it meanwhile")
        return self._outcome(Result.STOPPED, self.detail)

    async def find_escaped(self) -> Sequence[str]:
        """Return in words who has left its session and is still there. Raises LocalError."""
        if self._spawn_id is None:
            return ()
        return told_escaped(await self._sessions.find_escaped(self._spawn_id, self._sid_now))

    async def end_escaped(self) -> tuple[bool, Sequence[str]]:
        """End who has left its session; return whether all are gone, and what came of it in words.

        Raises LocalError.
        """
        if self._spawn_id is None:
            return True, ()
        steps = self.program.stop_steps
        wait = steps[-1].wait if steps else 0.0
        self._ending_escaped = True
        try:
            ending = await self._sessions.end_escaped(self._spawn_id, self._sid_now, wait)
        finally:
            self._ending_escaped = False
            self.prospects_changed()
        return not ending.left, told_ending(ending)

    @property
    def _sid_now(self) -> int:
        return self._sid if self.life.state in ALIVE else 0

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
        """Fire once nothing is under way, or nothing will come of it; at once if that is so now."""
        return self._when(self._is_settled)

    def ended(self) -> Deferred[None]:
        """Fire once no stop is under way; at once if there is none."""
        return self._when(lambda: self.life.state is not State.STOPPING)

    def _when(self, is_so: Callable[[], bool]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        if is_so():
            waiter.callback(None)
        else:
            self._waiting.append((is_so, waiter))
        return waiter

    def _is_free(self) -> bool:
        """True unless what has escaped from it is being ended, which a new process could be taken for."""
        return not self._ending_escaped

    def _is_settled(self) -> bool:
        state = self.life.state
        if state is State.WAITING:
            return self._admission.is_hopeless(self)
        return state not in UNSETTLED and not (self.program.oneshot and state is State.RUNNING)

    def _came_up(self, result: Result, text: str) -> Outcome:
        state = self.life.state
        if state is State.RUNNING:
            return self._outcome(result, text)
        if state is State.STOPPED:
            return self._outcome(Result.SUPERSEDED, "somebody else stopped it meanwhile")
        if state is State.EXITED and self._ended_well:
            return self._outcome(Result.ENDED, self.detail)
        return self._outcome(Result.FAILED, self.detail)

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
        self.prospects_changed()

    def prospects_changed(self) -> None:
        """Let those go who wait for something that is over, or that will not come."""
        if not self._waiting or self._handling:
            return
        over = [waiter for is_so, waiter in self._waiting if is_so()]
        self._waiting = [each for each in self._waiting if each[1] not in over]
        for waiter in over:
            waiter.callback(None)

    def _step(self, event: Event) -> None:
        before = self.life
        self.life, effects = lifecycle.step(self.life, self.program, event)
        self._note_who_asked(event, before.state)
        for effect in effects:
            self._carry_out(effect)
        if self.life.state is not before.state or self.life.spawned is not before.spawned:
            self._since = self._clock.seconds()
            self._before = before.state
            if not self._is_passing():
                self._publish()
            self._admission.moved(self)

    def _is_passing(self) -> bool:
        """True in a state that is over in a moment: it only leads from one to the next."""
        state = self.life.state
        if state is State.WAITING:
            return bool(self._events) or self._admission.is_next(self)
        return state is State.STARTING and not self.life.spawned

    def _publish(self) -> None:
        change = StateChanged(
            name=self.program.name,
            before=self._told,
            after=self.life.state,
            pid=self.pid,
            detail=self.detail,
        )
        self._told = self.life.state
        self._bus.publish(change)

    def _note_who_asked(self, event: Event, before: State) -> None:
        if isinstance(event, lifeevents.RestartAsked):
            self._asked = True
        elif isinstance(event, lifeevents.StartAsked):
            self._asked = before not in {State.STARTING, State.RUNNING}
        elif isinstance(event, lifeevents.StopAsked):
            self._asked = False
        elif isinstance(event, lifeevents.TimedOut) and self.life.state is State.STOPPING:
            if before is State.STARTING:
                self._fault = telling.not_ready(event.uptime)
            elif before is State.RUNNING:
                self._fault = telling.silent(self.program)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, lifeevents.Await):
            self._admission.ask(self)
        elif isinstance(effect, lifeevents.CancelAwait):
            self._admission.cancel(self)
        elif isinstance(effect, lifeevents.Spawn):
            self._spawn()
        elif isinstance(effect, lifeevents.RunStopCommand):
            self._stop_command.run(self.program, self.pid, self._stop_command_ended)
        elif isinstance(effect, lifeevents.Signal):
            self._signal_all(effect.number)
        elif isinstance(effect, lifeevents.SetTimer):
            self._set_timer(effect.seconds)
        elif isinstance(effect, lifeevents.ExtendTimer):
            self._set_timer(max(effect.seconds, self._due - self._clock.seconds()))
        else:
            self._cancel_timer()

    def _signal_all(self, number: int) -> None:
        """Signal whatever the stop is for."""
        if self.program.stop_scope is StopScope.SESSION:
            self._sessions.signal(self._sid, number)
        else:
            self.signal(number)

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._due = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._timed_out)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self.handle(lifeevents.TimedOut(self._uptime(), self._moment()))

    def _uptime(self) -> float:
        return self._clock.seconds() - self._started

    def _moment(self) -> Moment:
        return Moment(at=self._clock.seconds(), chance=self._random())

    # Being a candidate for admission.

    @property
    def is_starting(self) -> bool:
        """True from its admission until it is up, or has failed."""
        return self.life.state is State.STARTING or self.is_being_made

    @property
    def is_being_made(self) -> bool:
        """True from its admission until its process is there, or could not be made."""
        if self.life.state is State.WAITING:
            return bool(self._events)
        return self.life.state is State.STARTING and not self.life.spawned

    def admitted(self) -> None:
        """Start."""
        self.handle(lifeevents.Admitted())

    # The process.

    def _spawn(self) -> None:
        if not self._asked:
            self._restarts += 1
        self._asked = False
        self._spawn_error = self._fault = self._said = ""
        protocol = _Protocol(self._exited)
        try:
            self._spawn_id = self._new_spawn_id(self.program.name)
            with self._prepare(self.program, self._spawn_id) as request:
                spawning = self._spawner.spawn(protocol, request)
        except SpawnError as error:
            self._not_spawned(Failure(error))
            return
        spawning.addCallbacks(self._spawned, self._not_spawned)

    def _spawned(self, transport: IProcessTransport) -> None:
        pid = transport.pid
        assert pid is not None
        self._transport = transport
        self.pid = self._sid = pid
        self._started = self._clock.seconds()
        self.handle(lifeevents.Spawned())

    def _not_spawned(self, failure: Failure) -> None:
        failure.trap(SpawnError)
        error = failure.value
        assert isinstance(error, SpawnError)
        self._spawn_error = str(error)
        self.handle(lifeevents.SpawnFailed(error.permanent, self._moment()))

    def _exited(self, reason: BaseException) -> None:
        uptime = self._uptime()
        self.last = ended_by(reason, uptime)
        self._transport = None
        self.pid = 0
        # A stop is over when the whole session is empty; otherwise only the group has to be, which
        # costs no walk through all processes of the machine.
        others_left = self.program.stop_scope is StopScope.SESSION and (
            self.life.state is State.STOPPING or self._sessions.has_others(self._sid)
        )
        self.handle(lifeevents.Exited(self.last.code, uptime, others_left, self._moment()))
        if others_left:
            self._sessions.when_empty(self._sid, self._emptied)

    def _emptied(self) -> None:
        self.handle(lifeevents.SessionEmptied())

    def _stop_command_ended(self, good: bool) -> None:
        if self.life.state is State.STOPPING:
            self.handle(lifeevents.StopCommandEnded(good))

    def heard(self, notice: Notice) -> None:
        """Take what the program says about itself; without a process it means nothing."""
        if self.life.state not in ALIVE:
            return
        if notice.status is not None:
            self._said = one_line(notice.status)
        if notice.extend_seconds is not None:
            self.handle(lifeevents.Extended(notice.extend_seconds))
        if notice.ready:
            self.handle(lifeevents.Ready())
        if notice.ping:
            self.handle(lifeevents.Pinged())
        if notice.trigger and self.life.state is State.RUNNING and self._timer is not None:
            self._cancel_timer()  # of the watchdog
            self._timed_out()


class _Protocol(ProcessProtocol):
    """Hands the end of one process on."""

    def __init__(self, exited: Callable[[BaseException], None]) -> None:
        self._exited = exited

    def processExited(self, reason: Failure) -> None:
        assert reason.value is not None
        self._exited(reason.value)
