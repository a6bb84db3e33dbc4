"""Reload: each row of the plan carried out, refusals, and what else may happen meanwhile."""

from __future__ import annotations

from dataclasses import replace
from signal import SIGTERM

import pytest
from fakes.asking import Asked, answer
from fakes.daemon import SETTINGS, FakeDaemon, configuration, program
from fakes.logged import log_lines
from twisted.internet.defer import Deferred

from supervisortw.core.model import Keeping, Program, StopStep
from supervisortw.core.states import State
from supervisortw.core.status import Outcome, ReloadAnswer, Result
from supervisortw.errors import ConfigError, Problem, Refused

WEB = program("web")
SOON = (StopStep(signal=SIGTERM, wait=3.0),)


def booted(*programs: Program, **keys: object) -> FakeDaemon:
    daemon = FakeDaemon(*programs, **keys)
    daemon.supervisor.boot()
    daemon.pass_time(1)
    return daemon


def reload(daemon: FakeDaemon, *programs: Program, **keys: object) -> ReloadAnswer:
    """Let the file say something else, and reload it."""
    daemon.next = configuration(*programs, **keys)
    reloading = Asked(daemon.supervisor.reload())
    daemon.pass_time(20)
    return reloading.answer


def told(answer: ReloadAnswer) -> list[tuple[str, Result]]:
    return [(each.name, each.result) for each in answer.outcomes]


def names(daemon: FakeDaemon) -> list[str]:
    return [each.name for each in answer(daemon.supervisor.status([])).programs]


