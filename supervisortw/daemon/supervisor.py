"""The daemon's side of `Control`: all programs of one configuration, and what is asked of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core import lifeevents
from supervisortw.core.exits import SHUTDOWN
from supervisortw.core.happening import EventsAnswer, Kind
from supervisortw.core.model import STDERR, Configuration, unknown_process
from supervisortw.core.notify import Notice
from supervisortw.core.order import with_dependencies
from supervisortw.core.plan import Plan, Step, plan
from supervisortw.core.selection import unknown_name
from supervisortw.core.signals import signal_number
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State
from supervisortw.core.status import (
    DaemonStatus,
    Explained,
    LogPiece,
    Outcome,
    ReloadAnswer,
    Result,
)
from supervisortw.daemon.admission import Admission
from supervisortw.daemon.answers import end_escaped, in_asked_order, tell_escaped, told
from supervisortw.daemon.events import StateChanged
from supervisortw.daemon.explaining import explain_all
from supervisortw.daemon.identity import Identities
from supervisortw.daemon.logs.outputs import Outputs
from supervisortw.daemon.phases import starting
from supervisortw.daemon.preparation import Preparation
from supervisortw.daemon.process import ManagedProcess
from supervisortw.daemon.renewal import Renewal
from supervisortw.daemon.roster import Roster
from supervisortw.daemon.slot import Means
from supervisortw.daemon.stopcommand import StopCommand
from supervisortw.daemon.surroundings import Surroundings
from supervisortw.daemon.together import all_of, branch_of, in_turns
from supervisortw.daemon.turns import Turns
from supervisortw.errors import ConfigError, LocalError, Refused
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")


class Supervisor:
    """Keeps the programs of a configuration as they are wanted to be; see `Control`."""

    def __init__(self, configuration: Configuration, surroundings: Surroundings) -> None:
        self.configuration = configuration
        self.outputs = Outputs(surroundings.daemon_log, surroundings.output_for)
        self.roster = Roster()
        around = self._around = surroundings
        self.admission = Admission(
            around.clock,
            self.roster.prospect,
            together=partial(starting, around.journal, around.spawner),
            at_once=around.room.starts_at_once,
            max_starting=configuration.settings.max_starting,
            start_delay=configuration.settings.start_delay,
        )
        self._preparation = Preparation(
            environment=around.environment,
            settings=lambda: self.configuration.settings,
            identities=Identities(around.clock),
            outputs=self.outputs,
            stdin=around.stdin,
            sockets=around.sockets,
            notices=around.notices,
            cgroups=around.cgroups,
            heard=self._heard,
            check_room=around.room.check,
        )
        stop_command = StopCommand(
            around.clock, around.spawner, around.sessions, self._preparation.stop_command
        )
        means = Means(
            clock=around.clock,
            spawner=around.spawner,
            sessions=around.sessions,
            prepare=self._preparation.process,
            stop_command=stop_command,
            admission=self.admission,
            bus=around.bus,
            new_spawn_id=self._new_spawn_id,
            go_on=self._preparation.go_on,
            drain=self.outputs.drain,
            start_clock=around.start_clock,
            record=around.journal,
            random=around.random,
            oom=around.oom,
            wall_clock=around.wall_clock,
            later=around.later,
        )
        self._renewal = Renewal(
            self.roster,
            self.outputs,
            self.admission,
            make=lambda record: ManagedProcess(record, means),
            make_room=around.room.make,
            forget=self._forget,
            unscaled=around.journal.unscaled,
        )
        # Asking thousands of processes to start takes a while by itself.
        self._turns = Turns(around.clock)
        self._born = around.clock.seconds()
        self._shutdown: Deferred[list[Outcome]] | None = None
        left = around.left
        self._spawns = left.spawns
        self._exit_code = left.exit_code
        self._reloading = DeferredLock()
        around.bus.subscribe(self._state_changed)
        for name, (said, count) in left.scaled.items():
            if name in configuration.programs and configuration.programs[name].processes == said:
                self._renewal.scale(configuration.programs[name], count)
        for process in self._renewal.layout(configuration).processes.values():
            self._renewal.add(process)
        self._renewal.arrange(configuration)

    def boot(self) -> None:
        """Go on with what is there; start what starts by itself, and what that depends on."""
        self._around.room.make(self._renewal.layout_now(self.configuration))
        self._around.remembered.load()
        known = {*self._go_on(), *self._prune_remembered()}
        if self._around.left.ending:
            ensureDeferred(self.shutdown())
        if self._shutdown is not None:  # also because something essential has ended meanwhile
            return
        wanted = []
        for process in self.roster:
            if process.program.name not in known:
                if process.program.auto_start:
                    wanted.append(process.program.name)
                else:
                    self._turns.take(process.note)
        for process in self.roster.in_start_order(self._with_dependencies(wanted)):
            self._turns.take(partial(process.handle, lifeevents.StartAsked()))

    def _prune_remembered(self) -> Collection[str]:
        """Forget stops of what is not there, or not to be remembered any more; return the others."""
        remembered = self._around.remembered
        records = self.roster.records()
        outdated = [
            name for name in remembered if name not in records or not records[name].remember
        ]
        remembered.started(outdated).addErrback(_log_trouble)
        return list(remembered)

    def _go_on(self) -> Collection[str]:
        """Go on with the processes of the daemon before; return their names."""
        adoption, left = self._around.adoption, self._around.left
        if adoption is None:
            return ()
        removed = []
        for name, memory in list(left.processes.items()):
            if name not in self.roster:  # a reload was removing it
                if not memory.pid and memory.life.state is not State.STOPPING:
                    del left.processes[name]
                    self._around.journal.gone(name)
                    continue
                removed.append(name)
                self._renewal.add(unknown_process(name))
            self.roster[name].remember(memory)
        self._renewal.arrange(self.configuration)
        strays = adoption.find_strays(
            each for each in self.roster if each.program.name not in left.processes
        )
        known = [*left.processes, *(each.program.name for each in strays)]
        adoption.carry_out(self.roster.in_start_order(known))
        self._around.journal.write_anew()
        for name in removed:
            log.info("{name} is not in the configuration any more", name=name)
        # As a reload would do it: whoever changes anything meanwhile, waits.
        self._reloading.run(lambda: ensureDeferred(self._renewal.remove_all(removed)))
        return () if left.afresh else known

    # Control.

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        """Tell how the daemon and the named programs stand; no names means all."""
        chosen, unknown = self.roster.select(names or ["all"])
        return DaemonStatus(
            version=self._around.version,
            pid=os.getpid(),
            sockets=tuple(str(address) for address in self.configuration.settings.sockets),
            source=self.configuration.source,
            uptime=self._around.clock.seconds() - self._born,
            shutting_down=self._shutdown is not None,
            notes=tuple(self._around.notes()),
            programs=tuple(self.roster[name].status() for name in chosen),
            unknown=tuple(unknown),
        )

    async def why(self, names: Sequence[str]) -> Explained:
        """Tell why the named processes are as they are."""
        chosen, unknown = self.roster.select(names)
        around = self._around
        whys = explain_all(self.roster, chosen, around.journal.exits, around.clock.seconds())
        return Explained(programs=whys, unknown=tuple(unknown))

    async def start(self, names: Sequence[str]) -> list[Outcome]:
        """Start what is down, and what it depends on, in the order of starts; wait for all of it."""
        self._refuse_while_shutting_down()
        chosen, unknown = self.roster.select(names)
        chosen = self._with_dependencies(chosen)
        processes = self.roster.in_start_order(chosen)
        forgotten = self._around.remembered.started(chosen)
        outcomes = await in_turns(self._turns, [process.start() for process in processes])
        outcomes = await told(forgotten, chosen, outcomes)
        return in_asked_order(chosen, outcomes) + unknown

    async def stop(
        self, names: Sequence[str], *, all_of_it: bool = False, by: str = ""
    ) -> list[Outcome]:
        """Stop what is up in the reverse order: each wave when the one before is gone."""
        chosen, unknown = self.roster.select(names)
        processes = {name: self.roster[name] for name in chosen}  # a reload may remove them
        outcomes = await self._stop_in_waves(chosen, by)
        tell = end_escaped if all_of_it else tell_escaped
        outcomes = await all_of([tell(processes[each.name], each) for each in outcomes])
        outcomes = [self._with_dependants(processes[each.name], each) for each in outcomes]
        remembered = [name for name, each in processes.items() if each.program.remember]
        outcomes = await told(self._around.remembered.stopped(remembered), remembered, outcomes)
        return in_asked_order(chosen, outcomes) + unknown

    async def restart(self, names: Sequence[str], *, by: str = "") -> list[Outcome]:
        """Restart each process by one event of its own; dependants end before what they depend on."""
        self._refuse_while_shutting_down()
        chosen, unknown = self.roster.select(names)
        forgotten = self._around.remembered.started(chosen)
        outcomes = await told(forgotten, chosen, await self._restart(chosen, by))
        return in_asked_order(chosen, outcomes) + unknown

    async def scale(self, name: str, count: int) -> list[Outcome]:
        """Have ``count`` processes of a program. Raises Refused."""
        self._refuse_while_shutting_down()
        return await self._reloading.run(lambda: ensureDeferred(self._scale(name, count)))

    async def signal(self, signame: str, names: Sequence[str], *, by: str = "") -> list[Outcome]:
        """Send a signal to the main process of each program. Raises Refused for an unknown signal."""
        try:
            number = signal_number(signame)
        except ValueError as error:
            raise Refused(str(error)) from None
        chosen, unknown = self.roster.select(names)
        return [self.roster[name].signal(number, by) for name in chosen] + unknown

    async def write_stdin(self, data: bytes, names: Sequence[str]) -> list[Outcome]:
        """Write to the standard input of programs that have it from a pipe."""
        chosen, unknown = self.roster.select(names)
        return [self._write(name, data) for name in chosen] + unknown

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
            self._around.history.note(Kind.DAEMON, "shutting down")
            self._around.journal.ending(self._exit_code)
            names = [process.program.name for process in self.roster]
            self._shutdown = ensureDeferred(self._stop_in_waves(names, SHUTDOWN))
            self._shutdown.addCallback(self._end)
        return await branch_of(self._shutdown)

    async def tail(self, name: str | None, lines: int) -> LogPiece:
        """Return the last lines of a log."""
        return self.outputs.find(self._log_name(name)).tail(lines)

    async def read_log(self, name: str | None, offset: int, length: int) -> LogPiece:
        """Return a piece of a log."""
        return self.outputs.find(self._log_name(name)).read(offset, length)

    async def clear(self, names: Sequence[str]) -> list[Outcome]:
        """Empty the logs of the named programs."""
        chosen, unknown = self.roster.select(names)
        return [self._clear(name) for name in chosen] + unknown

    def watch_log(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` each time a log has changed, also when a reload gives it another file."""
        return self.outputs.watch(self._log_name(name), grown)

    async def events(self, after: int, limit: int) -> EventsAnswer:
        """Tell what has happened after the event of that number."""
        return self._around.history.answer(after, limit)

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        """Call ``told`` once whenever something has happened, however much it is."""
        return self._around.history.watch(told)

    # How it is done.

    def _with_dependants(self, process: ManagedProcess, outcome: Outcome) -> Outcome:
        """Add to the answer to a stop who depends on the program and goes on."""
        if outcome.result is not Result.STOPPED:
            return outcome
        dependants = self.roster.dependants_up(process.program.program)
        if not dependants:
            return outcome
        told = f"still up, and depending on it: {', '.join(dependants)}"
        return replace(outcome, text=f"{outcome.text}; {told}")

    def _new_spawn_id(self, name: str) -> SpawnId:
        self._spawns += 1
        return SpawnId(daemon=self._around.token, name=name, number=self._spawns)

    def _forget(self, name: str) -> None:
        self._around.stdin.close(name)
        self._around.notices.close(name)
        self._around.cgroups.remove(name)
        self._around.journal.gone(name)

    def _with_dependencies(self, names: Sequence[str]) -> list[str]:
        """Return ``names``, and the processes that these depend on and that are not ready."""
        programs = self.configuration.programs
        depends = {name: program.depends_on for name, program in programs.items()}
        own = list(dict.fromkeys(self.roster[name].program.program for name in names))
        others = with_dependencies(own, depends)[len(own) :]
        needed = [each for name in others for each in self.roster.of_program(name)]
        missing = [each.program.name for each in needed if not each.prospect.ready]
        return list(dict.fromkeys([*names, *missing]))

    async def _stop_in_waves(self, names: Iterable[str], by: str) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for wave in self.roster.stop_waves(names):
            # All at once: in turns, the ends of the first would keep the others waiting.
            outcomes += await all_of([process.stop(by) for process in wave])
        return outcomes

    async def _restart(self, names: Sequence[str], by: str) -> list[Outcome]:
        """Begin the restarts wave by wave, and wait for all of them together.

        Whoever has ended waits until what it depends on is ready again, which it is not before its own
        restart.
        """
        own = {self.roster[name].program.program for name in names}
        related = any(own.intersection(self.roster[name].program.depends_on) for name in names)
        if not related:
            in_order = self.roster.in_start_order(names)
            return await all_of([each.restart(by) for each in in_order])
        restarting: list[Deferred[Outcome]] = []
        pending = set(names)
        self.roster.to_be_restarted.append(pending)
        try:
            for wave in self.roster.stop_waves(names):
                for process in wave:
                    pending.discard(process.program.name)
                    restarting.append(ensureDeferred(process.restart(by)))
                await gatherResults([process.ended() for process in wave])
        finally:
            self.roster.to_be_restarted.remove(pending)
        for name in own:
            self.admission.look_again(name)
        return list(await gatherResults(restarting, consumeErrors=True))

    def _end(self, outcomes: list[Outcome]) -> list[Outcome]:
        # In the next turn, so that those who asked get their answer first.
        self._around.clock.callLater(0, self._around.end, self._exit_code)
        return outcomes

    def _refuse_while_shutting_down(self) -> None:
        if self._shutdown is not None:
            raise Refused("supervisord is shutting down")

    def _heard(self, name: str, notice: Notice) -> None:
        if name in self.roster:
            self.roster[name].heard(notice)

    def _state_changed(self, change: StateChanged) -> None:
        """End the daemon where a program that is essential has ended for good."""
        if change.after not in {State.EXITED, State.FATAL} or change.name not in self.roster:
            return
        process = self.roster[change.name]
        if process.program.essential and self._shutdown is None:
            self._exit_code = process.exit_code
            log.info(
                "{name} is essential and has ended: {detail}",
                name=change.name,
                detail=change.detail,
            )
            ensureDeferred(self.shutdown())

    def _log_name(self, word: str | None) -> str | None:
        """Return which log ``word`` means; it may name a program or group of one process, too."""
        if word is None:
            return None
        name = word.removesuffix(STDERR)
        chosen, unknown = self.roster.select([name])
        if unknown:
            raise Refused(f"{name}: {unknown[0].text}")
        if len(chosen) > 1:
            some = ", ".join(chosen[:2])
            each = f"{len(chosen)} processes have a log each"
            raise Refused(f"{name}: {each}; name one: {some} ..., or say {name}:* for all")
        return chosen[0] + word[len(name) :] if chosen else word

    def _clear(self, name: str) -> Outcome:
        try:
            self.outputs.clear(self.roster[name].program)
        except Refused as refusal:
            return Outcome(name=name, result=Result.FAILED, text=str(refusal))
        return Outcome(name=name, result=Result.CLEARED, text="log cleared")

    def _write(self, name: str, data: bytes) -> Outcome:
        if not self.roster[name].up:
            return Outcome(name=name, result=Result.FAILED, text="not up, nothing written")
        try:
            self._around.stdin.write(name, data)
        except Refused as refusal:
            return Outcome(name=name, result=Result.FAILED, text=str(refusal))
        return Outcome(name=name, result=Result.WRITTEN, text=f"{len(data)} bytes written")

    # Reload and scale.

    async def _load(self) -> Configuration:
        try:
            return await self._around.load()
        except ConfigError as error:
            raise Refused(f"the configuration was left as it is:\n{error}") from None

    def _plan(self, new: Configuration) -> Plan:
        up = {each.program.name for each in self.roster if each.going_up}
        return plan(self._renewal.layout_now(self.configuration), self._renewal.layout(new), up)

    async def _reload(self) -> ReloadAnswer:
        new = await self._load()
        self._refuse_while_shutting_down()
        todo = self._plan(new)
        for step in todo.programs:
            if step.step is Step.RESTART:
                self.roster[step.name].outdate()
        old, self.configuration = self.configuration, new
        remarks = await self._around.apply(old, new)
        self._refuse_while_shutting_down()  # that has begun meanwhile, and would miss new programs
        self.admission.configure(new.settings.max_starting, new.settings.start_delay)
        outcomes = await self._renewal.carry_out(todo.programs, new)
        self._prune_remembered()
        done = f"reloaded {new.source}; changes: {len(todo.lines())}"
        log.info("{done}", done=done)
        self._around.history.note(Kind.RELOADED, done)
        return ReloadAnswer(
            source=new.source,
            lines=todo.lines(),
            warnings=(*new.warnings, *remarks),
            outcomes=tuple(outcomes),
        )

    async def _scale(self, name: str, count: int) -> list[Outcome]:
        program = self.configuration.programs.get(name)
        if program is None:
            raise Refused(f"{name}: {unknown_name(name, self.configuration.programs).text}")
        if program.processes is None:
            raise Refused(f"{name}: has no key 'processes', so it is always one process")
        self._renewal.check_scaled(program, count)
        there = self.roster.of_program(name)
        start = any(each.going_up for each in there) or (program.auto_start and not there)
        before = self._renewal.layout_now(self.configuration)
        self._renewal.scale(program, count)
        self._around.journal.scaled(name, program.processes, count)
        after = self._renewal.layout(self.configuration)
        steps = [
            replace(step, acts=start)
            for step in plan(before, after, before.processes).programs
            if step.step in {Step.ADD, Step.REMOVE}
        ]
        log.info("{name}: scaled to {count} processes", name=name, count=count)
        return await self._renewal.carry_out(steps, self.configuration)


def _log_trouble(failure: Failure) -> None:
    failure.trap(LocalError)
    log.error("{error}", error=failure.value)
