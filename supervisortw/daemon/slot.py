"""One process slot as it lives: what happens to it, and what follows.

`Slot` feeds what happens to `lifecycle.step` and carries out the effects. It decides nothing itself.
There is one slot for a process, so two copies of it cannot be alive. What it remembers is written down
before and after each thing that it does, so that a later daemon can go on with it.
"""

from __future__ import annotations

import random
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from supervisortw.core import lifecycle, lifeevents, telling
from supervisortw.core.born import Born
from supervisortw.core.ended import Ended
from supervisortw.core.exits import DAEMON_DEATH, RELOAD, Exit, Oom, is_right
from supervisortw.core.lifecycle import Life
from supervisortw.core.lifeevents import Effect, Event
from supervisortw.core.memory import Memory
from supervisortw.core.model import Process, StopScope
from supervisortw.core.notify import Notice
from supervisortw.core.restart import Moment
from supervisortw.core.signals import signal_name
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import ALIVE, State
from supervisortw.core.text import one_line
from supervisortw.core.whoasked import note_who_asked
from supervisortw.daemon.admission import Admission
from supervisortw.daemon.ended import ended_by
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.stopcommand import StopCommand
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Clock, Sessions, Spawner, SpawnRequest, Timer

# Makes the request for the next process of a slot. Raises SpawnError.
Prepare = Callable[[Process, SpawnId], SpawnRequest]


class Record(Protocol):
    """Where slots write down what a later daemon has to know."""

    def process(self, name: str, memory: Memory, exit: Exit | None = None) -> None:
        """Write down what a slot remembers, and how its last process has ended."""

    def made(self, name: str, memory: Memory) -> None:
        """Write down no more than what a new process is known by; the rest comes later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What slots live by.

    ``go_on(process)`` takes over what a process that is there was given by a former daemon, and
    ``drain(process)`` takes in the output that is there, before the end of a process is told.
    ``start_clock()`` is the time by which the system tells when processes were started.
    ``wall_clock()`` is the time of day, in seconds since 1970. ``later(slot)`` calls `Slot.attend`
    once nothing is more urgent.
    """

    clock: Clock
    spawner: Spawner
    sessions: Sessions
    prepare: Prepare
    stop_command: StopCommand
    admission: Admission
    bus: EventBus
    new_spawn_id: Callable[[str], SpawnId]
    go_on: Callable[[Process], None]
    drain: Callable[[Process], None]
    start_clock: Callable[[], float]
    record: Record
    oom: OomKills
    wall_clock: Callable[[], float]
    random: Callable[[], float] = random.random
    later: Callable[[Slot], object] = lambda slot: slot.attend()


# Changes by which another process has followed on one that was there.
_FOLLOWING = {(before, State.STARTING) for before in ALIVE} | {
    (State.RUNNING, State.RUNNING),
    (State.STOPPING, State.RUNNING),
}


