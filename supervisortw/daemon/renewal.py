"""Getting from the processes that there are to those of another configuration, or to more or fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from supervisortw.core.expand import processes_of
from supervisortw.core.model import Configuration, Process, Program
from supervisortw.core.plan import Layout, ProgramStep, Step
from supervisortw.core.status import Outcome, Result
from supervisortw.daemon.outputs import Outputs, close_all
from supervisortw.daemon.process import ManagedProcess
from supervisortw.daemon.roster import Roster


class Renewal:
    """Adds, removes and changes processes; remembers which programs were scaled.

    ``make`` makes a process slot, and ``forget`` lets go of what a process had beside its logs.
    """

    def __init__(
        self,
        roster: Roster,
        outputs: Outputs,
        make: Callable[[Process], ManagedProcess],
        forget: Callable[[str], None],
    ) -> None:
        self._roster = roster
        self._outputs = outputs
        self._make = make
        self._forget = forget
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
        for name in self._scaled.keys() - configuration.programs.keys():
            del self._scaled[name]
        # What is being removed while it still runs stands in no configuration any more.
        leaving = {each.program.program: each.program for each in self._roster}
        programs = {**leaving, **configuration.programs}
        self._roster.arrange(programs, self.layout(configuration).processes)

    async def carry_out(self, step: ProgramStep, new: Mapping[str, Process]) -> Outcome | None:
        """Do what a plan says about a process; an added one has to be there already."""
        if step.step is Step.REMOVE:
            return await self.remove(step.name)
        if step.step is Step.ADD:
            return await self._roster[step.name].start() if step.acts else None
        record = new[step.name]
        process = self._roster[step.name]
        before, process.program = process.program, record
        outdated = self._outputs.change(before, record)
        outcome = await process.restart() if step.step is Step.RESTART else None
        if outdated:
            await process.settled()  # a process that is being stopped still writes to it
            close_all(outdated)
        return outcome

    async def remove(self, name: str) -> Outcome:
        """Stop a process and let it go."""
        process = self._roster[name]
        outcome = await process.stop()
        while outcome.result is Result.SUPERSEDED:  # who starts it now cannot keep it
            outcome = await process.stop()
        process.removed = True
        self._roster.remove(name)
        self._outputs.remove(process.program)
        self._forget(name)
        return outcome
