"""All processes of a daemon by name: which of them a request means, and in what order they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from supervisortw.core.model import Process, Program
from supervisortw.core.order import Rank, ranks
from supervisortw.core.selection import Index, select
from supervisortw.core.status import Outcome, Result
from supervisortw.daemon.admission import Prospect
from supervisortw.daemon.process import ManagedProcess


class Roster:
    """The processes, in the order of the configuration."""

    def __init__(self) -> None:
        self._processes: dict[str, ManagedProcess] = {}
        self._by_program: dict[str, dict[str, ManagedProcess]] = {}
        self._ranks: dict[str, Rank] = {}
        self._index: Index | None = None
        # Those that each restart is about to end; nobody starts because of them meanwhile.
        self.to_be_restarted: list[set[str]] = []

    def __getitem__(self, name: str) -> ManagedProcess:
        return self._processes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._processes

    def __iter__(self) -> Iterator[ManagedProcess]:
        return iter(self._processes.values())

    def add(self, process: ManagedProcess) -> None:
        """Take in a process."""
        name, program = process.program.name, process.program.program
        self._processes[name] = process
        self._by_program.setdefault(program, {})[name] = process
        self._index = None

    def remove(self, name: str) -> None:
        """Let a process go."""
        process = self._processes.pop(name)
        self._by_program[process.program.program].pop(name)
        self._index = None

    def arrange(self, programs: Mapping[str, Program], names: Iterable[str]) -> None:
        """Order the processes like ``names``, and rank them as ``programs`` say."""
        order = dict.fromkeys(name for name in names if name in self._processes)
        self._processes = {name: self._processes[name] for name in {**order, **self._processes}}
        self._ranks = ranks(programs)
        self._index = None

    def records(self) -> dict[str, Process]:
        """Return the record of every process by its name."""
        return {name: process.program for name, process in self._processes.items()}

    def pids(self) -> list[int]:
        """Return the pid of every process that is up; each leads a session of its own."""
        return [process.pid for process in self._processes.values() if process.pid]

    def of_program(self, name: str) -> Sequence[ManagedProcess]:
        """Return the processes of a program."""
        return list(self._by_program.get(name, {}).values())

    def select(self, words: Sequence[str]) -> tuple[list[str], list[Outcome]]:
        """Return the names of the processes that ``words`` mean, and an outcome for unknown ones."""
        if self._index is None:
            self._index = Index(process.program for process in self._processes.values())
        chosen, unknown = select(words, self._index, lambda name: self._processes[name].up)
        return chosen, [self._without_processes(outcome) or outcome for outcome in unknown]

    def _without_processes(self, outcome: Outcome) -> Outcome | None:
        """Return what to say of a program that is known, but has no processes now."""
        program = outcome.name.removesuffix(":*")
        if program not in self._ranks:
            return None
        text = f"has no processes; 'scale {program} NUMBER' gives it some"
        return Outcome(name=outcome.name, result=Result.FAILED, text=text)

    def in_start_order(self, names: Iterable[str]) -> list[ManagedProcess]:
        """Return processes with those first that start first."""
        return sorted((self._processes[name] for name in names), key=self._rank)

    def stop_waves(self, names: Iterable[str]) -> list[list[ManagedProcess]]:
        """Return processes in waves, each to be stopped when the one before is gone."""
        waves = [list(wave) for _, wave in groupby(self.in_start_order(names), key=self._rank)]
        return waves[::-1]

    def dependants_up(self, program: str) -> list[str]:
        """Return the programs that depend on ``program`` and have a process that is up."""
        depending = (each for each in self._processes.values() if each.up)
        found = (each.program for each in depending if program in each.program.depends_on)
        return list(dict.fromkeys(record.program for record in found))

    def _rank(self, process: ManagedProcess) -> Rank:
        return self._ranks[process.program.program]

    def prospect(self, program: str) -> Prospect:
        """Tell how a program stands for those who depend on it: as its worst process does."""
        prospects = []
        for name, process in self._by_program.get(program, {}).items():
            found = process.prospect
            if any(name in pending for pending in self.to_be_restarted):
                found = Prospect(ready=False, coming=True, text=f"the restart of {name}")
            if not found.ready:
                prospects.append(found)
        hopeless = [found for found in prospects if not found.coming]
        return next(iter(hopeless or prospects), Prospect(ready=True, coming=True, text=""))