class Slot:
    """Keeps one process as it is wanted to be."""

    def __init__(self, program: Process, means: Means) -> None:
        self.program = program
        self.memory = Memory(since=means.clock.seconds())
        self._means = means
        self._clock = means.clock
        self._transport: IProcessTransport | None = None
        self._told = State.STOPPED
        self._said = ""
        self._spawn_began = 0.0
        self._is_new = False  # there is a process that was not seen to yet
        self._made_at: float | None = None  # by the time of day
        self._timer: Timer | None = None
        self._events: deque[Event] = deque()
        self._handling = False
        self._is_recorded = True
        self._exit: Callable[[], Exit] | None = None  # that is to be written down
        self._oom_kills: int | None = None  # at the start
        self._sent: tuple[int, str] | None = (
            None  # the last signal that was not ours, and whose it was
        )

    @property
    def life(self) -> Life:
        """The life so far."""
        return self.memory.life

    @property
    def pid(self) -> int:
        """The pid of the main process, 0 if there is none."""
        return self.memory.pid

    @property
    def detail(self) -> str:
        """Why it is in the state that it is in, as the end of a sentence."""
        memory = self.memory
        if memory.life.state is State.WAITING:
            return self._means.admission.waits_for(self)
        if memory.life.state in {State.STARTING, State.RUNNING} and self._said:
            return self._said
        if memory.before is None:
            return "not started"
        history = telling.History(
            before=memory.before,
            last=memory.last,
            alive=memory.pid != 0,
            spawn_error=memory.spawn_error,
            fault=memory.fault,
        )
        return telling.detail(self.program, memory.life, history)

    # What happens.

    def handle(self, event: Event) -> None:
        """Let an event happen, and carry out what follows from it.

        An effect may itself make an event happen at once (a spawn that fails); it waits its turn.
        """
        if self._is_new:
            self.attend()
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._step(self._events.popleft())
        finally:
            self._handling = False
        # What leads on in a moment is written down together with what comes then.
        if self.memory.life.state is not State.WAITING or not self._is_passing():
            self._record()
        self.prospects_changed()

    def prospects_changed(self) -> None:
        """Look anew at what it waits for, and at who waits for it."""

    def _step(self, event: Event) -> None:
        memory = self.memory
        before = memory.life
        memory.life, effects = lifecycle.step(before, self.program, event)
        note_who_asked(memory, self.program, event, before)
        self._is_recorded = self._is_recorded and memory.life is before
        for effect in effects:
            self._carry_out(effect)
        if memory.life.state is not before.state or memory.life.spawned is not before.spawned:
            memory.since = self._clock.seconds()
            memory.before = before.state
            if not self._is_passing():
                self._publish()
            self._means.admission.moved(self)

    def _record(self) -> None:
        if not self._is_recorded:
            self._is_recorded = True
            look, self._exit = self._exit, None
            self._means.record.process(self.program.name, self.memory, look() if look else None)

    def _is_passing(self) -> bool:
        """True in a state that is over in a moment: it only leads from one to the next."""
        life = self.memory.life
        if life.state is State.WAITING:
            return bool(self._events) or self._means.admission.is_next(self)
        return life.state is State.STARTING and not life.spawned

    def _publish(self) -> None:
        made_at, self._made_at = self._made_at, None
        change = StateChanged(
            time=self._means.wall_clock() if made_at is None else made_at,
            name=self.program.name,
            before=self._told,
            after=self.life.state,
            pid=self.pid,
            detail=self.detail or self._end_before(),
        )
        self._told = self.life.state
        self._means.bus.publish(change)

    def _end_before(self) -> str:
        """Tell how the process before this one has ended, where it has just followed on it."""
        change, last = (self._told, self.life.state), self.memory.last
        return telling.end_before(last) if last is not None and change in _FOLLOWING else ""

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case lifeevents.CancelTimer():
                self._cancel_timer()
            case lifeevents.Await():
                self._means.admission.ask(self)
            case lifeevents.Spawn():
                self._spawn()
            case lifeevents.SetTimer(seconds):
                self._set_timer(seconds)
            case lifeevents.Signal(number):
                self._signal_all(number)
            case lifeevents.RunStopCommand():
                self._run_stop_command()
            case lifeevents.CancelAwait():
                self._means.admission.cancel(self)
            case lifeevents.ExtendTimer(seconds):
                self._is_recorded = False
                self._set_timer(max(seconds, self.memory.due - self._clock.seconds()))

    def _run_stop_command(self) -> None:
        if self._transport is None:  # it has just ended, and its pid may be another one's
            self._stop_command_ended(False)
        else:
            self._means.stop_command.run(self.program, self.pid, self._stop_command_ended)

    def _signal_all(self, number: int) -> None:
        """Signal whatever the stop is for."""
        if self.program.stop_scope is StopScope.SESSION:
            self._means.sessions.signal(self.memory.sid, number)
        else:
            self.signal_leader(number)

    def signal_leader(self, number: int) -> str:
        """Send a signal to the main process; return why it was not sent, nothing if it was."""
        if self._transport is not None:
            try:
                self._transport.signalProcess(number)
            except ProcessExitedAlready:
                pass
            except PermissionError:
                return f"no permission to send {signal_name(number)} to pid {self.pid}"
            else:
                return ""
        return f"not up, {signal_name(number)} not sent"

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self.memory.due = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._timed_out)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self.handle(lifeevents.TimedOut(self._uptime(), self._moment()))

    def _uptime(self) -> float:
        return self._clock.seconds() - self.memory.started

    def _moment(self) -> Moment:
        return Moment(at=self._clock.seconds(), chance=self._means.random())

    # Being a candidate for admission.

    @property
    def is_starting(self) -> bool:
        """True from its admission until it is up, or has failed."""
        return self.memory.life.state is State.STARTING or self.is_being_made

    @property
    def is_being_made(self) -> bool:
        """True from its admission until its process is there, or could not be made."""
        memory = self.memory
        if memory.life.state is State.WAITING:
            return bool(self._events)
        return memory.life.state is State.STARTING and not memory.pid

    def admitted(self) -> None:
        """Start."""
        self.handle(lifeevents.Admitted())

    # The process.

    def protocol(self) -> IProcessProtocol:
        """Return what the transport of its process is to tell of the end."""
        return _Protocol(self._exited)

    def _spawn(self) -> None:
        memory = self.memory
        if not memory.asked:
            memory.restarts += 1
        memory.asked = memory.outdated = False
        memory.spawn_error = memory.fault = memory.stopped_by = self._said = ""
        self._sent = None
        try:
            memory.spawn = self._means.new_spawn_id(self.program.name)
            # Written down before it is there: who finds its mark later knows whose it is. How the one
            # before has ended can wait until then.
            self._is_recorded = True
            self._means.record.process(self.program.name, memory)
            self._spawn_began = self._means.start_clock()
            request = self._means.prepare(self.program, memory.spawn)
        except SpawnError as error:
            self._not_spawned(Failure(error))
            return
        self._oom_kills = self._means.oom.in_cgroup(self.program)
        spawning = self._means.spawner.spawn(self.protocol(), request)
        spawning.addCallbacks(self._spawned, self._not_spawned)

    def _spawned(self, transport: IProcessTransport) -> None:
        self._is_there(transport)
        self._means.record.made(self.program.name, self.memory)
        self._means.later(self)
        self._means.admission.moved(self)

    def _is_there(self, transport: IProcessTransport, born: Born | None = None) -> None:
        pid = transport.pid
        assert pid is not None
        self._transport = transport
        self._is_new = True
        memory = self.memory
        memory.pid = memory.sid = pid
        now = self._means.start_clock()
        memory.born = born or Born(self._spawn_began, now)
        # One that a former daemon has made is older than our knowledge of it.
        memory.started = self._clock.seconds() - max(0.0, now - memory.born.latest)
        self._made_at = self._means.wall_clock()

    def attend(self) -> None:
        """See to the process that was made, and write down how the one before has ended.

        The first is done before anything else happens to it, at the latest.
        """
        if self._is_new:
            self._is_new = False
            self.handle(lifeevents.Spawned())
            if self.memory.outdated:  # a reload has come while it was being made
                self.handle(lifeevents.RestartAsked(RELOAD))
        elif self._exit is not None:
            self.note()

    def _not_spawned(self, failure: Failure) -> None:
        failure.trap(SpawnError)
        error = failure.value
        assert isinstance(error, SpawnError)
        self.memory.spawn_error = str(error)
        self.handle(lifeevents.SpawnFailed(error.permanent, self._moment()))

    def _exited(self, reason: BaseException, *, again: bool = False) -> None:
        self._transport = None
        self.attend()
        self._means.drain(self.program)
        memory = self.memory
        uptime = self._uptime()
        memory.last = ended_by(reason, uptime)
        self._exit = self._exit_of(memory.last, again=again)
        memory.pid = 0
        # A stop is over when the whole session is empty; otherwise only the group has to be, which
        # costs no walk through all processes of the machine.
        others_left = self.program.stop_scope is StopScope.SESSION and (
            memory.life.state is State.STOPPING or self._means.sessions.has_others(memory.sid)
        )
        self._is_recorded = False
        memory.asked = memory.asked or again
        code, moment = memory.last.code, self._moment()
        self.handle(lifeevents.Exited(code, uptime, others_left, moment, again))
        if self._exit is not None:
            self._means.later(self)
        if others_left:
            self._means.sessions.when_empty(memory.sid, self._emptied)

    def _exit_of(self, ended: Ended, *, again: bool) -> Callable[[], Exit]:
        """Return what makes the record of the end of the process, which can wait."""
        memory, means, by = self.memory, self._means, ""
        is_stopped = memory.life.state is State.STOPPING
        if is_stopped:
            by = memory.stopped_by
        elif again:
            by = RELOAD if memory.outdated else DAEMON_DEATH
        elif self._sent is not None and self._sent[0] == ended.signal:
            by = self._sent[1]
        is_strange = ended.signal == signal.SIGKILL and not is_stopped and not by
        is_asked_for = is_stopped and not memory.fault
        when, program, before = means.wall_clock(), self.program, self._oom_kills

        def look() -> Exit:
            expected = is_right(program, ended.code) or is_asked_for
            oom = means.oom.verdict(program, before) if is_strange else Oom.NO
            return Exit(when=when, ended=ended, expected=expected, oom=oom, stopped_by=by)

        return look

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

    def note(self) -> None:
        """Write down how it stands, though nothing has happened to it yet."""
        self._is_recorded = False
        self._record()

    def outdate(self) -> None:
        """Take note that the process that is there was made by what is not in force any more."""
        if self.pid or self.is_being_made:
            self.memory.outdated = True
            self.note()


class _Protocol(ProcessProtocol):
    """Hands the end of one process on."""

    def __init__(self, exited: Callable[[BaseException], None]) -> None:
        self._exited = exited

    def processExited(self, reason: Failure) -> None:
        assert reason.value is not None
        self._exited(reason.value)
