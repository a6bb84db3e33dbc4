"""Programs that depend on others: how they start, stop and restart together."""

from __future__ import annotations

from dataclasses import replace

from fakes.asking import Asked
from fakes.daemon import SETTINGS, FakeDaemon, configuration, program

from supervisortw.core.model import AutoRestart
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.core.status import Outcome, Result

DB = program("db")
CACHE = program("cache", priority=1)
WEB = program("web", depends_on=("db", "cache"), priority=1)
APART = program("apart")


def daemon(*programs: object, **keys: object) -> FakeDaemon:
    return FakeDaemon(*(programs or (WEB, DB, CACHE, APART)), **keys)


def booted(*programs: object, **keys: object) -> FakeDaemon:
    made = daemon(*programs, **keys)
    made.supervisor.boot()
    made.pass_time(5)
    return made


def states(made: FakeDaemon) -> dict[str, str]:
    return {each.program.name: each.life.state.value for each in made.supervisor.roster}


def told(asked: Asked[list[Outcome]]) -> dict[str, str]:
    return {each.name: each.text for each in asked.answer}


class TestStarting:
    def test_at_boot_who_depends_on_others_starts_when_they_are_up(self) -> None:
        made = daemon()
        made.supervisor.boot()
        assert made.spawner.started == ["cache", "db", "apart"]
        assert made.stand("web").state is State.WAITING
        made.pass_time(1)
        assert made.spawner.started == ["cache", "db", "apart", "web"]

    def test_ready_means_ready_where_that_is_said(self) -> None:
        made = daemon(replace(WEB, depends_on=("db",)), replace(DB, notify=True))
        made.supervisor.boot()
        made.pass_time(30)
        assert states(made) == {"web": "WAITING", "db": "STARTING"}
        made.notices.heard["db"](Notice(ready=True), 0)
        assert states(made) == {"web": "STARTING", "db": "RUNNING"}

    def test_all_processes_of_what_it_depends_on_have_to_be_ready(self) -> None:
        made = daemon(replace(WEB, depends_on=("db",)), program("db", processes=2, notify=True))
        made.supervisor.boot()
        made.notices.heard["db:db_0"](Notice(ready=True), 0)
        assert made.stand("web").state is State.WAITING
        assert made.stand("web").detail == "waiting for db:db_1 (STARTING)"
        made.notices.heard["db:db_1"](Notice(ready=True), 0)
        assert made.stand("web").state is State.STARTING

    def test_a_start_brings_up_what_is_needed_and_tells_of_it(self) -> None:
        off = [replace(each, auto_start=False) for each in (WEB, DB, CACHE, APART)]
        made = booted(*off)
        starting = Asked(made.supervisor.start(["web"]))
        made.pass_time(5)
        assert list(told(starting)) == ["web", "db", "cache"]
        assert all(each.good for each in starting.answer)
        assert made.stand("apart").state is State.STOPPED

    def test_what_needs_something_that_starts_by_itself_brings_up_the_rest_at_boot(self) -> None:
        made = booted(WEB, replace(DB, auto_start=False), CACHE)
        assert states(made) == {"web": "RUNNING", "db": "RUNNING", "cache": "RUNNING"}

    def test_nobody_waits_for_an_answer_about_what_will_not_come(self) -> None:
        made = daemon()
        made.spawner.broken["db"] = "command not found: db"
        starting = Asked(made.supervisor.start(["web"]))
        made.pass_time(5)
        assert told(starting)["web"] == "waiting for db (FATAL)"
        assert made.stand("web").state is State.WAITING
        del made.spawner.broken["db"]
        Asked(made.supervisor.start(["db"]))
        made.pass_time(5)
        assert made.stand("web").state is State.RUNNING

    def test_whoever_waits_for_one_who_waits_in_vain_waits_in_vain(self) -> None:
        front = program("front", depends_on=("web",))
        made = daemon(front, WEB, DB, CACHE)
        made.spawner.broken["db"] = "command not found: db"
        starting = Asked(made.supervisor.start(["front"]))
        made.pass_time(5)
        assert told(starting)["front"] == "waiting for web (WAITING)"

    def test_what_was_stopped_by_hand_is_not_started_by_a_crash_of_another(self) -> None:
        made = booted()
        Asked(made.supervisor.stop(["db"]))
        made.pass_time(5)
        made.spawner.exit(made.pid("web"), code=1)
        made.pass_time(60)
        assert states(made)["db"] == "STOPPED"
        assert made.stand("web").detail == "waiting for db (STOPPED)"


