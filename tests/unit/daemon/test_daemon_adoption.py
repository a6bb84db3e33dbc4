"""A second daemon that goes on with the processes of a first one."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from fakes.asking import Asked, answer
from fakes.daemon import SETTINGS, TOKEN, FakeDaemon, configuration, program
from fakes.given import FakeNotices, FakeStdin
from fakes.living import FakeLiving, Living
from fakes.logged import log_lines
from fakes.output import FakeOutput
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel

from supervisortw.core.born import Born
from supervisortw.core.chronicle import Left
from supervisortw.core.exits import DAEMON_DEATH
from supervisortw.core.model import (
    AutoRestart,
    OnDaemonDeath,
    Program,
    Stdin,
    StopScope,
    StopStep,
)
from supervisortw.core.notify import Notice
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State
from supervisortw.daemon.adopted import AdoptedProcesses
from supervisortw.daemon.adoption import Adoption, Traces
from supervisortw.daemon.departures import Departures
from supervisortw.errors import SpawnError

HOLDER = 50


class Generations:
    """A daemon, and after `crash` the one that follows it.

    ``living`` are the processes that are there; ``statuses`` what the holder knows of the others.
    """

    def __init__(self, *programs: Program, **keys: object) -> None:
        self.programs = programs
        self.keys = keys
        self.living = FakeLiving()
        self.statuses: dict[int, int] = {}
        self.asked = 0
        self.daemon = FakeDaemon(*programs, **keys)  # type: ignore[arg-type]
        self.daemon.supervisor.boot()
        self.daemon.pass_time()

    def die(self) -> Left:
        """Kill the daemon; its processes stay there."""
        for name, each in self.daemon.supervisor.roster._processes.items():
            if each.pid:
                spawn = each.memory.spawn
                assert spawn is not None
                self.living.there[each.pid] = Living(each.memory.started, spawn, HOLDER)
                assert spawn.name == name
        return self.daemon.journal.left

    def follow(
        self, left: Left, *programs: Program, complete: bool = True, others: int = 0
    ) -> FakeDaemon:
        """Have another daemon go on; somebody besides the leader is in the session ``others``."""
        old = self.daemon
        clock = old.clock
        for call in clock.getDelayedCalls():
            call.cancel()
        self.adopted = AdoptedProcesses(clock, Departures(clock, None), None)
        traces = Traces(token=left.token, holder=HOLDER, statuses=self._statuses, complete=complete)
        self.daemon = FakeDaemon(
            *(programs or self.programs),
            left=left,
            adoption=Adoption(self.living, self.adopted, traces),
            clock=clock,
            last_pid=max([500, *self.living.there]) + 100,
            **self.keys,  # type: ignore[arg-type]
        )
        self.daemon.sessions.others.add(others)
        self.daemon.supervisor.boot()
        self.daemon.pass_time()
        return self.daemon

    def crash(self) -> FakeDaemon:
        return self.follow(self.die())

    def end(self, pid: int, status: int = 0) -> None:
        """End a process of the first daemon, while the second is there."""
        del self.living.there[pid]
        self.adopted.ended(pid, status)

    def end_unseen(self, pid: int, status: int | None = None) -> None:
        """End a process while no daemon is there; without a status nobody knows how."""
        del self.living.there[pid]
        if status is not None:
            self.statuses[pid] = status

    def _statuses(self) -> dict[int, int]:
        self.asked += 1
        return self.statuses


WEB = program("web")


def test_what_runs_goes_on_as_it_was() -> None:
    generations = Generations(WEB, program("db"))
    generations.daemon.pass_time(1)
    generations.daemon.spawner.exit(generations.daemon.pid("web"), code=3)
    generations.daemon.pass_time(30)
    before = [generations.daemon.stand(name) for name in ("web", "db")]
    assert before[0].restarts == 1
    daemon = generations.crash()
    assert [daemon.stand(name) for name in ("web", "db")] == before
    assert not daemon.spawner.requests
    daemon.pass_time(10)
    assert daemon.stand("web").since == before[0].since + 10


def test_how_an_adopted_process_ends_decides_what_follows() -> None:
    generations = Generations(program("web", exit_codes=frozenset({7})), program("db"))
    generations.daemon.pass_time(30)
    daemon = generations.crash()
    web, db = daemon.pid("web"), daemon.pid("db")
    generations.end(web, 7 << 8)
    generations.end(db, signal.SIGSEGV)
    assert daemon.stand("web").state is State.EXITED
    assert daemon.stand("web").detail == "exited with code 7 after 30 s"
    assert daemon.stand("db").restarts == 1
    assert daemon.stand("db").pid == daemon.spawner._last_pid


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (5 << 8, "exited with code 5 after 30 s"),
        (9, "ended by SIGKILL after 30 s"),
        (None, "ended for an unknown reason after 30 s"),
    ],
)
def test_what_ended_meanwhile_is_judged_by_what_is_known(status: int | None, detail: str) -> None:
    generations = Generations(program("web", auto_restart=AutoRestart.NEVER))
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"), status)
    daemon = generations.follow(left)
    assert daemon.stand("web").state is State.EXITED
    assert daemon.stand("web").detail == detail


def test_what_ended_meanwhile_is_started_again() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"))
    daemon = generations.follow(left)
    assert (daemon.stand("web").restarts, daemon.spawner.started) == (1, ["web"])


def test_a_status_that_comes_late_is_asked_for_once_more() -> None:
    generations = Generations(WEB)
    left = generations.die()
    pid = generations.daemon.pid("web")
    generations.end_unseen(pid)
    statuses = iter([{}, {pid: 3 << 8}])
    generations._statuses = lambda: next(statuses)  # type: ignore[method-assign]
    daemon = generations.follow(left)
    last = daemon.supervisor.roster["web"].memory.last
    assert last is not None
    assert last.code == 3


def test_a_pid_that_means_another_process_by_now_is_left_alone() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    left = generations.die()
    pid = generations.daemon.pid("web")
    generations.living.there[pid].started += 1
    daemon = generations.follow(left)
    assert daemon.pid("web") != pid
    assert not daemon.sessions.signals


def test_what_operators_want_holds() -> None:
    generations = Generations(WEB, program("db"))
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.stop(["web"]))
    generations.daemon.pass_time(1)
    daemon = generations.crash()
    assert daemon.stand("web").state is State.STOPPED
    assert daemon.stand("db").state is State.RUNNING
    assert not daemon.spawner.requests


def test_a_stop_goes_on() -> None:
    generations = Generations(WEB, obedient=False)
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.stop(["web"]))
    generations.daemon.pass_time(4)
    daemon = generations.crash()
    web = daemon.pid("web")
    assert daemon.stand("web").state is State.STOPPING
    daemon.pass_time(5.9)
    assert not daemon.sessions.signals
    daemon.pass_time(0.1)
    assert daemon.sessions.signals == [(web, signal.SIGKILL)]
    generations.end(web, signal.SIGKILL)
    daemon.pass_time()
    assert daemon.stand("web").state is State.STOPPED


def test_a_restart_goes_on() -> None:
    generations = Generations(WEB, obedient=False)
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.restart(["web"]))
    daemon = generations.crash()
    assert daemon.stand("web").state is State.STOPPING
    generations.end(daemon.pid("web"))
    daemon.pass_time()
    assert daemon.spawner.started == ["web"]
    assert daemon.stand("web").restarts == 0


def test_a_start_goes_on_with_the_time_that_is_left() -> None:
    generations = Generations(program("web", start_seconds=10.0))
    generations.daemon.pass_time(4)
    daemon = generations.crash()
    assert daemon.stand("web").state is State.STARTING
    daemon.pass_time(5.9)
    assert daemon.stand("web").state is State.STARTING
    daemon.pass_time(0.1)
    assert daemon.stand("web").state is State.RUNNING


def test_a_wait_before_the_next_try_goes_on() -> None:
    generations = Generations(program("web", restart_delay=8.0, restart_jitter=0.0))
    generations.daemon.spawner.exit(generations.daemon.pid("web"), code=1)
    generations.daemon.pass_time(5)
    daemon = generations.crash()
    assert daemon.stand("web").state is State.BACKOFF
    daemon.pass_time(2.9)
    assert not daemon.spawner.requests
    daemon.pass_time(0.1)
    assert daemon.spawner.started == ["web"]


def test_who_waits_for_others_waits_on() -> None:
    generations = Generations(program("db", start_seconds=5.0), program("web", depends_on=("db",)))
    daemon = generations.crash()
    assert daemon.stand("web").state is State.WAITING
    assert not daemon.spawner.requests
    daemon.pass_time(5)
    assert daemon.spawner.started == ["web"]


def test_what_was_never_told_to_start_starts() -> None:
    generations = Generations(WEB)
    daemon = generations.follow(generations.die(), WEB, program("new"))
    assert daemon.spawner.started == ["new"]


class TestCutShort:
    """A daemon that dies while it starts a process."""

    def generations(self, **keys: object) -> Generations:
        generations = Generations(program("web", auto_start=False, **keys))
        generations.daemon.spawner.hold = True
        Asked(generations.daemon.supervisor.start(["web"]))
        generations.daemon.pass_time()
        return generations

    def test_a_process_that_was_made_is_found_by_its_mark(self) -> None:
        generations = self.generations()
        left = generations.die()
        mark = left.processes["web"].spawn
        assert mark is not None
        generations.living.there = {
            77: Living(770, SpawnId(daemon=TOKEN, name="web", number=mark.number - 1)),
            78: Living(780, mark, HOLDER),
            79: Living(790, mark),
        }
        daemon = generations.follow(left)
        assert daemon.pid("web") == 78
        daemon.pass_time(1)
        assert daemon.stand("web").state is State.RUNNING
        assert not daemon.spawner.requests

    def test_its_uptime_counts_from_when_it_was_made(self) -> None:
        generations = self.generations()
        left = generations.die()
        made = generations.daemon.clock.seconds()
        generations.living.there = {78: Living(made, left.processes["web"].spawn, HOLDER)}
        generations.daemon.clock.advance(3)
        daemon = generations.follow(left)
        assert daemon.stand("web").since == 3

    def test_one_that_was_not_made_is_made_later(self) -> None:
        generations = self.generations()
        daemon = generations.crash()
        assert daemon.spawner.started == ["web"]
        daemon.pass_time(1)
        assert daemon.stand("web").state is State.RUNNING

    def test_one_that_was_not_seen_to_goes_on_whatever_it_does_to_its_mark(self) -> None:
        generations = Generations(WEB)
        daemon = generations.daemon
        daemon.pass_time(60)
        daemon.spawner.exit(daemon.pid("web"), code=3)
        pid, made = daemon.pid("web"), daemon.clock.seconds()
        left = generations.die()
        assert not left.processes["web"].life.spawned
        generations.living.there[pid].mark = None
        daemon.clock.advance(2)
        daemon = generations.follow(left)
        assert daemon.pid("web") == pid
        assert daemon.stand("web").since == daemon.clock.seconds() - made
        daemon.pass_time(5)
        assert daemon.stand("web").state is State.RUNNING
        assert not daemon.spawner.requests

    def test_one_that_was_not_seen_to_and_has_ended_was_short(self) -> None:
        generations = Generations(program("web", backoff_limit=5))
        daemon = generations.daemon
        daemon.pass_time(60)
        daemon.spawner.exit(daemon.pid("web"), code=3)
        left = generations.die()
        generations.end_unseen(daemon.pid("web"), 4 << 8)
        daemon = generations.follow(left)
        assert daemon.stand("web").state is State.BACKOFF
        assert exits(daemon, "web") == [(4, None, "")]

    def test_a_stop_holds_though_nobody_has_seen_to_the_process(self) -> None:
        generations = self.generations(on_daemon_death=OnDaemonDeath.STOP)
        daemon = generations.daemon
        Asked(daemon.supervisor.stop(["web"]))
        daemon.spawner.release()
        left = generations.die()
        assert left.processes["web"].pid == daemon.pid("web")
        generations.end_unseen(daemon.pid("web"), 9)
        daemon = generations.follow(left)
        daemon.pass_time(60)
        assert daemon.stand("web").state is State.STOPPED
        assert not daemon.spawner.requests

    def test_a_child_of_one_that_has_ended_is_not_taken_for_it(self) -> None:
        generations = self.generations()
        daemon = generations.daemon
        daemon.spawner.release()
        left = generations.die()
        pid, mark = daemon.pid("web"), left.processes["web"].spawn
        generations.end_unseen(pid, 9)
        generations.living.there[pid + 1] = Living(daemon.clock.seconds(), mark, HOLDER)
        daemon = generations.follow(left)
        assert daemon.stand("web").pid != pid + 1

    def test_whoever_was_just_being_made_is_ended_first(self) -> None:
        generations = self.generations()
        generations.crash()
        assert [holder for holder, _ in generations.living.half_born] == [HOLDER]

    def test_a_stop_that_was_asked_meanwhile_holds(self) -> None:
        generations = self.generations()
        Asked(generations.daemon.supervisor.stop(["web"]))
        left = generations.die()
        generations.living.there[78] = Living(780, left.processes["web"].spawn, HOLDER)
        daemon = generations.follow(left)
        assert daemon.stand("web").state is State.STOPPING


class TestDamage:
    """A journal that does not tell everything."""

    def test_children_of_the_holder_are_known_by_their_marks(self) -> None:
        generations = Generations(WEB)
        generations.daemon.pass_time(30)
        pid = generations.daemon.pid("web")
        generations.die()
        daemon = generations.follow(Left(), complete=False)
        assert daemon.pid("web") == pid
        assert not daemon.spawner.requests

    def test_others_could_have_taken_any_name(self) -> None:
        generations = Generations(WEB)
        generations.die()
        for each in generations.living.there.values():
            each.parent = 1
        daemon = generations.follow(Left(), complete=False)
        assert daemon.spawner.started == ["web"]


def test_a_program_that_ends_with_the_daemon_is_started_anew() -> None:
    keys = {"on_daemon_death": OnDaemonDeath.STOP, "auto_restart": AutoRestart.NEVER}
    generations = Generations(program("web", **keys), program("db", **keys), obedient=True)
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"), signal.SIGTERM)
    daemon = generations.follow(left)
    db = daemon.pid("db")
    assert (db, signal.SIGTERM) in daemon.sessions.signals
    generations.end(db, signal.SIGTERM)
    daemon.pass_time()
    assert sorted(daemon.spawner.started) == ["db", "web"]


def test_a_leader_that_ends_with_the_daemon_is_signalled_itself() -> None:
    keys = {"on_daemon_death": OnDaemonDeath.STOP, "stop_scope": StopScope.LEADER}
    generations = Generations(program("web", **keys))
    generations.daemon.pass_time(30)
    daemon = generations.crash()
    assert daemon.stand("web").state is State.STOPPING


def test_what_a_reload_was_about_to_change_is_changed() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    generations.daemon.supervisor.roster["web"].outdate()
    changed = program("web", command=("new-web",))
    daemon = generations.follow(generations.die(), changed)
    generations.end(daemon.pid("web"))
    daemon.pass_time()
    assert daemon.spawner.started == ["new-web"]
    again = generations.crash()
    assert not again.spawner.requests


def test_what_a_reload_was_about_to_remove_is_removed() -> None:
    generations = Generations(WEB, program("old"))
    generations.daemon.pass_time(30)
    left = generations.die()
    with log_lines() as told:
        daemon = generations.follow(left, WEB)
    assert "old is not in the configuration any more" in told
    generations.end(daemon.pid("old"))
    daemon.pass_time()
    assert [each.program.name for each in daemon.supervisor.roster] == ["web"]
    assert "old" not in daemon.journal.left.processes


def test_who_scales_meanwhile_waits_for_what_is_being_removed() -> None:
    pool = program("pool", processes=2)
    generations = Generations(pool, program("old"))
    generations.daemon.pass_time(30)
    daemon = generations.follow(generations.die(), pool)
    old = daemon.pid("old")
    asked = Asked(daemon.supervisor.scale("pool", 1))
    daemon.pass_time()
    generations.end(old)
    daemon.pass_time()
    generations.end(daemon.pid("pool:pool_1"))
    daemon.pass_time()
    assert [outcome.name for outcome in asked.answer] == ["pool:pool_1"]
    assert "old" not in daemon.supervisor.roster


def test_a_scaled_program_stays_scaled() -> None:
    pool = program(
        "pool", processes=1, process_name="p%(process_num)d", logfile="/log/%(process_num)d"
    )
    generations = Generations(pool)
    Asked(generations.daemon.supervisor.scale("pool", 3))
    generations.daemon.pass_time(1)
    daemon = generations.crash()
    assert len(daemon.supervisor.roster.of_program("pool")) == 3
    assert not daemon.spawner.requests
    assert len(generations.crash().supervisor.roster.of_program("pool")) == 3


def test_a_shutdown_goes_on() -> None:
    generations = Generations(WEB, obedient=False)
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.shutdown())
    daemon = generations.crash()
    generations.end(daemon.pid("web"))
    daemon.pass_time()
    assert daemon.exit_code == 0
    assert daemon.journal.left.ending


class TestWhatItWasGiven:
    """What a process had from the first daemon, and what became of that."""

    def follow(self, generations: Generations) -> list[str]:
        """Have a second daemon go on; return the warnings."""
        left = generations.die()
        with log_lines(LogLevel.warn) as told:
            generations.follow(left)
        return told

    def test_is_used_on(self) -> None:
        generations = Generations(program("web", stdin=Stdin.PIPE, notify=True))
        assert self.follow(generations) == []
        daemon = generations.daemon
        Asked(daemon.supervisor.write_stdin(b"hello", ["web"]))
        assert daemon.stdin.written == {"web": b"hello"}
        assert daemon.stand("web").state is State.STARTING
        daemon.notices.heard["web"](Notice(ready=True), 0)
        assert daemon.stand("web").state is State.RUNNING

    def test_is_told_where_it_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FakeOutput, "is_read", lambda _: False)
        monkeypatch.setattr(FakeStdin, "adopt", lambda *_: False)
        monkeypatch.setattr(FakeNotices, "adopt", _refuse)
        told = self.follow(Generations(program("web", stdin=Stdin.PIPE, notify=True)))
        assert told == [
            "web: what it prints is lost until it is started again",
            "web: nothing can be written to its standard input",
            "web: cannot hear it: no room",
        ]


def _refuse(*_: object) -> str:
    raise SpawnError("no room", permanent=False)


def test_a_shutdown_that_nobody_has_finished_is_not_the_next_ones() -> None:
    generations = Generations(WEB, program("db"), obedient=False)
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.shutdown())
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("db"))
    assert left.ending
    left.ending, left.afresh = False, True  # as `inherit` has it, without a holder that is the same
    daemon = generations.follow(left)
    generations.end(daemon.pid("web"))
    daemon.pass_time()
    assert sorted(daemon.spawner.started) == ["db", "web"]
    assert daemon.exit_code is None


def test_the_exit_code_of_an_essential_program_outlives_the_daemon() -> None:
    generations = Generations(
        program("web", essential=True, auto_restart=AutoRestart.NEVER),
        program("db"),
        obedient=False,
    )
    generations.daemon.pass_time(30)
    generations.daemon.spawner.exit(generations.daemon.pid("web"), code=7)
    generations.daemon.pass_time()
    daemon = generations.crash()
    generations.end(daemon.pid("db"))
    daemon.pass_time()
    assert daemon.exit_code == 7


def test_what_is_essential_and_ended_meanwhile_ends_the_daemon_and_starts_nothing() -> None:
    web = program("web", essential=True, auto_restart=AutoRestart.NEVER)
    generations = Generations(web)
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"), 7 << 8)
    daemon = generations.follow(left, web, program("new"))
    daemon.pass_time(1)
    assert daemon.exit_code == 7
    assert not daemon.spawner.requests


def test_what_was_left_in_a_session_is_ended_though_its_leader_ended_unseen() -> None:
    generations = Generations(WEB, obedient=False)
    generations.daemon.pass_time(30)
    web = generations.daemon.pid("web")
    Asked(generations.daemon.supervisor.stop(["web"]))
    left = generations.die()
    generations.end_unseen(web, 0)
    daemon = generations.follow(left, others=web)
    daemon.pass_time(10)
    assert daemon.sessions.signals == [(web, signal.SIGKILL)]
    daemon.pass_time()
    assert daemon.stand("web").state is State.STOPPED


def test_only_sessions_that_may_be_there_are_guarded() -> None:
    generations = Generations(WEB, program("once", auto_restart=AutoRestart.NEVER), program("gone"))
    generations.daemon.pass_time(30)
    generations.daemon.spawner.exit(generations.daemon.pid("once"))
    gone = generations.daemon.pid("gone")
    left = generations.die()
    generations.end_unseen(gone)
    daemon = generations.follow(left)
    assert set(daemon.sessions.adopted) == {daemon.pid("web"), gone}


def test_what_was_to_end_and_has_ended_is_not_stopped_once_more() -> None:
    keys = {"on_daemon_death": OnDaemonDeath.STOP, "stop_command": ("quit",)}
    steps = (StopStep(signal=None, wait=5.0), StopStep(signal=signal.SIGTERM, wait=5.0))
    generations = Generations(program("web", stop_steps=steps, **keys))
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"), signal.SIGTERM)
    daemon = generations.follow(left)
    assert daemon.spawner.started == ["web"]
    assert not daemon.sessions.signals
    assert daemon.stand("web").restarts == 0


def test_a_start_that_was_never_written_down_is_found() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    left = generations.die()  # what comes now, finds the disk full
    old = generations.daemon.pid("web")
    generations.daemon.spawner.exit(old)
    generations.daemon.pass_time(1)
    generations.die()
    del generations.living.there[old]
    daemon = generations.follow(left)
    assert daemon.pid("web") == old + 1
    assert not daemon.spawner.requests


def test_of_several_marks_the_latest_start_counts() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    web = generations.daemon.pid("web")
    generations.die()
    helper = SpawnId(daemon=TOKEN, name="web", number=0)
    generations.living.there[7] = Living(0.0, helper, HOLDER)
    daemon = generations.follow(Left(), complete=False)
    assert daemon.pid("web") == web


def test_trouble_with_one_is_not_trouble_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    generations = Generations(WEB, program("db"))
    generations.daemon.pass_time(30)
    left = generations.die()
    find = generations.living.find
    web = generations.daemon.pid("web")

    def fail(pid: int, born: Born | None) -> int | None:
        if pid == web:
            raise OverflowError
        return find(pid, born)

    monkeypatch.setattr(generations.living, "find", fail)
    with log_lines() as told:
        daemon = generations.follow(left)
    assert "web: cannot go on with it" in told
    assert daemon.stand("db").state is State.RUNNING
    generations.end(daemon.pid("db"))
    assert daemon.spawner.started == ["db"]


def test_what_was_never_started_is_known_as_well() -> None:
    quiet = program("quiet", auto_start=False)
    generations = Generations(quiet)
    daemon = generations.follow(generations.die(), program("quiet"))
    assert not daemon.spawner.requests


def test_a_scale_that_is_void_stays_so() -> None:
    def pool(processes: int) -> Program:
        return program(
            "pool", processes=processes, process_name="p%(process_num)d", logfile="/%(process_num)d"
        )

    generations = Generations(pool(2))
    daemon = generations.daemon
    Asked(daemon.supervisor.scale("pool", 5))
    daemon.pass_time(1)
    for processes in (3, 2):
        daemon.next = configuration(pool(processes))
        Asked(daemon.supervisor.reload())
        daemon.pass_time(1)
    daemon = generations.follow(generations.die(), pool(2))
    assert len(daemon.supervisor.roster.of_program("pool")) == 2


def test_who_was_starting_counts_among_those_who_may() -> None:
    settings = replace(SETTINGS, max_starting=1)
    generations = Generations(program("web", start_seconds=5.0), program("db"), settings=settings)
    daemon = generations.crash()
    assert daemon.stand("db").state is State.WAITING
    daemon.pass_time(5)
    assert daemon.stand("db").state is State.STARTING


def test_what_was_being_removed_is_not_started_again() -> None:
    generations = Generations(WEB, program("old"), program("older", auto_restart=AutoRestart.NEVER))
    generations.daemon.pass_time(30)
    generations.daemon.spawner.exit(generations.daemon.pid("older"))
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("old"))
    daemon = generations.follow(left, WEB)
    daemon.pass_time(70)
    assert not daemon.spawner.requests
    assert [each.program.name for each in daemon.supervisor.roster] == ["web"]


def test_marks_go_on_counting() -> None:
    generations = Generations(WEB)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"))
    daemon = generations.follow(left)
    daemon.pass_time(2)
    mark = daemon.supervisor.roster["web"].memory.spawn
    assert mark == SpawnId(daemon=TOKEN, name="web", number=2)


ACTS = st.sampled_from(["start", "stop", "restart", "exit", "wait", "crash", "die"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ACTS, st.sampled_from(["web", "db"]), st.booleans()), max_size=25))
def test_whatever_happens_there_is_never_a_second_copy(
    acts: list[tuple[str, str, bool]],
) -> None:
    generations = Generations(WEB, program("db", start_seconds=3.0), obedient=False)
    for act, name, choice in acts:
        daemon = generations.daemon
        pid = daemon.stand(name).pid
        if act in {"start", "stop", "restart"}:
            Asked(getattr(daemon.supervisor, act)([name]))
            daemon.pass_time()
        elif act == "wait":
            daemon.pass_time(12 if choice else 0.7)
        elif act == "exit" and pid:
            if pid in daemon.spawner.alive:
                daemon.spawner.exit(pid, code=1)
                generations.living.there.pop(pid, None)
            else:
                generations.end(pid, 1 << 8)
            if choice:
                daemon.pass_time()
        elif act == "crash":
            generations.crash()
        elif act == "die":
            left = generations.die()
            if pid:
                generations.end_unseen(pid, 9 if choice else None)
            generations.follow(left)
        _check_single(generations)


def _check_single(generations: Generations) -> None:
    daemon = generations.daemon
    alive: dict[str, set[int]] = {}
    for pid, each in generations.living.there.items():
        assert each.mark is not None
        alive.setdefault(each.mark.name, set()).add(pid)
    for process in daemon.supervisor.roster:
        if process.pid in daemon.spawner.alive:
            alive.setdefault(process.program.name, set()).add(process.pid)
    for name, pids in alive.items():
        assert len(pids) == 1, f"{name} twice: {pids}"
        assert daemon.stand(name).pid in pids


def exits(daemon: FakeDaemon, name: str) -> list[tuple[int | None, int | None, str]]:
    [why] = answer(daemon.supervisor.why([name])).programs
    return [(each.ended.code, each.ended.signal, each.stopped_by) for each in why.exits]


def test_ends_are_remembered_over_the_death_of_the_daemon() -> None:
    generations = Generations(WEB)
    generations.daemon.pass_time(30)
    generations.daemon.spawner.exit(generations.daemon.pid("web"), code=3)
    generations.daemon.pass_time(30)
    daemon = generations.crash()
    assert exits(daemon, "web") == [(3, None, "")]
    generations.end(daemon.pid("web"), 4 << 8)
    daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(daemon.pid("web"), signal.SIGSEGV)
    daemon = generations.follow(left)
    assert exits(daemon, "web") == [(3, None, ""), (4, None, ""), (None, signal.SIGSEGV, "")]


def test_who_has_stopped_it_is_known_to_the_next_daemon() -> None:
    generations = Generations(WEB, obedient=False)
    generations.daemon.pass_time(30)
    Asked(generations.daemon.supervisor.stop(["web"], by="alice"))
    daemon = generations.crash()
    assert daemon.stand("web").state is State.STOPPING
    generations.end(daemon.pid("web"), signal.SIGTERM)
    daemon.pass_time(5)
    assert exits(daemon, "web") == [(None, signal.SIGTERM, "alice")]
    [why] = answer(generations.crash().supervisor.why(["web"])).programs
    assert why.cause.startswith("web is STOPPED: alice stopped it ")


def test_what_ends_with_the_daemon_was_stopped_by_its_death() -> None:
    generations = Generations(program("web", on_daemon_death=OnDaemonDeath.STOP))
    generations.daemon.pass_time(30)
    left = generations.die()
    generations.end_unseen(generations.daemon.pid("web"), signal.SIGTERM)
    daemon = generations.follow(left)
    assert exits(daemon, "web") == [(None, signal.SIGTERM, DAEMON_DEATH)]
    daemon.pass_time(30)
    daemon = generations.crash()  # and this time it was not quick enough
    assert daemon.stand("web").state is State.STOPPING
    generations.end(daemon.pid("web"), signal.SIGTERM)
    assert exits(daemon, "web")[1:] == [(None, signal.SIGTERM, DAEMON_DEATH)]