class TestRowsOfThePlan:
    def test_nothing_has_changed(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, WEB)
        assert (result.lines, result.outcomes, result.warnings) == ((), (), ())
        assert daemon.spawner.started == ["web"]

    def test_a_new_program_is_started(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, WEB, program("api"))
        assert result.lines == ("api: added, to be started",)
        assert told(result) == [("api", Result.STARTED)]
        assert daemon.up() == ["web", "api"]

    def test_a_new_program_that_does_not_start_by_itself_is_not(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, WEB, program("api", auto_start=False))
        assert result.lines == ("api: added, not started",)
        assert result.outcomes == ()
        assert names(daemon) == ["web", "api"]
        assert daemon.up() == ["web"]

    def test_a_new_program_that_cannot_start_is_one_failure(self) -> None:
        daemon = booted(WEB)
        daemon.spawner.broken["api"] = "command not found: api"
        result = reload(daemon, WEB, program("api"), program("db"))
        assert told(result) == [("api", Result.FAILED), ("db", Result.STARTED)]
        assert daemon.stand("api").state is State.FATAL

    def test_a_removed_program_is_stopped_and_forgotten(self) -> None:
        daemon = booted(WEB, program("api"))
        result = reload(daemon, WEB)
        assert result.lines == ("api: removed, to be stopped",)
        assert told(result) == [("api", Result.STOPPED)]
        assert names(daemon) == ["web"]
        assert daemon.output("api").closed
        with pytest.raises(Refused, match="no such program"):
            answer(daemon.supervisor.tail("api", 1))

    def test_a_removed_program_that_is_down_is_forgotten(self) -> None:
        daemon = booted(WEB, program("api", auto_start=False))
        result = reload(daemon, WEB)
        assert result.lines == ("api: removed",)
        assert names(daemon) == ["web"]
        assert daemon.output("api").closed

    def test_a_removed_program_is_known_until_it_is_gone(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration()
        reloading = Asked(daemon.supervisor.reload())
        daemon.pass_time(1)
        assert daemon.stand("web").state is State.STOPPING
        assert not daemon.output("web").closed
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time()
        assert reloading.done
        assert names(daemon) == []

    def test_what_the_process_does_not_see_is_changed_in_place(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, replace(WEB, priority=5, stop_steps=SOON))
        expected = "web: updated in place (priority, stop-wait-seconds changed)"
        assert result.lines == (expected,)
        assert result.outcomes == ()
        assert daemon.spawner.started == ["web"]
        Asked(daemon.supervisor.stop(["web"]))
        assert 3.0 in [each.getTime() - 21 for each in daemon.clock.getDelayedCalls()]

    def test_another_command_of_what_is_up_means_a_restart(self) -> None:
        daemon = booted(WEB, program("api"))
        result = reload(daemon, replace(WEB, command=("web2",)), program("api"))
        assert result.lines == ("web: to be restarted (command changed)",)
        assert told(result) == [("web", Result.RESTARTED)]
        assert daemon.spawner.started == ["web", "api", "web2"]

    @pytest.mark.parametrize("state", [State.STOPPED, State.EXITED, State.FATAL])
    def test_another_command_of_what_is_down_starts_nothing(self, state: State) -> None:
        daemon = booted(program("web", exit_codes=frozenset({0}), backoff_limit=1))
        if state is State.STOPPED:
            Asked(daemon.supervisor.stop(["web"]))
        else:
            Asked(daemon.supervisor.restart(["web"]))
            daemon.clock.advance(0)
            daemon.spawner.exit(daemon.pid("web"), code=0 if state is State.EXITED else 1)
        daemon.pass_time()
        assert daemon.stand("web").state is state
        before = len(daemon.spawner.requests)
        result = reload(daemon, replace(WEB, command=("web2",)))
        assert result.lines[0].startswith("web: updated in place")
        assert len(daemon.spawner.requests) == before
        answer_to_start = Asked(daemon.supervisor.start(["web"]))
        daemon.pass_time(1)
        assert answer_to_start.answer[0].good
        assert daemon.spawner.started[-1] == "web2"

    def test_what_waits_for_its_next_try_gets_the_new_command_at_once(self) -> None:
        daemon = booted(WEB)
        daemon.spawner.exit(daemon.pid("web"), code=1)
        assert daemon.stand("web").state is State.BACKOFF
        result = reload(daemon, replace(WEB, command=("web2",)))
        assert told(result) == [("web", Result.RESTARTED)]

    def test_removals_come_first_then_the_others_by_priority(self) -> None:
        daemon = booted(program("old"), program("changed", priority=7), calm=True)
        daemon.listener.changes.clear()
        reload(
            daemon,
            program("late", priority=9),
            program("changed", priority=7, command=("changed2",)),
            program("early", priority=1),
        )
        begun = [each for each in daemon.listener.told() if each.split()[1] != "RUNNING"]
        assert begun[:4] == [
            "old STOPPING",
            "early STARTING",
            "changed STOPPING",
            "late STARTING",
        ]

    def test_warnings_of_the_file_and_remarks_of_the_daemon_are_passed_on(self) -> None:
        daemon = booted(WEB)
        daemon.applying.addCallback(lambda _: ["not listening on /run/x"])
        result = reload(daemon, WEB, warnings=("/etc/test.conf:3: no passwords yet",))
        assert result.warnings == (
            "/etc/test.conf:3: no passwords yet",
            "not listening on /run/x",
        )

    def test_one_line_of_the_log_says_so(self) -> None:
        daemon = booted(WEB)
        with log_lines() as lines:
            reload(daemon, program("api"))
        assert lines == ["reloaded /etc/test.conf; changes: 2"]


class TestSettings:
    def test_they_are_applied_and_told(self) -> None:
        daemon = booted(WEB)
        settings = replace(SETTINGS, loglevel="debug", pidfile="/run/other.pid")
        result = reload(daemon, WEB, settings=settings)
        assert result.lines == (
            "supervisord: loglevel changed",
            "supervisord: pidfile changed; it takes effect when supervisord is started anew",
        )
        [(old, new)] = daemon.applied
        assert (old.settings, new.settings) == (SETTINGS, settings)
        assert daemon.spawner.started == ["web"]

    def test_the_next_reload_compares_with_this_one(self) -> None:
        daemon = booted(WEB)
        settings = replace(SETTINGS, loglevel="debug")
        reload(daemon, WEB, settings=settings)
        assert reload(daemon, WEB, settings=settings).lines == ()


class TestLogfile:
    NEW = replace(WEB, logfile="/var/log/new.log")

    def test_the_next_process_writes_to_the_new_one(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, self.NEW)
        assert result.lines == ("web: to be restarted (logfile changed)",)
        old, new = daemon.outputs["web"]
        assert old.closed
        assert not new.closed
        assert (len(old.writers), len(new.writers)) == (1, 1)
        new.write(b"hello\n")
        assert answer(daemon.supervisor.tail("web", 1)).data == b"hello\n"

    def test_the_old_one_stays_open_until_the_old_process_is_gone(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration(self.NEW)
        reloading = Asked(daemon.supervisor.reload())
        daemon.pass_time(1)
        old, new = daemon.outputs["web"]
        assert not old.closed
        assert new.writers == []
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(1)
        assert reloading.done
        assert old.closed

    def test_of_what_is_down_it_is_changed_at_once(self) -> None:
        daemon = FakeDaemon(WEB)
        reload(daemon, self.NEW)
        old, new = daemon.outputs["web"]
        assert (old.closed, new.closed) == (True, False)
        assert daemon.spawner.requests == []

    def test_how_much_is_kept_is_changed_in_place(self) -> None:
        daemon = booted(WEB)
        result = reload(daemon, replace(WEB, logfile_size=1000, logfile_backups=2))
        assert result.lines == ("web: updated in place (logfile-backups, logfile-size changed)",)
        [output] = daemon.outputs["web"]
        assert output.keeping == Keeping(size=1000, backups=2)
        assert len(output.writers) == 1

    def test_another_user_opens_it_anew(self) -> None:
        daemon = FakeDaemon(WEB)
        reload(daemon, replace(WEB, user="www"))
        assert [each.closed for each in daemon.outputs["web"]] == [True, False]

    def test_who_follows_the_log_goes_on_with_the_new_one(self) -> None:
        daemon = booted(WEB)
        told: list[int] = []
        daemon.supervisor.watch_log("web", lambda: told.append(1))
        reload(daemon, self.NEW)
        told.clear()
        daemon.output("web").write(b"new\n")
        assert told == [1]

    def test_who_follows_the_log_of_a_removed_program_is_told(self) -> None:
        daemon = booted(WEB)
        told: list[int] = []
        daemon.supervisor.watch_log("web", lambda: told.append(1))
        reload(daemon)
        assert told

    def test_another_command_does_not(self) -> None:
        daemon = booted(WEB)
        reload(daemon, replace(WEB, command=("web2",)))
        [output] = daemon.outputs["web"]
        assert not output.closed
        assert len(output.writers) == 2


class TestRefused:
    def test_problems_leave_everything_as_it_is(self) -> None:
        daemon = booted(WEB, program("api"))
        before = daemon.supervisor.configuration
        daemon.next = ConfigError([Problem("/etc/test.conf", 3, "no such key: comand")])
        with pytest.raises(Refused) as caught:
            answer(daemon.supervisor.reload())
        assert str(caught.value) == (
            "the configuration was left as it is:\n/etc/test.conf:3: no such key: comand"
        )
        assert daemon.supervisor.configuration is before
        assert daemon.applied == []
        assert daemon.up() == ["web", "api"]

    def test_the_next_reload_is_not_hindered(self) -> None:
        daemon = booted(WEB)
        daemon.next = ConfigError([Problem("/etc/test.conf", 3, "nonsense")])
        with pytest.raises(Refused):
            answer(daemon.supervisor.reload())
        assert told(reload(daemon, WEB, program("api"))) == [("api", Result.STARTED)]

    def test_reread_has_the_same_reasons(self) -> None:
        daemon = booted(WEB)
        daemon.next = ConfigError([Problem("/etc/test.conf", 3, "nonsense")])
        with pytest.raises(Refused, match=r"/etc/test\.conf:3: nonsense"):
            answer(daemon.supervisor.reread())


class TestReread:
    def test_it_tells_the_plan_and_does_nothing(self) -> None:
        daemon = booted(WEB, program("api"))
        daemon.next = configuration(
            replace(WEB, command=("web2",)), program("db"), warnings=("careful",)
        )
        result = answer(daemon.supervisor.reread())
        assert result.lines == (
            "api: removed, to be stopped",
            "web: to be restarted (command changed)",
            "db: added, to be started",
        )
        assert (result.warnings, result.outcomes) == (("careful",), ())
        assert daemon.applied == []
        assert daemon.up() == names(daemon) == ["web", "api"]

    def test_a_reload_does_just_that(self) -> None:
        daemon = booted(WEB, program("api"))
        daemon.next = configuration(replace(WEB, command=("web2",)), program("db"))
        foretold = answer(daemon.supervisor.reread())
        reloading = Asked(daemon.supervisor.reload())
        daemon.pass_time(20)
        assert reloading.answer.lines == foretold.lines


class TestMeanwhile:
    """Reloads take time: the file is read in a thread, listeners close, programs stop."""

    def test_a_second_reload_waits_for_the_first(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration()
        first = Asked(daemon.supervisor.reload())
        daemon.next = configuration(WEB)
        second = Asked(daemon.supervisor.reload())
        daemon.pass_time(1)
        assert (first.done, second.done) == (False, False)
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(1)
        assert told(first.answer) == [("web", Result.STOPPED)]
        assert told(second.answer) == [("web", Result.STARTED)]
        assert daemon.up() == ["web"]

    def test_shutdown_while_the_file_is_read(self) -> None:
        daemon = booted(WEB)
        daemon.loading = Deferred()
        daemon.next = configuration(WEB, program("api"))
        reloading = Asked(daemon.supervisor.reload())
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(1)
        daemon.loading.callback(None)
        with pytest.raises(Refused, match="shutting down"):
            assert reloading.answer
        assert daemon.spawner.started == ["web"]

    def test_shutdown_while_settings_are_applied(self) -> None:
        daemon = booted(WEB)
        daemon.applying = Deferred()
        daemon.next = configuration(WEB, program("api"))
        reloading = Asked(daemon.supervisor.reload())
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(1)
        daemon.applying.callback(())
        daemon.pass_time(1)
        assert reloading.done
        assert daemon.spawner.started == ["web"], "a program that nobody will stop any more"

    def test_shutdown_while_a_program_is_restarted(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration(replace(WEB, command=("web2",)))
        reloading = Asked(daemon.supervisor.reload())
        shutting = Asked(daemon.supervisor.shutdown())
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(1)
        assert told(reloading.answer) == [("web", Result.SUPERSEDED)]
        assert [each.result for each in shutting.answer] == [Result.STOPPED]
        assert daemon.up() == []
        assert daemon.ended == 1

    def test_shutdown_while_a_program_is_removed(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration()
        reloading = Asked(daemon.supervisor.reload())
        shutting = Asked(daemon.supervisor.shutdown())
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(1)
        assert told(reloading.answer) == [("web", Result.STOPPED)]
        assert [each.result for each in shutting.answer] == [Result.STOPPED]
        assert daemon.ended == 1

    def test_what_an_operator_is_stopping_stays_stopped(self) -> None:
        daemon = booted(WEB, obedient=False)
        stopping = Asked(daemon.supervisor.stop(["web"]))
        daemon.next = configuration(replace(WEB, command=("web2",)))
        reloading = Asked(daemon.supervisor.reload())
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(20)
        assert [each.result for each in stopping.answer] == [Result.STOPPED]
        assert reloading.done
        assert daemon.stand("web").state is State.STOPPED

    def test_the_log_of_what_is_being_stopped_stays_open_until_it_is_gone(self) -> None:
        daemon = booted(WEB, obedient=False)
        Asked(daemon.supervisor.stop(["web"]))
        daemon.next = configuration(replace(WEB, logfile="/var/log/new.log"))
        Asked(daemon.supervisor.reload())
        daemon.pass_time(1)
        assert not daemon.outputs["web"][0].closed
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time()
        assert daemon.outputs["web"][0].closed

    def test_a_restart_that_is_under_way_gets_the_new_command(self) -> None:
        daemon = booted(WEB, obedient=False)
        restarting = Asked(daemon.supervisor.restart(["web"]))
        daemon.next = configuration(replace(WEB, command=("web2",)))
        Asked(daemon.supervisor.reload())
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(1)
        assert [each.result for each in restarting.answer] == [Result.RESTARTED]
        assert daemon.spawner.started == ["web", "web2"]

    def test_what_is_removed_cannot_be_started_behind_its_back(self) -> None:
        daemon = booted(WEB, obedient=False)
        daemon.next = configuration()
        reloading = Asked(daemon.supervisor.reload())
        starting = Asked(daemon.supervisor.start(["web"]))
        daemon.sessions.obedient = True
        daemon.spawner.exit(daemon.pid("web"))
        daemon.pass_time(30)
        assert reloading.done
        assert starting.done
        assert daemon.spawner.alive == {}, "a process that is in no table any more"
        assert names(daemon) == []

    def test_the_one_who_asked_goes_away(self) -> None:
        daemon = booted(WEB)
        daemon.next = configuration(replace(WEB, command=("web2",)), program("api"))
        Asked(daemon.supervisor.reload()).cancel()
        daemon.pass_time(20)
        assert sorted(daemon.up()) == ["api", "web"]
        again = Asked(daemon.supervisor.reload())
        daemon.pass_time(20)
        assert again.done, "the next reload waits for ever"
        assert again.answer.lines == ()


def test_outcomes_are_in_the_order_in_which_they_were_begun() -> None:
    daemon = booted(program("old"))
    result = reload(daemon, program("b", priority=2), program("a", priority=1))
    assert [each.name for each in result.outcomes] == ["old", "a", "b"]
    assert all(isinstance(each, Outcome) for each in result.outcomes)