class TestOneshots:
    MIGRATE = program(
        "migrate", oneshot=True, exit_codes=frozenset({0}), auto_restart=AutoRestart.NEVER
    )
    APP = program("app", depends_on=("migrate",))

    def test_it_is_ready_when_it_has_done_its_work(self) -> None:
        made = daemon(self.APP, self.MIGRATE)
        starting = Asked(self.start(made))
        made.pass_time(100)
        assert states(made) == {"app": "WAITING", "migrate": "RUNNING"}
        assert not starting.done
        made.spawner.exit(made.pid("migrate"))
        made.pass_time(1)
        assert states(made) == {"app": "RUNNING", "migrate": "EXITED"}
        assert [each.result for each in starting.answer] == [Result.STARTED, Result.ENDED]

    def test_its_failure_keeps_others_waiting(self) -> None:
        made = daemon(self.APP, self.MIGRATE)
        starting = Asked(self.start(made))
        made.spawner.exit(made.pid("migrate"), code=3)
        assert told(starting)["app"] == "waiting for migrate (EXITED)"
        assert states(made) == {"app": "WAITING", "migrate": "EXITED"}

    def test_what_is_done_is_not_done_again_for_another(self) -> None:
        made = daemon(self.APP, self.MIGRATE)
        Asked(self.start(made))
        made.spawner.exit(made.pid("migrate"))
        made.pass_time(1)
        Asked(made.supervisor.restart(["app"]))
        made.pass_time(2)
        assert made.spawner.started == ["migrate", "app", "app"]

    def start(self, made: FakeDaemon) -> object:
        return made.supervisor.start(["app"])


class TestStopping:
    def test_dependants_go_first_whatever_their_priority(self) -> None:
        made = booted()
        Asked(made.supervisor.stop(["all"]))
        assert states(made) == {
            "web": "STOPPING",
            "db": "RUNNING",
            "cache": "RUNNING",
            "apart": "RUNNING",
        }
        made.pass_time(1)
        assert set(states(made).values()) == {"STOPPED"}

    def test_what_is_stopped_alone_stops_alone(self) -> None:
        made = booted()
        stopping = Asked(made.supervisor.stop(["db", "apart"]))
        made.pass_time(1)
        assert states(made)["web"] == "RUNNING"
        assert told(stopping)["db"].endswith("; still up, and depending on it: web")
        assert "depending" not in told(stopping)["apart"]


class TestRestarting:
    def test_dependants_end_first_and_start_when_the_others_are_ready_again(self) -> None:
        made = booted()
        before = len(made.spawner.started)
        made.listener.changes.clear()
        restarting = Asked(made.supervisor.restart(["web", "db"]))
        made.pass_time(5)
        assert made.spawner.started[before:] == ["db", "web"]
        assert made.listener.told() == [
            "web STOPPING",
            "web WAITING",
            "db STOPPING",
            "db STARTING",
            "db RUNNING",
            "web STARTING",
            "web RUNNING",
        ]
        assert [each.result for each in restarting.answer] == [Result.RESTARTED] * 2

    def test_a_dependency_that_does_not_come_back_is_told(self) -> None:
        made = booted()
        made.spawner.broken["db"] = "command not found: db"
        restarting = Asked(made.supervisor.restart(["web", "db"]))
        made.pass_time(5)
        assert told(restarting) == {
            "web": "waiting for db (FATAL)",
            "db": "command not found: db",
        }


class TestMaxStarting:
    def test_not_more_than_so_many_are_starting(self) -> None:
        programs = [program(f"p{number}") for number in range(5)]
        made = daemon(*programs, settings=replace(SETTINGS, max_starting=2))
        made.supervisor.boot()
        for _ in range(5):
            found = list(states(made).values())
            assert found.count("STARTING") <= 2
            made.pass_time(1)
        assert set(states(made).values()) == {"RUNNING"}


class TestReload:
    def reload(self, made: FakeDaemon, *programs: object) -> None:
        made.next = configuration(*programs)
        Asked(made.supervisor.reload())
        made.pass_time(5)

    def test_who_waits_for_what_it_does_not_depend_on_any_more_starts(self) -> None:
        made = daemon(replace(WEB, depends_on=("db",)), DB)
        made.spawner.broken["db"] = "command not found: db"
        made.supervisor.boot()
        assert made.stand("web").state is State.WAITING
        self.reload(made, replace(WEB, depends_on=()), DB)
        assert made.stand("web").state is State.RUNNING

    def test_who_waits_for_what_is_not_there_any_more_starts(self) -> None:
        made = daemon(replace(WEB, depends_on=("db",)), replace(DB, processes=2))
        made.spawner.broken["db"] = "command not found: db"
        made.supervisor.boot()
        made.pass_time(5)
        assert made.stand("web").state is State.WAITING
        Asked(made.supervisor.scale("db", 0))
        made.pass_time(5)
        assert made.stand("web").state is State.RUNNING

    def test_who_is_removed_together_with_what_it_depends_on_goes_first(self) -> None:
        made = booted(replace(WEB, depends_on=("db",)), DB)
        made.sessions.obedient = False
        web = made.pid("web")
        self.reload(made)
        assert states(made) == {"web": "STOPPING", "db": "RUNNING"}
        made.spawner.exit(web)
        made.pass_time(1)
        assert states(made) == {"db": "STOPPING"}

    def test_restarts_that_overlap_do_not_let_anybody_in_too_early(self) -> None:
        made = booted(replace(WEB, depends_on=("db",)), DB, replace(APART, depends_on=("db",)))
        made.sessions.obedient = False
        Asked(made.supervisor.restart(["web", "db"]))
        Asked(made.supervisor.restart(["apart", "db"]))
        made.spawner.exit(made.pid("apart"))
        made.pass_time(0)
        assert states(made)["apart"] == "WAITING"
