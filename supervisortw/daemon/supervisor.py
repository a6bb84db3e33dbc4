"""The daemon's side of `Control`: all programs of one configuration, and what is asked of them."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred, gatherResults
from twisted.logger import Logger

from supervisortw.core import lifecycle
from supervisortw.core.environment import build
from supervisortw.core.model import Configuration, Program
from supervisortw.core.plan import Plan, ProgramStep, Step, plan
from supervisortw.core.selection import select, unknown_name
from supervisortw.core.signals import signal_number
from supervisortw.core.status import (
    DaemonStatus,
    LogPiece,
    Outcome,
    ReloadAnswer,
    Result,
)
from supervisortw.daemon.envfiles import read_all
from supervisortw.daemon.events import EventBus
from supervisortw.daemon.identity import identity_of
from supervisortw.daemon.output import Output
from supervisortw.daemon.process import ManagedProcess
from supervisortw.daemon.turns import Turns
from supervisortw.errors import ConfigError, LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel, Clock, Sessions, Spawner, SpawnRequest

log = Logger(namespace="supervisor")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the supervisor needs from outside, each of it replaceable in a test.

    ``load`` reads the configuration file again; it raises ConfigError. ``apply`` applies the changed
    settings of the daemon itself and returns what the operator should know about it. ``end`` is
    called once everything has been stopped by `shutdown`. ``umask`` and ``directory`` are what
    programs start with.
    """

    clock: Clock
    spawner: Spawner
    sessions: Sessions
    bus: EventBus
    environment: Mapping[str, str]
    output_for: Callable[[Program], Output]
    daemon_log: Output
    load: Callable[[], Deferred[Configuration]]
    apply: Callable[[Configuration, Configuration], Deferred[Sequence[str]]]
    notes: Callable[[], Sequence[str]]
    end: Callable[[], None]
    version: str
    random: Callable[[], float] = random.random


