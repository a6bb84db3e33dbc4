"""One ManagedProcess with nothing real around it."""

from __future__ import annotations

import json
import os

from fakes.asking import Asked
from fakes.daemon import DAYBREAK, process
from fakes.given import FakeCgroups
from fakes.listener import RecordingListener
from fakes.passing import pass_time
from fakes.sessions import FakeSessions
from fakes.spawner import FakeSpawner
from twisted.internet.task import Clock

from supervisortw.core.exits import Exit
from supervisortw.core.memory import Memory
from supervisortw.core.model import Process
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State
from supervisortw.core.status import Outcome
from supervisortw.daemon.admission import Admission, Prospect
from supervisortw.daemon.events import EventBus
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.process import ManagedProcess
from supervisortw.daemon.slot import Means, Slot
from supervisortw.daemon.stopcommand import StopCommand
from supervisortw.errors import SpawnError
from supervisortw.interfaces import SpawnRequest


class Bench:
    """A program called web, and everything that its ManagedProcess was given.

    ``not_prepared`` is raised by the next preparations, one each. ``prospects`` are those of the
    programs that web depends on.
    """

    def __init__(self, *, obedient: bool = False, **keys: object) -> None:
        self.clock = Clock()
        self.spawner = FakeSpawner()
        self.stop_spawner = FakeSpawner(last_pid=900)
        self.sessions = FakeSessions(self.clock, self.spawner, obedient=obedient)
        self.listener = RecordingListener()
        self.prepared: list[Process] = []
        self.not_prepared: list[Exception] = []
        self.asked_to_stop: list[int] = []
        self.prospects: dict[str, Prospect] = {}
        self.admission = Admission(self.clock, lambda name: self.prospects[name])
        bus = EventBus()
        bus.subscribe(self.listener)
        self.chance = 0.5
        self.is_calm = True
        self.unattended: list[Slot] = []
        self.recorded: list[dict[str, object]] = []
        self.exits: list[Exit] = []
        self.made: list[int] = []  # that were written down before they were seen to
        self.gone_on: list[str] = []
        self.drained: list[str] = []
        means = Means(
            clock=self.clock,
            spawner=self.spawner,
            sessions=self.sessions,
            prepare=self._prepare,
            bus=bus,
            new_spawn_id=self._new_spawn_id,
            go_on=lambda process: self.gone_on.append(process.name),
            drain=lambda process: self.drained.append(process.name),
            start_clock=self.clock.seconds,
            record=_Record(self),
            oom=OomKills(self.clock, FakeCgroups(), "/nowhere"),
            wall_clock=lambda: self.clock.seconds() + DAYBREAK,
            random=lambda: self.chance,
            stop_command=StopCommand(
                self.clock, self.stop_spawner, self.sessions, self._prepare_stop_command
            ),
            admission=self.admission,
            later=self._attend,
        )
        self.process = ManagedProcess(process("web", **keys), means)

    def _attend(self, slot: Slot) -> None:
        if self.is_calm:
            slot.attend()
        else:
            self.unattended.append(slot)

    def calm_down(self) -> None:
        """Let happen what has waited for there being nothing more urgent."""
        self.is_calm = True
        while self.unattended:
            self.unattended.pop(0).attend()

    def _new_spawn_id(self, name: str) -> SpawnId:
        return SpawnId(daemon="abc", name=name, number=len(self.prepared) + 1)

    def _prepare(self, program: Process, spawn: SpawnId) -> SpawnRequest:
        self.prepared.append(program)
        if self.not_prepared:
            raise self.not_prepared.pop(0)
        return _request(program.command)

    def _prepare_stop_command(self, program: Process, pid: int) -> SpawnRequest:
        self.asked_to_stop.append(pid)
        return _request(program.stop_command)

    # What happens.

    def start(self) -> Asked[Outcome]:
        return Asked(self.process.start())

    def stop(self) -> Asked[Outcome]:
        return Asked(self.process.stop())

    def restart(self) -> Asked[Outcome]:
        return Asked(self.process.restart())

    def come_up(self) -> int:
        """Bring the program up; return its pid."""
        started = self.start()
        self.pass_time(self.process.program.start_seconds)
        assert started.answer.good
        return self.process.pid

    def exit(self, code: int = 0, *, signal: int | None = None, core: bool = False) -> None:
        """End the process that is there."""
        self.spawner.exit(self.process.pid, code=code, signal=signal, core=core)

    def fail(self, reason: str = "no memory", *, permanent: bool = False) -> None:
        """Let the next start make no process."""
        self.spawner.failures.append(SpawnError(reason, permanent=permanent))

    def pass_time(self, seconds: float = 0) -> None:
        pass_time(self.clock, seconds)

    # How it stands.

    @property
    def state(self) -> State:
        return self.process.life.state

    @property
    def detail(self) -> str:
        return self.process.status().detail

    @property
    def restarts(self) -> int:
        return self.process.status().restarts

    def timers(self) -> list[float]:
        """Return in how many seconds something is due, apart from what is due in the next turn."""
        waits = [each.getTime() - self.clock.seconds() for each in self.clock.getDelayedCalls()]
        return [wait for wait in waits if wait > 0]


class _Record:
    """Keeps what is to be written down, for the bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def process(self, name: str, memory: Memory, exit: Exit | None = None) -> None:
        self._bench.recorded.append(json.loads(f"{{{memory.to_json()}}}"))
        if exit is not None:
            self._bench.exits.append(exit)

    def made(self, name: str, memory: Memory) -> None:
        self._bench.made.append(memory.pid)


def _request(command: tuple[str, ...]) -> SpawnRequest:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    return SpawnRequest(command=command, environment={}, stdout=nowhere, stderr=nowhere)
