"""Getting from the processes that there are to those of another configuration, or to more or fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.internet.defer import ensureDeferred

from supervisortw.core.exits import RELOAD
from supervisortw.core.expand import processes_of
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, SYSLOG, Configuration, Process, Program
from supervisortw.core.plan import Layout, ProgramStep, Step
from supervisortw.core.status import Outcome, Result
from supervisortw.daemon.admission import Admission
from supervisortw.daemon.outputs import Outputs, close_all
from supervisortw.daemon.process import ManagedProcess
from supervisortw.daemon.roster import Roster
from supervisortw.daemon.together import all_of
from supervisortw.errors import Refused


class Renewal:
    """Adds, removes and changes processes; remembers which programs were scaled.

    ``make`` makes a process slot, ``make_room`` sees to the descriptors that all will need, ``forget``
    lets go of what a process had beside its logs, and ``unscaled`` hears which program is not scaled any
    more.
    """

    def __init__(
        self,
        roster: Roster,
        outputs: Outputs,
        admission: Admission,
        *,
        make: Callable[[Process], ManagedProcess],
        make_room: Callable[[Layout], None],
        forget: Callable[[str], None],
        unscaled: Callable[[str], None],
    ) -> None:
        self._roster = roster
        self._outputs = outputs
        self._admission = admission
        self._make = make
        self._make_room = make_room
        self._forget = forget
        self._unscaled = unscaled
        # How many processes a program was scaled to, and what its file said at that time.
        self._scaled: dict[str, tuple[int | None, int]] = {}

    def layout(self, configuration: Configuration) -> Layout:
        """Return all that there is to be.

        A program that was scaled has as many processes as it was scaled to, unless its file says
        another number now than it did then.
        """
        found = {}
        for program in configuration.programs.values():
            said, count = self._scaled.get(program.name, (None, 0))
            was_scaled = said is not None and said == program.processes
            for process in processes_of(program, count if was_scaled else None):
                found[process.name] = process
        return Layout(
            settings=configuration.settings, processes=found, sockets=configuration.sockets
        )

    def layout_now(self, configuration: Configuration) -> Layout:
        """Return all that there is, under the configuration that is in force."""
        return Layout(
            settings=configuration.settings,
            processes=self._roster.records(),
            sockets=configuration.sockets,
        )

    def scale(self, program: Program, count: int) -> None:
        """Remember that a program is to have ``count`` processes."""
        self._scaled[program.name] = (program.processes, count)

    def add(self, record: Process) -> ManagedProcess:
        """Take in a process that is not started yet."""
        self._outputs.add(record)
        process = self._make(record)
        self._roster.add(process)
        return process

    def arrange(self, configuration: Configuration) -> None:
        """Order the processes as the configuration that is in force does."""
        for name, (said, _) in list(self._scaled.items()):
            program = configuration.programs.get(name)
            if program is None or program.processes != said:
                del self._scaled[name]
                self._unscaled(name)
        # What is being removed while it still runs stands in no configuration any more.
        leaving = {each.program.program: each.program for each in self._roster}
        programs = {**leaving, **configuration.programs}
        self._roster.arrange(programs, self.layout(configuration).processes)

    def check_scaled(self, program: Program, count: int) -> None:
        """Raise Refused if ``count`` processes would be too many, or in the way of each other."""
        name = program.name
        if count > LIMITS.processes_per_program:
            raise Refused(f"{name}: at most {LIMITS.processes_per_program} processes")
        processes = processes_of(program, count)
        others = [each.program for each in self._roster if each.program.program != name]
        if len(others) + count > LIMITS.processes:
            raise Refused(f"{name}: at most {LIMITS.processes} processes in all")
        files = _files(processes)
        if len(set(files)) < len(files):
            reason = "its logfile needs %(process_num)d, or several processes would share it"
            raise Refused(f"{name}: {reason}")
        taken = {each.name for each in others} & {each.name for each in processes}
        taken |= set(_files(others)) & set(files)
        if taken:
            named = ", ".join(sorted(taken)[:3])
            raise Refused(f"{name}: that of another program already: {named}")

    async def carry_out(
        self, steps: Sequence[ProgramStep], configuration: Configuration
    ) -> list[Outcome]:
        """Add, change and remove processes; return what came of those that were touched."""
        layout = self.layout(configuration)
        self._make_room(layout)
        new = layout.processes
        for each in steps:
            if each.step is Step.ADD:
                self.add(new[each.name])
        self.arrange(configuration)
        by_name = {each.name: each for each in steps}
        removed = [name for name in by_name if name not in new]
        others = [name for name in by_name if name in new]
        in_order = [each.program.name for each in self._roster.in_start_order(others)]
        removing = ensureDeferred(self.remove_all(removed))
        changing = ensureDeferred(all_of([self._change(by_name[name], new) for name in in_order]))
        self._admission.reconsider()
        outcomes = [*await removing, *await changing]
        self._admission.reconsider()
        self.arrange(configuration)
        return [outcome for outcome in outcomes if outcome is not None]

    async def remove_all(self, names: Sequence[str]) -> list[Outcome]:
        """Stop processes, in the order of their priorities, and let them go."""
        outcomes: list[Outcome] = []
        for wave in self._roster.stop_waves(names):
            outcomes += await all_of([self._remove(each.program.name) for each in wave])
        return outcomes

    async def _change(self, step: ProgramStep, new: Mapping[str, Process]) -> Outcome | None:
        """Do what a plan says about a process that stays, or was added."""
        if step.step is Step.ADD:
            if step.acts:
                return await self._roster[step.name].start()
            self._roster[step.name].note()
            return None
        record = new[step.name]
        process = self._roster[step.name]
        before, process.program = process.program, record
        outdated = self._outputs.change(before, record)
        outcome = await process.restart(RELOAD) if step.step is Step.RESTART else None
        if outdated:
            await process.settled()  # a process that is being stopped still writes to it
            close_all(outdated)
        return outcome

    async def _remove(self, name: str) -> Outcome:
        process = self._roster[name]
        outcome = await process.stop(RELOAD)
        while outcome.result is Result.SUPERSEDED:  # who starts it now cannot keep it
            outcome = await process.stop(RELOAD)
        process.removed = True
        self._roster.remove(name)
        self._outputs.remove(process.program)
        self._forget(name)
        return outcome


def _files(processes: Iterable[Process]) -> list[str]:
    """Return the files that processes write to, of those that only one may write to."""
    paths = [path for each in processes for path in (each.logfile, each.stderr_logfile) if path]
    return [
        path for path in paths if path not in {DISCARD, SYSLOG} and not path.startswith("/dev/")
    ]