class Supervisor:
    """Keeps the programs of a configuration as they are wanted to be; see `Control`."""

    def __init__(self, configuration: Configuration, surroundings: Surroundings) -> None:
        self.configuration = configuration
        self._around = surroundings
        self._processes: dict[str, ManagedProcess] = {}
        self._outputs: dict[str, Output] = {}
        self._watches: list[_LogWatch] = []
        self._withheld_told: set[str] = set()
        self._turns = Turns(surroundings.clock)
        self._born = surroundings.clock.seconds()
        self._shutdown: Deferred[list[Outcome]] | None = None
        self._reloading = DeferredLock()
        for program in configuration.programs.values():
            self._add(program)

    def boot(self) -> None:
        """Start the programs that start by themselves, lowest priority number first."""
        for process in self._in_start_order(self._processes):
            if process.program.auto_start:
                process.handle(lifecycle.StartAsked())

    # Control.

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        """Tell how the daemon and the named programs stand; no names means all."""
        chosen, unknown = self._select(names or ["all"])
        return DaemonStatus(
            version=self._around.version,
            pid=os.getpid(),
            sockets=tuple(str(address) for address in self.configuration.settings.sockets),
            source=self.configuration.source,
            uptime=self._around.clock.seconds() - self._born,
            shutting_down=self._shutdown is not None,
            notes=tuple(self._around.notes()),
            programs=tuple(self._processes[name].status() for name in chosen),
            unknown=tuple(unknown),
        )

    async def start(self, names: Sequence[str]) -> list[Outcome]:
        """Start what is down, lowest priority number first, and wait for all of it."""
        self._refuse_while_shutting_down()
        chosen, unknown = self._select(names)
        processes = self._in_start_order(chosen)
        outcomes = await _all([process.start() for process in processes])
        return self._in_asked_order(chosen, outcomes) + unknown

    async def stop(self, names: Sequence[str]) -> list[Outcome]:
        """Stop what is up, highest priority number first: lower ones are stopped after they are gone."""
        chosen, unknown = self._select(names)
        outcomes = await self._stop_in_waves(chosen)
        return self._in_asked_order(chosen, outcomes) + unknown

    async def restart(self, names: Sequence[str]) -> list[Outcome]:
        """Restart each program by one event of its own, lowest priority number first."""
        self._refuse_while_shutting_down()
        chosen, unknown = self._select(names)
        outcomes = await _all([process.restart() for process in self._in_start_order(chosen)])
        return self._in_asked_order(chosen, outcomes) + unknown

    async def signal(self, signame: str, names: Sequence[str]) -> list[Outcome]:
        """Send a signal to the main process of each program. Raises Refused for an unknown signal."""
        try:
            number = signal_number(signame)
        except ValueError as error:
            raise Refused(str(error)) from None
        chosen, unknown = self._select(names)
        return [self._processes[name].signal(number) for name in chosen] + unknown

    async def reload(self) -> ReloadAnswer:
        """Read the configuration again and apply it; all or nothing. Raises Refused with the problems."""
        self._refuse_while_shutting_down()
        return await self._reloading.run(lambda: ensureDeferred(self._reload()))

    async def reread(self) -> ReloadAnswer:
        """Tell what `reload` would do. Raises Refused with the problems."""
        new = await self._load()
        return ReloadAnswer(source=new.source, lines=self._plan(new).lines(), warnings=new.warnings)

    async def shutdown(self) -> list[Outcome]:
        """Stop every program, then end the daemon. Asked again, it waits for the first one's end."""
        if self._shutdown is None:
            log.info("shutting down")
            self._shutdown = ensureDeferred(self._stop_in_waves(list(self._processes)))
            self._shutdown.addCallback(self._end)
        return await _branch(self._shutdown)

    async def tail(self, name: str | None, lines: int) -> LogPiece:
        """Return the last lines of a log."""
        return self._output(name).tail(lines)

    async def read_log(self, name: str | None, offset: int, length: int) -> LogPiece:
        """Return a piece of a log."""
        return self._output(name).read(offset, length)

    async def clear(self, names: Sequence[str]) -> list[Outcome]:
        """Empty the logs of the named programs."""
        chosen, unknown = self._select(names)
        return [self._clear(name) for name in chosen] + unknown

    def watch_log(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` each time a log has changed, also when a reload gives it another file."""
        watch = _LogWatch(name, grown, self._output(name).watch(grown))
        self._watches.append(watch)

        def stop() -> None:
            self._watches.remove(watch)
            watch.cancel()

        return stop

    # How it is done.

    def _add(self, program: Program) -> ManagedProcess:
        self._outputs[program.name] = self._around.output_for(program)
        process = self._processes[program.name] = ManagedProcess(
            program,
            clock=self._around.clock,
            spawner=self._around.spawner,
            sessions=self._around.sessions,
            prepare=self._prepare,
            bus=self._around.bus,
            random=self._around.random,
            turns=self._turns,
        )
        return process

    @contextmanager
    def _prepare(self, program: Program) -> Iterator[SpawnRequest]:
        """Make everything ready for a process of ``program``. Raises SpawnError."""
        identity = identity_of(program.user, program.group)
        login = identity.login if identity else None
        given = read_all(program.environment_files)
        directory = _working_directory()
        environment, withheld = build(program, self._around.environment, login, given)
        if withheld and program.name not in self._withheld_told:
            self._withheld_told.add(program.name)
            log.info(
                "{name} does not get these variables of supervisord: {withheld}",
                name=program.name,
                withheld=", ".join(withheld),
            )
        settings = self.configuration.settings
        writer = self._outputs[program.name].writer()
        try:
            yield SpawnRequest(
                command=program.command,
                environment=environment,
                output=writer,
                identity=identity,
                umask=settings.umask if program.umask is None else program.umask,
                directory=directory,
            )
        finally:
            os.close(writer)

    def _select(self, words: Sequence[str]) -> tuple[list[str], list[Outcome]]:
        up = {name: process.up for name, process in self._processes.items()}
        return select(words, up)

    def _in_start_order(self, names: Iterable[str]) -> list[ManagedProcess]:
        processes = [self._processes[name] for name in names]
        return sorted(processes, key=lambda process: process.program.priority)

    def _in_asked_order(self, names: Sequence[str], outcomes: list[Outcome]) -> list[Outcome]:
        by_name = {outcome.name: outcome for outcome in outcomes}
        return [by_name[name] for name in names]

    async def _stop_in_waves(self, names: Iterable[str]) -> list[Outcome]:
        """Stop the programs of one priority together, the highest number first."""
        outcomes: list[Outcome] = []
        last_first = reversed(self._in_start_order(names))
        for _, wave in groupby(last_first, key=lambda process: process.program.priority):
            outcomes += await _all([process.stop() for process in wave])
        return outcomes

    def _end(self, outcomes: list[Outcome]) -> list[Outcome]:
        # In the next turn, so that those who asked get their answer first.
        self._around.clock.callLater(0, self._around.end)
        return outcomes

    def _refuse_while_shutting_down(self) -> None:
        if self._shutdown is not None:
            raise Refused("supervisord is shutting down")

    def _output(self, name: str | None) -> Output:
        if name is None:
            return self._around.daemon_log
        if name not in self._outputs:
            raise Refused(f"{name}: {unknown_name(name, self._outputs).text}")
        return self._outputs[name]

    def _clear(self, name: str) -> Outcome:
        try:
            self._outputs[name].clear()
        except Refused as refusal:
            return Outcome(name=name, result=Result.FAILED, text=str(refusal))
        return Outcome(name=name, result=Result.CLEARED, text="log cleared")

    def reopen_logs(self) -> None:
        """Open every log anew by its name, since somebody has moved the files away."""
        for name, output in [("supervisord", self._around.daemon_log), *self._outputs.items()]:
            try:
                output.reopen()
            except LocalError as error:
                log.error("log of {name} not reopened: {error}", name=name, error=error)

    async def _load(self) -> Configuration:
        try:
            return await self._around.load()
        except ConfigError as error:
            raise Refused(f"the configuration was left as it is:\n{error}") from None

    def _plan(self, new: Configuration) -> Plan:
        up = {name for name, process in self._processes.items() if process.going_up}
        return plan(self.configuration, new, up)

    async def _reload(self) -> ReloadAnswer:
        new = await self._load()
        self._refuse_while_shutting_down()
        todo = self._plan(new)
        old, self.configuration = self.configuration, new
        remarks = await self._around.apply(old, new)
        self._refuse_while_shutting_down()  # that has begun meanwhile, and would miss new programs
        outcomes = await _all([self._carry_out(step, new) for step in _in_order(todo, new)])
        log.info("reloaded {source}; changes: {count}", source=new.source, count=len(todo.lines()))
        return ReloadAnswer(
            source=new.source,
            lines=todo.lines(),
            warnings=(*new.warnings, *remarks),
            outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        )

    async def _carry_out(self, step: ProgramStep, new: Configuration) -> Outcome | None:
        if step.step is Step.REMOVE:
            return await self._remove(step.name)
        program = new.programs[step.name]
        if step.step is Step.ADD:
            added = self._add(program)
            return await added.start() if program.auto_start else None
        process = self._processes[step.name]
        before, process.program = process.program, program
        outdated = self._replace_output(before, program)
        outcome = await process.restart() if step.step is Step.RESTART else None
        if outdated is not None:
            await process.settled()  # a process that is being stopped still writes to it
            outdated.close()
        return outcome

    async def _remove(self, name: str) -> Outcome:
        process = self._processes[name]
        outcome = await process.stop()
        while outcome.result is Result.SUPERSEDED:  # who starts it now cannot keep it
            outcome = await process.stop()
        del self._processes[name]
        self._outputs.pop(name).close()
        self._watch_again(name)
        return outcome

    def _replace_output(self, before: Program, after: Program) -> Output | None:
        """Give the program's next process a new output if it needs one; return the old one."""
        if (before.logfile, before.user) == (after.logfile, after.user):
            return None
        outdated = self._outputs[after.name]
        self._outputs[after.name] = self._around.output_for(after)
        self._watch_again(after.name)
        return outdated

    def _watch_again(self, name: str) -> None:
        """Let those who follow a log notice that it is another one, or that there is none any more."""
        for watch in [each for each in self._watches if each.name == name]:
            watch.cancel()
            watch.cancel = _nothing
            with contextlib.suppress(Refused):  # they learn it when they read
                watch.cancel = self._output(name).watch(watch.grown)
            watch.grown()


@dataclass(slots=True)
class _LogWatch:
    """Somebody who wants to know when a log changes."""

    name: str | None
    grown: Callable[[], None]
    cancel: Cancel


def _nothing() -> None:
    pass


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        reason = f"the working directory of supervisord is gone: {error.strerror}"
        raise SpawnError(reason, permanent=True) from None


def _in_order(todo: Plan, new: Configuration) -> list[ProgramStep]:
    """Return the steps with the removals first, then by priority."""

    def order(step: ProgramStep) -> tuple[bool, int]:
        program = new.programs.get(step.name)
        return program is not None, program.priority if program else 0

    return sorted(todo.programs, key=order)


async def _all(waits: Sequence[Coroutine[Deferred[Any], Any, Answer]]) -> list[Answer]:
    """Begin all of ``waits`` in order, and return their answers when all are there."""
    running = [ensureDeferred(wait) for wait in waits]
    return list(await gatherResults(running, consumeErrors=True))


def _branch(source: Deferred[Answer]) -> Deferred[Answer]:
    """Return a Deferred of one's own for the result of one that several wait for."""
    branch: Deferred[Answer] = Deferred()

    def pass_on(result: Answer) -> Answer:
        branch.callback(result)
        return result

    source.addCallback(pass_on)
    return branch
