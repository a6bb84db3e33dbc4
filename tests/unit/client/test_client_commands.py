"""Every command of supervisorctl: what it asks, what it prints, and its exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.terminal import Terminal

from supervisortw import __version__
from supervisortw.client.command import Leave
from supervisortw.client.commands import TABLE
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.status import Outcome, ReloadAnswer, Result
from supervisortw.errors import (
    BadRequest,
    Denied,
    Refused,
    RemoteError,
    SupervisorError,
    TimedOut,
    Unreachable,
)

A, B = "/run/a", "/run/b"
OK, FAILED, USAGE = ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.USAGE


@pytest.fixture
def one() -> Terminal:
    return Terminal(A)


@pytest.fixture
def two() -> Terminal:
    """Two daemons; api is known to the first one only, and cache to the second."""
    terminal = Terminal(A, B)
    del terminal.daemon(B).programs["api"]
    terminal.network.add(B, "web", "db", "cache")
    return terminal


class TestSteering:
    def test_start_waits_and_prints_what_came_of_it(self, one: Terminal) -> None:
        starting = one.begin("start web api")
        assert not starting.done
        one.pass_time(1)
        assert starting.answer is OK
        assert one.desk.printed() == ["web: started, pid 101", "api: started, pid 102"]
        assert one.desk.complaints() == []
        assert one.daemon().asked == [("start", "web", "api")]

    @pytest.mark.parametrize("verb", ["start", "stop", "restart", "clear"])
    def test_groups_are_passed_on_as_they_are(self, one: Terminal, verb: str) -> None:
        one.run(f"{verb} all up down")
        assert one.daemon().asked == [(verb, "all", "up", "down")]

    @pytest.mark.parametrize("verb", ["start", "stop", "restart", "clear"])
    def test_without_names_they_ask_which(self, one: Terminal, verb: str) -> None:
        assert one.run(verb) is USAGE
        assert one.desk.complaints() == [
            f"{verb} what? Name programs, or say all, up or down",
            f"usage: {TABLE[verb].usage}",
        ]
        assert one.daemon().asked == []

    def test_what_is_as_it_should_be_is_no_failure(self, one: Terminal) -> None:
        assert one.run("stop web") is OK
        assert one.desk.printed() == ["web: already down"]

    def test_a_failure_goes_to_stderr(self, one: Terminal) -> None:
        one.daemon().programs["web"].broken = "command not found: /bin/web"
        assert one.run("start web api") is FAILED
        assert one.desk.printed() == ["api: started, pid 101"]
        assert one.desk.complaints() == ["web: command not found: /bin/web"]

    def test_an_unknown_name_is_a_failure(self, one: Terminal) -> None:
        assert one.run("restart wbe db") is FAILED
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]
        assert one.desk.printed() == ["db: restarted, pid 101"]

    def test_an_empty_group_is_fine(self, one: Terminal) -> None:
        assert one.run("stop up") is OK
        assert one.desk.printed() == []

    def test_signal(self, one: Terminal) -> None:
        one.run("start web")
        one.desk.printed()
        assert one.run("signal HUP web api") is FAILED
        assert one.desk.printed() == ["web: sent to pid 101"]
        assert one.desk.complaints() == ["api: not up"]
        assert one.daemon().programs["web"].signals == ["HUP"]

    @pytest.mark.parametrize("line", ["signal", "signal HUP"])
    def test_a_signal_needs_a_signal_and_names(self, one: Terminal, line: str) -> None:
        assert one.run(line) is USAGE
        assert one.desk.complaints()[0] == "signal needs a signal and the names of programs"

    def test_an_unknown_signal_is_refused(self, one: Terminal) -> None:
        assert one.run("signal NOSUCH all") is ExitCode.REFUSED
        assert one.desk.complaints() == ["no such signal: NOSUCH"]


class TestReload:
    ANSWER = ReloadAnswer(
        source="/etc/x",
        lines=("web: added, to be started",),
        warnings=("careful",),
        outcomes=(Outcome(name="web", result=Result.STARTED, text="started, pid 7"),),
    )

    def test_reload_tells_what_was_done(self, one: Terminal) -> None:
        one.daemon().reload_answer = self.ANSWER
        assert one.run("reload") is OK
        assert one.desk.printed() == [
            "web: added, to be started",
            "warning: careful",
            "web: started, pid 7",
        ]

    def test_a_program_that_fails_then_is_a_failure(self, one: Terminal) -> None:
        bad = Outcome(name="web", result=Result.FAILED, text="no such command")
        one.daemon().reload_answer = replace(self.ANSWER, outcomes=(bad,))
        assert one.run("reload") is FAILED

    def test_reread_tells_what_would_be_done(self, one: Terminal) -> None:
        one.daemon().reload_answer = replace(self.ANSWER, outcomes=())
        assert one.run("reread") is OK
        assert one.desk.printed() == ["web: added, to be started", "warning: careful"]
        assert one.daemon().asked == [("reread",)]

    @pytest.mark.parametrize("verb", ["reload", "reread"])
    def test_a_refusal_is_shown_line_by_line(self, one: Terminal, verb: str) -> None:
        one.daemon().reload_answer = Refused("left as it is:\n/etc/x:3: no such key")
        assert one.run(verb) is ExitCode.REFUSED
        assert one.desk.complaints() == ["left as it is:", "/etc/x:3: no such key"]

    @pytest.mark.parametrize("kind", [Refused, Denied, RemoteError])
    def test_no_daemon_can_speak_for_another(
        self, two: Terminal, kind: type[SupervisorError]
    ) -> None:
        two.daemon(A).reload_answer = kind("no\n/run/b | all is well")
        two.run("reload")
        assert two.desk.complaints() == ["/run/a | no", "/run/a | /run/b | all is well"]

    def test_who_is_named_is_not_named_twice(self, two: Terminal) -> None:
        two.network.refusals[B] = Unreachable("/run/b: nobody listens there")
        two.run("reload")
        assert two.desk.complaints() == ["/run/b: nobody listens there"]

    @pytest.mark.parametrize("verb", ["reload", "reread", "shutdown", "version", "quit"])
    def test_they_take_no_words(self, one: Terminal, verb: str) -> None:
        assert one.run(f"{verb} now please") is USAGE
        assert one.desk.complaints() == ["unexpected: now please", f"usage: {verb}"]
        assert one.daemon().asked == []


class TestShutdown:
    def test_everything_is_stopped_and_nobody_wonders_about_the_end(self, one: Terminal) -> None:
        one.run("start web")
        one.desk.printed()
        assert one.run("shutdown") is OK
        assert one.desk.printed() == [
            "web: stopped",
            "api: already down",
            "db: already down",
            "supervisord has shut down",
        ]
        one.session().lose()
        assert one.desk.complaints() == []

    def test_at_the_prompt_it_is_asked_first(self, two: Terminal) -> None:
        questions: list[str] = []

        async def no(question: str) -> bool:
            questions.append(question)
            return False

        two.desk.confirm = no
        assert two.run("shutdown") is ExitCode.REFUSED
        assert questions == ["Stop all programs, and supervisord at /run/a and /run/b?"]
        assert two.daemon(A).asked == two.daemon(B).asked == []

    def test_a_daemon_that_cannot_be_reached_has_not_shut_down(self, two: Terminal) -> None:
        two.network.refusals[B] = Unreachable("/run/b: nobody listens there")
        assert two.run("shutdown") is ExitCode.UNREACHABLE
        assert "/run/a | supervisord has shut down" in two.desk.printed()
        assert two.desk.complaints() == ["/run/b: nobody listens there"]


class TestLooking:
    def test_status(self, one: Terminal) -> None:
        one.run("start web")
        one.desk.printed()
        assert one.run("status") is OK
        lines = one.desk.printed()
        assert lines[:4] == [
            "socket='/run/test.sock'",
            "supervisord_pid=4000",
            "up=web",
            "down=api,db",
        ]
        assert lines[6].split() == ["web", "RUNNING", "101", "5.0", "s"]

    def test_status_of_some(self, one: Terminal) -> None:
        assert one.run("status db web") is OK
        assert one.desk.printed()[2:4] == ["up=", "down=db,web"]

    def test_status_of_an_unknown_name(self, one: Terminal) -> None:
        assert one.run("status wbe db") is FAILED
        assert one.desk.printed()[3] == "down=db"
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]

    def test_status_of_nothing_but_unknown_names_shows_no_table(self, one: Terminal) -> None:
        assert one.run("status nosuch") is FAILED
        assert one.desk.printed() == []

    def test_list(self, one: Terminal) -> None:
        one.run("start api")
        one.desk.printed()
        for line, names in (
            ("list", ["web", "api", "db"]),
            ("list all", ["web", "api", "db"]),
            ("list up", ["api"]),
            ("list down", ["web", "db"]),
        ):
            assert one.run(line) is OK
            assert one.desk.printed() == names

    @pytest.mark.parametrize("line", ["list web", "list up down"])
    def test_list_takes_one_group(self, one: Terminal, line: str) -> None:
        assert one.run(line) is USAGE
        assert one.desk.complaints()[0] == "list takes one of all, up and down"

    def test_pid_of_the_daemon(self, one: Terminal) -> None:
        assert one.run("pid") is OK
        assert one.desk.printed() == ["4000"]

    def test_pid_of_programs(self, one: Terminal) -> None:
        one.run("start web api")
        one.desk.printed()
        assert one.run("pid web api") is OK
        assert one.desk.printed() == ["101", "102"]
        assert one.run("pid web db") is FAILED
        assert one.desk.printed() == ["101", "0"]
        assert one.run("pid nosuch") is FAILED
        assert one.desk.printed() == []


class TestClear:
    def test_it_empties_logs(self, one: Terminal) -> None:
        one.daemon().write("web", b"one\n")
        assert one.run("clear web nosuch") is FAILED
        assert one.desk.printed() == ["web: log cleared"]
        assert one.daemon().programs["web"].log.data == b""


class TestHelp:
    def test_all_commands(self, one: Terminal) -> None:
        assert one.run("help") is OK
        lines = one.desk.printed()
        assert [line.split()[0] for line in lines] == list(TABLE)

    @pytest.mark.parametrize("name", list(TABLE))
    def test_each_in_detail(self, one: Terminal, name: str) -> None:
        command = TABLE[name]
        assert one.run(f"help {name}") is OK
        lines = one.desk.printed()
        assert lines[:3] == [command.usage, f"    {command.summary}", ""]
        assert lines[3:]
        assert command.name == name
        assert one.daemon().asked == []

    def test_of_what_is_no_command(self, one: Terminal) -> None:
        assert one.run("help nosuch") is USAGE
        assert one.desk.complaints() == ["no such command: nosuch", "usage: help [COMMAND]"]

    def test_an_unknown_command_names_the_nearest(self, one: Terminal) -> None:
        assert one.run("statsu") is USAGE
        [complaint] = one.desk.complaints()
        assert complaint.startswith("no such command: statsu; did you mean status")
        assert one.run("xyzzy\x1b") is USAGE
        expected = ["no such command: xyzzy\\x1b; 'help' shows all commands"]
        assert one.desk.complaints() == expected


class TestVersionAndQuit:
    def test_versions_of_both_ends(self, one: Terminal) -> None:
        assert one.run("version") is OK
        assert one.desk.printed() == [f"supervisorctl {__version__}", "supervisord 1.2.3"]

    def test_quit_leaves(self, one: Terminal) -> None:
        with pytest.raises(Leave):
            one.run("quit")


class TestSeveralDaemons:
    def test_every_line_says_whose_it_is(self, two: Terminal) -> None:
        assert two.run("start web") is OK
        assert two.desk.printed() == [
            "/run/a | web: started, pid 101",
            "/run/b | web: started, pid 101",
        ]

    def test_a_name_that_one_of_them_knows_is_known(self, two: Terminal) -> None:
        assert two.run("start cache api") is OK
        assert two.desk.printed() == [
            "/run/a | api: started, pid 101",
            "/run/b | cache: started, pid 101",
        ]
        assert two.desk.complaints() == []
        assert two.run("status cache") is OK
        assert two.run("pid cache") is OK

    def test_a_name_that_nobody_knows_is_told_by_each(self, two: Terminal) -> None:
        assert two.run("start nosuch") is FAILED
        hint = "nosuch: no such program; 'list' shows what there is"
        assert two.desk.complaints() == [f"/run/a | {hint}", f"/run/b | {hint}"]
        assert two.run("status nosuch") is FAILED

    def test_one_that_fails_does_not_hide_the_others(self, two: Terminal) -> None:
        two.network.refusals[A] = Denied("/run/a: that daemon belongs to root: use sudo")
        assert two.run("start web") is ExitCode.DENIED
        assert two.desk.printed() == ["/run/b | web: started, pid 101"]
        assert two.desk.complaints() == ["/run/a: that daemon belongs to root: use sudo"]

    def test_the_worst_code_counts(self, two: Terminal) -> None:
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        two.daemon(B).programs["web"].broken = "no such command"
        assert two.run("start web") is ExitCode.UNREACHABLE
        two.network.refusals[B] = Denied("/run/b: no")
        two.network.sessions.clear()
        two.desk.hosts.close(B)
        two.desk.hosts.add(two.desk.parse_address(B))
        assert two.run("start web") is ExitCode.DENIED

    def test_they_are_asked_at_the_same_time(self, two: Terminal) -> None:
        starting = two.begin("start web")
        assert two.daemon(A).asked == two.daemon(B).asked == [("start", "web")]
        two.pass_time(1)
        assert starting.done

    def test_the_log_of_each_has_its_mark(self, two: Terminal) -> None:
        two.daemon(A).write("web", b"one\ntwo")
        two.daemon(B).write("web", b"three\n")
        assert two.run("tail web") is OK
        assert two.desk.printed() == ["/run/a:web | one", "/run/a:web | two", "/run/b:web | three"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("supervisord is shutting down"), ExitCode.REFUSED),
        (BadRequest("no such verb"), ExitCode.USAGE),
        (TimedOut("no answer"), ExitCode.TIMED_OUT),
        (Unreachable("gone"), ExitCode.UNREACHABLE),
        (Denied("no"), ExitCode.DENIED),
        (RemoteError("internal error"), ExitCode.SOME_FAILED),
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "status",
        "list",
        "pid",
        "version",
        "start web",
        "stop web",
        "restart web",
        "signal HUP web",
        "reload",
        "reread",
        "shutdown",
        "tail web",
        "logtail",
        "clear web",
    ],
)
def test_what_goes_wrong_is_told_and_has_its_code(
    one: Terminal, line: str, error: SupervisorError, code: ExitCode
) -> None:
    one.run("list")
    one.desk.printed()
    one.session().failure = error
    assert one.run(line) is code
    assert one.desk.complaints() == [str(error)]
    told = one.desk.printed()
    assert told == ([f"supervisorctl {__version__}"] if line == "version" else [])


@pytest.mark.parametrize("line", ["status", "start web", "tail web", "reload", "shutdown"])
def test_without_any_daemon(line: str) -> None:
    terminal = Terminal(A)
    terminal.desk.hosts.close(A)
    assert terminal.run(line) is ExitCode.UNREACHABLE
    assert terminal.desk.complaints()[0].startswith("no daemon is open; 'open ADDRESS'")
