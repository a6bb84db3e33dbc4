"""All programs together: order, selection, shutdown, and what a new process is given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest
from fakes.asking import Asked, answer
from fakes.daemon import SETTINGS, FakeDaemon, configuration, program
from fakes.logged import log_lines

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Program, StopStep, TcpAddress, UnixAddress
from supervisortw.core.signals import signal_number
from supervisortw.core.states import State
from supervisortw.core.status import Outcome, Result
from supervisortw.errors import Refused, SpawnError

FIRST, SECOND, LAST = (
    program("first", priority=1),
    program("second", priority=5),
    program("last", priority=900),
)
THREE = (LAST, FIRST, SECOND)  # the order of the file


def booted(*programs: Program, **keys: object) -> FakeDaemon:
    """Return a daemon whose programs are RUNNING."""
    daemon = FakeDaemon(*programs, **keys)
    daemon.supervisor.boot()
    daemon.pass_time(1)
    daemon.listener.changes.clear()
    return daemon


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, Result]]:
    return [(each.name, each.result) for each in outcomes]


class TestBoot:
    def test_lower_priority_numbers_start_first(self) -> None:
        daemon = FakeDaemon(*THREE)
        daemon.supervisor.boot()
        assert daemon.spawner.started == ["first", "second", "last"]

    def test_of_equal_priority_in_the_order_of_the_file(self) -> None:
        daemon = FakeDaemon(program("b"), program("a"), program("c"))
        daemon.supervisor.boot()
        assert daemon.spawner.started == ["b", "a", "c"]

    def test_only_what_starts_by_itself(self) -> None:
        daemon = FakeDaemon(program("a"), program("b", auto_start=False))
        daemon.supervisor.boot()
        assert daemon.spawner.started == ["a"]
        assert daemon.stand("b").state is State.STOPPED

    def test_one_that_fails_does_not_keep_the_others_down(self) -> None:
        daemon = FakeDaemon(*THREE)
        daemon.spawner.broken["first"] = "no such command"
        daemon.supervisor.boot()
        daemon.pass_time(1)
        assert daemon.up() == ["second", "last"]
        assert daemon.stand("first").state is State.FATAL

    def test_it_counts_as_no_restart(self) -> None:
        assert booted(FIRST).stand("first").restarts == 0


class TestStatus:
    def test_about_the_daemon(self) -> None:
        sockets = (UnixAddress(path="/run/a.sock"), TcpAddress(host="::1", port=9001))
        daemon = FakeDaemon(settings=replace(SETTINGS, sockets=sockets))
        daemon.notes = ["not listening on [::1]:9001"]
        daemon.clock.advance(12.5)
        status = answer(daemon.supervisor.status([]))
        assert (status.version, status.pid, status.source) == (
            "1.2.3",
            os.getpid(),
            "/etc/test.conf",
        )
        assert status.sockets == ("/run/a.sock", "[::1]:9001")
        assert status.notes == ("not listening on [::1]:9001",)
        assert (status.uptime, status.shutting_down, status.programs) == (12.5, False, ())

    def test_about_programs_in_the_order_of_the_words(self) -> None:
        daemon = booted(*THREE)
        status = answer(daemon.supervisor.status(["second", "nosuch", "all"]))
        assert [each.name for each in status.programs] == ["second", "last", "first"]
        assert told(status.unknown) == [("nosuch", Result.UNKNOWN)]

    def test_up_means_that_a_process_is_alive(self) -> None:
        daemon = booted(program("a"), program("b"), obedient=False)
        Asked(daemon.supervisor.stop(["a"]))
        daemon.spawner.exit(daemon.pid("b"), code=1)
        assert daemon.stand("a").state is State.STOPPING
        assert daemon.stand("b").state is State.BACKOFF
        status = answer(daemon.supervisor.status(["up"]))
        assert [each.name for each in status.programs] == ["a"]


class TestOrder:
    def test_starts_go_by_priority_and_answers_by_request(self) -> None:
        daemon = FakeDaemon(*THREE)
        starting = Asked(daemon.supervisor.start(["last", "first", "second"]))
        assert daemon.spawner.started == ["first", "second", "last"]
        daemon.pass_time(1)
        assert [each.name for each in starting.answer] == ["last", "first", "second"]

    def test_start_answers_when_the_slowest_is_up(self) -> None:
        daemon = FakeDaemon(program("fast"), program("slow", start_seconds=9.0))
        starting = Asked(daemon.supervisor.start(["all"]))
        daemon.pass_time(8.9)
        assert not starting.done
        daemon.pass_time(0.1)
        assert starting.done

    def test_stops_go_in_waves_from_the_highest_number_down(self) -> None:
        daemon = booted(*THREE, program("last2", priority=900), obedient=False)
        stopping = Asked(daemon.supervisor.stop(["all"]))
        assert daemon.listener.told() == ["last STOPPING", "last2 STOPPING"]
        daemon.spawner.exit(daemon.pid("last"))
        daemon.pass_time()
        assert daemon.listener.told() == ["last STOPPED"]
        daemon.spawner.exit(daemon.pid("last2"))
        daemon.pass_time()
        assert daemon.listener.told() == ["last2 STOPPED", "second STOPPING"]
        daemon.spawner.exit(daemon.pid("second"))
        daemon.pass_time()
        assert daemon.listener.told() == ["second STOPPED", "first STOPPING"]
        assert not stopping.done
        daemon.spawner.exit(daemon.pid("first"))
        daemon.pass_time()
        assert [each.name for each in stopping.answer] == ["last", "first", "second", "last2"]

    def test_a_wave_lasts_until_the_whole_trees_are_gone(self) -> None:
        daemon = booted(FIRST, LAST)
        last = daemon.pid("last")
        daemon.sessions.others.add(last)
        Asked(daemon.supervisor.stop(["all"]))
        daemon.pass_time(1)
        assert daemon.stand("first").state is State.RUNNING
        daemon.sessions.end_others(last)
        daemon.pass_time()
        assert daemon.stand("first").state is State.STOPPED

    def test_a_wave_that_does_not_end_is_killed(self) -> None:
        daemon = booted(
            FIRST, program("last", stop_steps=(StopStep(signal=SIGTERM, wait=3.0),)), obedient=False
        )
        pid = daemon.pid("last")
        Asked(daemon.supervisor.stop(["all"]))
        daemon.pass_time(3)
        assert (pid, SIGKILL) in daemon.sessions.signals
        assert daemon.listener.told()[-1] == "first STOPPING"

    def test_restarts_are_all_begun_at_once(self) -> None:
        daemon = booted(*THREE)
        restarting = Asked(daemon.supervisor.restart(["all"]))
        assert daemon.listener.told() == ["first STOPPING", "second STOPPING", "last STOPPING"]
        daemon.pass_time(1)
        assert told(restarting.answer) == [
            ("last", Result.RESTARTED),
            ("first", Result.RESTARTED),
            ("second", Result.RESTARTED),
        ]


class TestShutdown:
    def test_in_waves_then_the_answer_then_the_end(self) -> None:
        daemon = booted(*THREE)
        shutting = Asked(daemon.supervisor.shutdown())
        assert daemon.listener.told() == ["last STOPPING"]
        daemon.clock.advance(0)
        assert daemon.listener.told()[-2:] == ["first STOPPING", "first STOPPED"]
        assert told(shutting.answer) == [
            ("last", Result.STOPPED),
            ("second", Result.STOPPED),
            ("first", Result.STOPPED),
        ]
        daemon.pass_time()
        assert daemon.ended == 1

    def test_the_answer_is_there_before_the_end(self) -> None:
        daemon = FakeDaemon()
        shutting = Asked(daemon.supervisor.shutdown())
        assert shutting.done
        assert daemon.ended == 0
        daemon.pass_time()
        assert daemon.ended == 1

    def test_it_goes_on_when_the_one_who_asked_goes_away(self) -> None:
        daemon = booted(*THREE)
        Asked(daemon.supervisor.shutdown()).cancel()
        daemon.pass_time(1)
        assert daemon.up() == []
        assert daemon.ended == 1

    def test_asked_after_the_end_it_still_answers(self) -> None:
        daemon = booted(FIRST)
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(1)
        assert told(answer(daemon.supervisor.shutdown())) == [("first", Result.STOPPED)]
        daemon.pass_time(1)
        assert daemon.ended == 1

    def test_what_waits_to_be_restarted_is_not(self) -> None:
        daemon = booted(FIRST)
        daemon.spawner.exit(daemon.pid("first"), code=1)
        assert daemon.stand("first").state is State.BACKOFF
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(100)
        assert daemon.spawner.started == ["first"]

    def test_nothing_is_started_during_it(self) -> None:
        daemon = booted(FIRST, program("down", auto_start=False), obedient=False)
        Asked(daemon.supervisor.shutdown())
        for wait in (
            daemon.supervisor.start(["down"]),
            daemon.supervisor.restart(["first"]),
            daemon.supervisor.reload(),
        ):
            with pytest.raises(Refused, match="supervisord is shutting down"):
                answer(wait)
        assert answer(daemon.supervisor.status([])).shutting_down

    def test_what_is_left_of_a_start_is_superseded(self) -> None:
        daemon = FakeDaemon(FIRST)
        starting = Asked(daemon.supervisor.start(["first"]))
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(1)
        assert told(starting.answer) == [("first", Result.SUPERSEDED)]


class TestSignal:
    @pytest.mark.parametrize("name", ["HUP", "SIGHUP", "hup", "sighup", "SigHup", "1"])
    def test_in_all_ways_that_people_write_one(self, name: str) -> None:
        assert signal_number(name) == SIGHUP

    @pytest.mark.parametrize(
        "name", ["", "SIG", "0", "-1", "65", "999", "NOSUCH", "²", "HUP ", "_DFL", "SIGSIGHUP"]
    )
    def test_all_else_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="no such signal: "):
            signal_number(name)

    def test_nothing_is_sent_if_it_is_refused(self) -> None:
        daemon = booted(FIRST)
        with pytest.raises(Refused):
            answer(daemon.supervisor.signal("NOSUCH", ["all"]))
        assert daemon.spawner.alive[daemon.pid("first")].signals == []

    def test_to_each_main_process(self) -> None:
        daemon = booted(FIRST, LAST)
        outcomes = answer(daemon.supervisor.signal("HUP", ["up"]))
        assert told(outcomes) == [("first", Result.SIGNALLED), ("last", Result.SIGNALLED)]
        assert [each.signals for each in daemon.spawner.alive.values()] == [[SIGHUP], [SIGHUP]]


class TestWhatAProcessIsGiven:
    def test_command_environment_umask_and_directory(self) -> None:
        daemon = FakeDaemon(
            program("web", command=("web", "-x")),
            settings=replace(SETTINGS, umask=0o027),
            environment={"PATH": "/bin", "A": "1"},
        )
        daemon.supervisor.boot()
        [request] = daemon.spawner.requests
        assert request.command == ("web", "-x")
        environment = dict(request.environment)
        assert environment.pop("SUPERVISOR_SPAWN_ID") == "0123456789abcdef:web:1"
        assert environment == {
            "A": "1",
            "PATH": "/bin",
            "SUPERVISOR_ENABLED": "1",
            "SUPERVISOR_PROCESS_NAME": "web",
            "SUPERVISOR_GROUP_NAME": "web",
        }
        assert (request.umask, request.identity) == (0o027, None)
        assert request.directory == os.getcwd()

    def test_an_output_that_is_closed_here_afterwards(self) -> None:
        daemon = booted(FIRST)
        [request] = daemon.spawner.requests
        assert request.stdout == request.stderr
        assert daemon.output("first").writers == [request.stdout]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(request.stdout)

    def test_the_output_is_closed_here_after_a_failed_spawn_too(self) -> None:
        daemon = FakeDaemon(FIRST)
        daemon.spawner.failures.append(SpawnError("no memory", permanent=False))
        daemon.supervisor.boot()
        [writer] = daemon.output("first").writers
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(writer)

    def test_no_output_means_no_process(self) -> None:
        daemon = FakeDaemon(FIRST)
        daemon.output("first").not_writable = "/var/log/first.log: no space"
        daemon.supervisor.boot()
        assert daemon.spawner.requests == []
        assert daemon.stand("first").detail == "log not writable: /var/log/first.log: no space"

    def test_no_room_means_no_process_for_now_and_no_output(self) -> None:
        daemon = FakeDaemon(FIRST)
        daemon.output("first").has_pipe = False
        daemon.room.is_full = True
        daemon.supervisor.boot()
        assert daemon.stand("first").state is State.BACKOFF
        assert daemon.stand("first").detail.startswith("too many open files")
        assert daemon.output("first").writers == []
        daemon.room.is_full = False
        daemon.pass_time(10)
        assert daemon.stand("first").state is State.RUNNING

    def test_there_is_room_for_another_process_in_the_place_of_one_that_there_was(self) -> None:
        daemon = FakeDaemon(FIRST)
        daemon.supervisor.boot()
        daemon.pass_time(60)
        daemon.room.is_full = True
        daemon.spawner.exit(daemon.pid("first"), code=1)
        assert daemon.stand("first").state is State.STARTING

    def test_nobody_of_that_name_means_no_process(self) -> None:
        daemon = FakeDaemon(program("web", user="nobody-of-that-name"))
        daemon.supervisor.boot()
        assert daemon.stand("web").detail == "no such user: nobody-of-that-name"

    def test_a_working_directory_that_is_gone_is_told_and_survived(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        daemon = FakeDaemon(program("web"))
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        daemon.supervisor.boot()
        assert daemon.stand("web").state is State.FATAL
        assert "directory" in daemon.stand("web").detail

    def test_what_it_does_not_get_is_logged_once(self) -> None:
        daemon = FakeDaemon(
            FIRST, LAST, environment={"PATH": "/bin", "WATCHDOG_PID": "1", "NOTIFY_SOCKET": "/x"}
        )
        line = "{} does not get these variables of supervisord: NOTIFY_SOCKET, WATCHDOG_PID"
        with log_lines() as lines:
            daemon.supervisor.boot()
        assert lines == [line.format("first"), line.format("last")]
        with log_lines() as lines:
            Asked(daemon.supervisor.restart(["all"]))
            daemon.pass_time(1)
        assert lines == []
        assert "NOTIFY_SOCKET" not in daemon.spawner.requests[-1].environment


class TestLogs:
    def test_clearing_what_cannot_be_cleared_is_that_programs_failure(self) -> None:
        daemon = FakeDaemon(FIRST, LAST)
        daemon.output("first").not_kept = "its output goes nowhere"
        failed, cleared = answer(daemon.supervisor.clear(["first", "last"]))
        assert (failed.result, failed.text) == (Result.FAILED, "its output goes nowhere")
        assert cleared.result is Result.CLEARED

    def test_reopening_means_every_log(self) -> None:
        daemon = FakeDaemon(FIRST, LAST)
        daemon.supervisor.outputs.reopen()
        outputs = (daemon.daemon_log, daemon.output("first"), daemon.output("last"))
        assert [each.reopened for each in outputs] == [1, 1, 1]

    def test_one_that_cannot_be_reopened_does_not_hinder_the_others(self) -> None:
        daemon = FakeDaemon(FIRST, LAST)
        daemon.daemon_log.not_reopened = "/var/log: not a directory"
        daemon.output("first").not_reopened = "/srv: no permission"
        with log_lines() as lines:
            daemon.supervisor.outputs.reopen()
        assert daemon.output("last").reopened == 1
        assert lines == [
            "log of supervisord not reopened: /var/log: not a directory",
            "log of first not reopened: /srv: no permission",
        ]

    def test_a_program_or_group_of_one_process_names_its_log(self) -> None:
        web = program("web", group="site", stderr_logfile="/var/log/web.err")
        daemon = FakeDaemon(web, program("pool", processes=2, logfile="/log/%(process_num)d"))
        stdout, stderr = daemon.outputs["site:web"]
        stdout.write(b"out\n")
        stderr.write(b"err\n")
        for name in ("web", "site", "site:web"):
            assert answer(daemon.supervisor.tail(name, 5)).data == b"out\n"
            assert answer(daemon.supervisor.tail(f"{name}/stderr", 5)).data == b"err\n"
        with pytest.raises(
            Refused, match="pool: 2 processes have a log each; name one: pool:pool_0"
        ):
            answer(daemon.supervisor.tail("pool", 5))
        with pytest.raises(Refused, match="pool:pool_0: has no log of its own for stderr"):
            answer(daemon.supervisor.tail("pool:pool_0/stderr", 5))

    def test_what_is_lost_of_a_few_is_told_and_of_others_how_many(self) -> None:
        names = [f"p{number}" for number in range(LIMITS.log_notes + 3)]
        daemon = FakeDaemon(*map(program, names))
        assert daemon.supervisor.outputs.notes() == []
        for name in names[:-1]:
            daemon.output(name).trouble = "it is lost"
        notes = daemon.supervisor.outputs.notes()
        assert notes[0] == "p0: it is lost"
        assert len(notes) == LIMITS.log_notes + 1
        assert notes[-1] == "the output of 2 other logs is lost as well"

    def test_no_program_may_be_called_like_a_path_to_its_log(self) -> None:
        daemon = FakeDaemon(FIRST)
        with pytest.raises(Refused, match="no such program"):
            answer(daemon.supervisor.tail("/etc/passwd", 5))


def test_a_program_that_ends_is_started_again_without_anybody_asking() -> None:
    daemon = booted(FIRST, LAST)
    daemon.pass_time(60)
    daemon.spawner.exit(daemon.pid("first"), code=1)
    assert daemon.stand("first").state is State.STARTING
    assert daemon.stand("first").restarts == 1
    assert daemon.stand("last").restarts == 0


def test_a_configuration_may_be_empty() -> None:
    daemon = FakeDaemon()
    daemon.supervisor.boot()
    assert answer(daemon.supervisor.start(["all"])) == []
    [unknown] = answer(daemon.supervisor.start(["web"]))
    assert unknown.text == "no such program; none is configured"
    assert daemon.next == configuration()
