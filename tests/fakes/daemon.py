"""A real Supervisor with nothing real around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from fakes.events import FakeHistory
from fakes.given import FakeCgroups, FakeNotices, FakeRoom, FakeSockets, FakeStdin
from fakes.journal import FakeJournal
from fakes.listener import RecordingListener
from fakes.output import FakeOutput
from fakes.passing import pass_time
from fakes.remembered import FakeRemembered
from fakes.sessions import FakeSessions
from fakes.spawner import FakeSpawner
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from supervisortw.core.chronicle import Left
from supervisortw.core.expand import processes_of
from supervisortw.core.model import (
    Configuration,
    ListeningSocket,
    Process,
    Program,
    Settings,
    UnixAddress,
)
from supervisortw.core.spawnid import VARIABLE
from supervisortw.core.status import ProgramStatus
from supervisortw.daemon.adoption import Adoption
from supervisortw.daemon.events import EventBus
from supervisortw.daemon.herald import Herald
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.phases import ending
from supervisortw.daemon.slot import Slot
from supervisortw.daemon.supervisor import Supervisor
from supervisortw.daemon.surroundings import Surroundings
from supervisortw.interfaces import SpawnRequest

DAYBREAK = 1_000_000.0  # the time of day at which the clock has begun
TOKEN = "0123456789abcdef"
SETTINGS = Settings(
    sockets=(UnixAddress(path="/run/test.sock"),),
    state_directory="/var/lib/test",
    logfile="/var/log/supervisord.log",
    pidfile="/run/supervisord.pid",
)


def program(name: str, **keys: object) -> Program:
    """Return a program whose command is its name."""
    own = {"name": name, "command": (name,), "logfile": f"/var/log/{name}.log"}
    return Program(**{**own, **keys})  # type: ignore[arg-type]


def process(name: str, **keys: object) -> Process:
    """Return the record of the one process of such a program."""
    return processes_of(program(name, **keys))[0]


def configuration(
    *programs: Program,
    settings: Settings = SETTINGS,
    warnings: tuple[str, ...] = (),
    sockets: tuple[ListeningSocket, ...] = (),
) -> Configuration:
    """Return a configuration of these programs."""
    return Configuration(
        source="/etc/test.conf",
        settings=settings,
        programs={each.name: each for each in programs},
        sockets={each.name: each for each in sockets},
        warnings=warnings,
    )


class FakeDaemon:
    """A Supervisor, and everything that it was given.

    ``next`` is what it will find when it reads its configuration again; ``loading`` and
    ``applying`` are what that then waits for. If it is ``calm`` nothing waits for a later turn that can.
    """

    def __init__(
        self,
        *programs: Program,
        settings: Settings = SETTINGS,
        environment: dict[str, str] | None = None,
        obedient: bool = True,
        left: Left | None = None,
        adoption: Adoption | None = None,
        clock: Clock | None = None,
        last_pid: int = 100,
        vmstat: str = "/nowhere",
        calm: bool = False,
    ) -> None:
        self.clock = clock or Clock()
        self.spawner = FakeSpawner(last_pid)
        self.spawner.about_to_run = self._check_mark
        self.sessions = FakeSessions(self.clock, self.spawner, obedient=obedient)
        self.listener = RecordingListener()
        self.outputs: dict[str, list[FakeOutput]] = {}
        self.daemon_log = FakeOutput("supervisord")
        self.next: Configuration | Exception = configuration(*programs, settings=settings)
        self.loading: Deferred[None] = succeed(None)
        self.applying: Deferred[Sequence[str]] = succeed(())
        self.applied: list[tuple[Configuration, Configuration]] = []
        self.notes: list[str] = []
        self.room = FakeRoom()
        self.ended = 0
        self.exit_code: int | None = None
        self.stdin = FakeStdin()
        self.sockets = FakeSockets()
        self.notices = FakeNotices()
        self.cgroups = FakeCgroups()
        self.remembered = FakeRemembered()
        self.journal = FakeJournal(TOKEN, left or Left())
        herald = Herald(self.clock, Slot.attend, together=self._together)
        bus = EventBus()
        bus.subscribe(self.listener)
        self.history = FakeHistory(self.clock)
        bus.subscribe(self.history.changed)
        self.supervisor = Supervisor(
            self.next,
            Surroundings(
                clock=self.clock,
                spawner=self.spawner,
                sessions=self.sessions,
                bus=bus,
                history=self.history,
                environment=environment or {"PATH": "/bin"},
                output_for=self._output_for,
                daemon_log=self.daemon_log,
                stdin=self.stdin,
                sockets=self.sockets,
                notices=self.notices,
                cgroups=self.cgroups,
                load=self._load,
                apply=self._apply,
                notes=lambda: self.notes,
                room=self.room,
                end=self._end,
                version="1.2.3",
                token=TOKEN,
                start_clock=self.clock.seconds,
                journal=self.journal,
                left=left or Left(),
                adoption=adoption,
                remembered=self.remembered,
                oom=OomKills(self.clock, self.cgroups, vmstat),
                wall_clock=lambda: self.clock.seconds() + DAYBREAK,
                random=lambda: 0.5,
                later=Slot.attend if calm else herald.take,
            ),
        )

    def _together(self) -> AbstractContextManager[None]:
        return ending(self.journal, self.supervisor.admission)

    def _check_mark(self, request: SpawnRequest) -> None:
        """Whose a process will be has to be on the disk before it is there."""
        mark = request.environment.get(VARIABLE)
        assert mark is None or any(f'"spawn":"{mark}"' in line for line in self.journal.lines[::-1])

    def _output_for(self, process: Process, name: str, path: str) -> FakeOutput:
        output = FakeOutput(f"{name} in {path}")
        self.outputs.setdefault(process.name, []).append(output)
        return output

    def _load(self) -> Deferred[Configuration]:
        if isinstance(self.next, Exception):
            return fail(self.next)
        found = self.next
        return _after(self.loading).addCallback(lambda _: found)

    def _apply(self, old: Configuration, new: Configuration) -> Deferred[Sequence[str]]:
        self.applied.append((old, new))
        return _after(self.applying)

    def _end(self, code: int) -> None:
        self.ended += 1
        self.exit_code = code

    def output(self, name: str) -> FakeOutput:
        """Return the output that a program has now."""
        return self.outputs[name][-1]

    def pass_time(self, seconds: float = 0) -> None:
        """Let ``seconds`` pass, and whatever follows at once."""
        pass_time(self.clock, seconds)

    def stand(self, name: str) -> ProgramStatus:
        """Return how a program stands."""
        return self.supervisor.roster[name].status()

    def pid(self, name: str) -> int:
        """Return the pid of a program that is up."""
        pid = self.stand(name).pid
        assert pid, f"{name} is not up"
        return pid

    def up(self) -> list[str]:
        """Return the commands of the processes that are alive, in the order of their starts."""
        pids = {each.pid: each.program.name for each in self.supervisor.roster}
        return [pids.get(pid, f"lost {pid}") for pid in self.spawner.alive]


def _after(deferred: Deferred[object]) -> Deferred[object]:
    """Return a Deferred of one's own that has the result of another one."""
    branch: Deferred[object] = Deferred()

    def pass_on(result: object) -> object:
        branch.callback(result)  # a failure calls the errbacks
        return None if isinstance(result, Failure) else result

    deferred.addBoth(pass_on)
    return branch
