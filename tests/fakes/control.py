"""A Control over plain dictionaries: what the client is tested against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fakes.events import WALL, FakeHistory
from fakes.fakelog import FakeLog
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from supervisortw.core.ended import Ended
from supervisortw.core.exits import Exit
from supervisortw.core.expand import processes_of
from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Process, Program
from supervisortw.core.selection import Index, select, unknown_name
from supervisortw.core.states import State
from supervisortw.core.status import (
    DaemonStatus,
    Explained,
    LogPiece,
    Outcome,
    ProgramStatus,
    ReloadAnswer,
    Result,
    Why,
)
from supervisortw.daemon.events import StateChanged
from supervisortw.errors import Refused
from supervisortw.interfaces import Cancel

START_SECONDS, STOP_SECONDS = 1.0, 0.5
SIGNALS = {"HUP", "TERM", "USR1"}


@dataclass
class FakeProgram:
    """How one program stands; ``broken`` is why it cannot be started.

    Nothing of what it writes can be read back if it is ``unread``.
    """

    state: State = State.STOPPED
    pid: int = 0
    detail: str = "not started"
    log: FakeLog = field(default_factory=FakeLog)
    stdin: bytes = b""
    broken: str = ""
    unread: bool = False
    restarts: int = 0
    exits: list[Exit] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    waiting: list[Deferred[None]] = field(default_factory=list)
    timer: IDelayedCall | None = None


class FakeControl:
    """A daemon that only pretends.

    ``reload_answer`` is what `reload` and `reread` answer, or raise. ``asked`` tells what was asked
    for, with its arguments.
    """

    def __init__(self, clock: Clock, names: Iterable[str] = (), *, pid: int = 4321) -> None:
        self.programs = {name: FakeProgram() for name in names}
        self.own_log = FakeLog()
        self.asked: list[tuple[object, ...]] = []
        self.reload_answer: ReloadAnswer | Exception = ReloadAnswer(
            source="/etc/test.conf", lines=(), warnings=()
        )
        self.notes: tuple[str, ...] = ()
        self.history = FakeHistory(clock)
        self.ended = 0
        self.pid = pid
        self._clock = clock
        self._last_pid = 100
        self._shutting_down = False

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        self.asked.append(("status", *names))
        chosen, unknown = self._select(names or ["all"])
        return DaemonStatus(
            version="1.2.3",
            pid=self.pid,
            sockets=("/run/test.sock",),
            source="/etc/test.conf",
            uptime=60.0,
            shutting_down=self._shutting_down,
            notes=self.notes,
            programs=tuple(self._stand(name) for name in chosen),
            unknown=tuple(unknown),
        )

    def _stand(self, name: str) -> ProgramStatus:
        program = self.programs[name]
        wanted = program.state in (State.STARTING, State.RUNNING)
        process = _process(name)
        return ProgramStatus(
            name=name,
            program=process.program,
            group=process.group,
            state=program.state,
            wanted=wanted,
            pid=program.pid,
            since=5.0,
            restarts=program.restarts,
            detail=program.detail,
        )

    async def why(self, names: Sequence[str]) -> Explained:
        self.asked.append(("why", *names))
        chosen, unknown = self._select(names)
        if len(chosen) > LIMITS.explained_at_once:
            raise Refused(f"at most {LIMITS.explained_at_once} processes at once")
        return Explained(programs=tuple(map(self._why, chosen)), unknown=tuple(unknown))

    def _why(self, name: str) -> Why:
        program, status = self.programs[name], self._stand(name)
        detail = f": {program.detail}" if program.detail else ""
        return Why(
            status=status,
            cause=f"{name} is {status.state.value}{detail}",
            waits_for=(),
            next_try=None,
            tries_left=3,
            restarts_left=None,
            exits=tuple(program.exits),
            log=name,
        )

    async def start(self, names: Sequence[str]) -> list[Outcome]:
        self.asked.append(("start", *names))
        self._refuse_while_shutting_down()
        return await self._each(names, self._start)

    async def stop(self, names: Sequence[str], *, all_of_it: bool = False) -> list[Outcome]:
        self.asked.append(("stop --all-of-it" if all_of_it else "stop", *names))
        return await self._each(names, self._stop)

    async def restart(self, names: Sequence[str]) -> list[Outcome]:
        self.asked.append(("restart", *names))
        self._refuse_while_shutting_down()
        return await self._each(names, self._restart)

    async def signal(self, signame: str, names: Sequence[str]) -> list[Outcome]:
        self.asked.append(("signal", signame, *names))
        if signame.removeprefix("SIG") not in SIGNALS:
            raise Refused(f"no such signal: {signame}")
        chosen, unknown = self._select(names)
        return [self._signal(signame, name) for name in chosen] + unknown

    def _signal(self, signame: str, name: str) -> Outcome:
        program = self.programs[name]
        if not program.pid:
            return Outcome(name=name, result=Result.FAILED, text="not up")
        program.signals.append(signame)
        return Outcome(name=name, result=Result.SIGNALLED, text=f"sent to pid {program.pid}")

    async def scale(self, name: str, count: int) -> list[Outcome]:
        self.asked.append(("scale", name, count))
        self._refuse_while_shutting_down()
        raise Refused(f"{name}: {self._why_not_scaled(name)}")

    def _why_not_scaled(self, name: str) -> str:
        if name in self.programs:
            return "has no key 'processes', so it is always one process"
        return unknown_name(name, self.programs).text

    async def write_stdin(self, data: bytes, names: Sequence[str]) -> list[Outcome]:
        self.asked.append(("write_stdin", data, *names))
        chosen, unknown = self._select(names)
        return [self._written(name, data) for name in chosen] + unknown

    def _written(self, name: str, data: bytes) -> Outcome:
        if not self.programs[name].pid:
            return Outcome(name=name, result=Result.FAILED, text="not up, nothing written")
        self.programs[name].stdin += data
        return Outcome(name=name, result=Result.WRITTEN, text=f"{len(data)} bytes written")

    async def reload(self) -> ReloadAnswer:
        self.asked.append(("reload",))
        self._refuse_while_shutting_down()
        return self._reload_answer()

    async def reread(self) -> ReloadAnswer:
        self.asked.append(("reread",))
        return self._reload_answer()

    def _reload_answer(self) -> ReloadAnswer:
        if isinstance(self.reload_answer, Exception):
            raise self.reload_answer
        return self.reload_answer

    async def shutdown(self) -> list[Outcome]:
        self.asked.append(("shutdown",))
        again, self._shutting_down = self._shutting_down, True
        outcomes = await self._each(["all"], self._stop)
        if not again:
            self._clock.callLater(0, self._end)
        return outcomes

    def _end(self) -> None:
        self.ended += 1

    async def tail(self, name: str | None, lines: int) -> LogPiece:
        self.asked.append(("tail", name, lines))
        return self._log(name).tail(lines)

    async def read_log(self, name: str | None, offset: int, length: int) -> LogPiece:
        return self._log(name).read(offset, length)

    async def clear(self, names: Sequence[str]) -> list[Outcome]:
        self.asked.append(("clear", *names))
        chosen, unknown = self._select(names)
        for name in chosen:
            self.write(name, None)
        cleared = [Outcome(name=name, result=Result.CLEARED, text="log cleared") for name in chosen]
        return cleared + unknown

    def watch_log(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        return self._log(name).watch(grown)

    async def events(self, after: int, limit: int) -> EventsAnswer:
        return self.history.answer(after, limit)

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        return self.history.watch(told)

    # What a test lets happen.

    def write(self, name: str | None, data: bytes | None) -> None:
        """Let a program write ``data``, or its log be emptied."""
        log = self._log(name)
        if data is None:
            log.clear()
        else:
            log.write(data)

    # How it pretends.

    def _log(self, name: str | None) -> FakeLog:
        if name is None:
            return self.own_log
        if name not in self.programs:
            raise Refused(f"{name}: {unknown_name(name, self.programs).text}")
        if self.programs[name].unread:
            raise Refused(f"{name}: nothing is kept")
        return self.programs[name].log

    def _select(self, names: Sequence[str]) -> tuple[list[str], list[Outcome]]:
        index = Index(map(_process, self.programs))
        return select(names, index, lambda name: bool(self.programs[name].pid))

    def _refuse_while_shutting_down(self) -> None:
        if self._shutting_down:
            raise Refused("supervisord is shutting down")

    async def _each(
        self, names: Sequence[str], act: Callable[[str], Deferred[Outcome]]
    ) -> list[Outcome]:
        chosen, unknown = self._select(names)
        acts = [act(name) for name in chosen]
        return [*await gatherResults(acts, consumeErrors=True), *unknown]

    def _start(self, name: str) -> Deferred[Outcome]:
        program = self.programs[name]
        if program.state is State.RUNNING:
            return _at_once(name, Result.ALREADY_UP, f"already up, pid {program.pid}")
        if program.state is not State.STARTING:
            self._begin(program)
        return self._settled(name, Result.STARTED)

    def _restart(self, name: str) -> Deferred[Outcome]:
        self._begin(self.programs[name])
        return self._settled(name, Result.RESTARTED)

    def _stop(self, name: str) -> Deferred[Outcome]:
        program = self.programs[name]
        if not program.pid:
            return _at_once(name, Result.ALREADY_DOWN, "already down")
        if program.state is not State.STOPPING:
            self._enter(program, State.STOPPING)
            self._later(program, STOP_SECONDS, State.STOPPED)
        return self._settled(name, Result.STOPPED)

    def _begin(self, program: FakeProgram) -> None:
        if program.broken:
            program.pid, program.detail = 0, program.broken
            self._enter(program, State.FATAL)
            return
        self._last_pid += 1
        program.pid, program.detail = self._last_pid, ""
        self._enter(program, State.STARTING)
        self._later(program, START_SECONDS, State.RUNNING)

    def _later(self, program: FakeProgram, seconds: float, state: State) -> None:
        if program.timer is not None and program.timer.active():
            program.timer.cancel()
        program.timer = self._clock.callLater(seconds, self._become, program, state)

    def _become(self, program: FakeProgram, state: State) -> None:
        if state is State.STOPPED:
            program.pid, program.detail = 0, "stopped; ended by SIGTERM after 1.0 s"
            ended = Ended(code=None, signal=15, core=False, uptime=1.0)
            program.exits.append(Exit(when=1e9, ended=ended, expected=True, stopped_by="root"))
        self._enter(program, state)
        waiting, program.waiting = program.waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _enter(self, program: FakeProgram, state: State) -> None:
        before, program.state = program.state, state
        [name] = [name for name, each in self.programs.items() if each is program]
        self.history.changed(
            StateChanged(
                time=WALL + self._clock.seconds(),
                name=name,
                before=before,
                after=state,
                pid=program.pid,
                detail=program.detail,
            )
        )

    def _settled(self, name: str, good: Result) -> Deferred[Outcome]:
        program = self.programs[name]
        waiter: Deferred[None] = Deferred()
        if program.state in (State.STARTING, State.STOPPING):
            program.waiting.append(waiter)
        else:
            waiter.callback(None)
        return waiter.addCallback(lambda _: self._outcome(name, good))

    def _outcome(self, name: str, good: Result) -> Outcome:
        program = self.programs[name]
        wanted = State.STOPPED if good is Result.STOPPED else State.RUNNING
        if program.state is wanted:
            pid = f", pid {program.pid}" if program.pid else ""
            return Outcome(name=name, result=good, text=f"{good.value}{pid}")
        if program.state is State.FATAL:
            return Outcome(name=name, result=Result.FAILED, text=program.detail)
        return Outcome(name=name, result=Result.SUPERSEDED, text="superseded")


def _process(name: str) -> Process:
    """Return the process of that name: GROUP:PROGRAM, GROUP:PROGRAM_NUMBER, or PROGRAM."""
    (process,) = processes_of(Program(name=name, command=(name,)))
    group, _, own = name.rpartition(":")
    return replace(process, program=own.rpartition("_")[0] or own, group=group or own)


def _at_once(name: str, result: Result, text: str) -> Deferred[Outcome]:
    outcome: Deferred[Outcome] = Deferred()
    outcome.callback(Outcome(name=name, result=result, text=text))
    return outcome
