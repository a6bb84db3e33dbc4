"""Lines of commands, Ctrl-C, exit codes, and what goes to the two streams."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.asking import Asked, answer
from fakes.terminal import Terminal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from supervisortw.client.command import Leave
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode, code_of
from supervisortw.client.interrupts import Interrupted, Interrupts
from supervisortw.client.lines import run_line, run_lines
from supervisortw.client.typed import StandardInput
from supervisortw.config.typed import parse_address
from supervisortw.errors import (
    AlreadyRunning,
    AuthError,
    BadRequest,
    Denied,
    LocalError,
    Refused,
    RemoteError,
    SupervisorError,
    TimedOut,
    Unreachable,
)

A = "/run/a"


class Person:
    """Somebody who types lines, and Ctrl-C."""

    def __init__(self) -> None:
        self.terminal = Terminal(A)
        self.desk = self.terminal.desk
        self.interrupts = Interrupts(lambda function: function())
        self.typed: Typed | None = None

    def begin(self, line: str) -> Asked[ExitCode]:
        return Asked(run_line(self.desk, line, self.interrupts))

    def run(self, line: str) -> ExitCode:
        asked = self.begin(line)
        if not asked.done:
            self.terminal.pass_time(10)
        return asked.answer


@pytest.fixture
def person() -> Person:
    return Person()


class TestRunLine:
    @pytest.mark.parametrize("line", ["", "   \n", "# start web", "  # x"])
    def test_nothing_to_do(self, person: Person, line: str) -> None:
        assert person.run(line) is ExitCode.OK
        assert person.terminal.daemon().asked == []
        assert person.desk.printed() == person.desk.complaints() == []

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("start web api\n", ("web", "api")),
            ("  start\tweb  ", ("web",)),
            ("start web # and no more", ("web",)),
            ("start 'we b' \"a'p\"", ("we b", "a'p")),
            ("start we\\ b", ("we b",)),
            ("start $HOME *", ("$HOME", "*")),
        ],
    )
    def test_words_are_as_in_a_shell(
        self, person: Person, line: str, words: tuple[str, ...]
    ) -> None:
        person.run(line)
        assert person.terminal.daemon().asked == [("start", *words)]

    @pytest.mark.parametrize("line", ["start 'web", 'start "', "start web\\"])
    def test_a_line_that_is_not_finished(self, person: Person, line: str) -> None:
        assert person.run(line) is ExitCode.USAGE
        [complaint] = person.desk.complaints()
        assert complaint.startswith("cannot read that line: No ")
        assert person.terminal.daemon().asked == []

    def test_the_code_of_the_command(self, person: Person) -> None:
        assert person.run("start nosuch") is ExitCode.SOME_FAILED
        assert person.run("nonsense") is ExitCode.USAGE

    def test_quit(self, person: Person) -> None:
        with pytest.raises(Leave):
            person.run("quit")


class TestInterrupts:
    def test_ctrl_c_ends_the_wait_and_not_what_is_waited_for(self, person: Person) -> None:
        starting = person.begin("start web")
        person.interrupts.interrupt()
        assert starting.answer is ExitCode.INTERRUPTED
        assert person.desk.complaints() == ["interrupted; what was asked for goes on in the daemon"]
        person.terminal.pass_time(2)
        person.run("list up")
        assert person.desk.printed() == ["web"]

    def test_with_nothing_to_wait_for_it_is_somebody_elses(self, person: Person) -> None:
        pressed: list[int] = []
        person.interrupts.interrupt()
        person.interrupts.idle = lambda: pressed.append(1)
        person.interrupts.interrupt()
        assert pressed == [1]
        person.run("list")
        person.interrupts.interrupt()
        assert pressed == [1, 1]

    def test_a_followed_log_ends_quietly(self, person: Person) -> None:
        following = person.begin("tail -f web")
        person.interrupts.interrupt()
        assert following.answer is ExitCode.OK
        assert person.desk.complaints() == []

    def test_pressed_twice(self, person: Person) -> None:
        waiting: Deferred[None] = Deferred()
        ended: Deferred[None] = Deferred()

        async def slow() -> None:
            try:
                await waiting
            finally:
                await ended

        guarded = Asked(person.interrupts.guard(slow()))
        person.interrupts.interrupt()
        assert not guarded.done
        person.interrupts.interrupt()
        with pytest.raises(Interrupted):
            assert guarded.answer

    def test_another_failure_is_not_an_interruption(self, person: Person) -> None:
        async def fail() -> None:
            raise KeyError("a mistake of ours")

        with pytest.raises(KeyError):
            answer(person.interrupts.guard(fail()))

    def test_a_cancelled_wait_that_nobody_interrupted_is_not_either(self, person: Person) -> None:
        async def wait() -> None:
            raise CancelledError

        with pytest.raises(CancelledError):
            answer(person.interrupts.guard(wait()))

    def test_an_answer_that_was_there_already_stays_one(self, person: Person) -> None:
        async def quick() -> int:
            return 7

        assert answer(person.interrupts.guard(quick())) == 7

    def test_an_interruption_is_forgotten_by_the_next_wait(self, person: Person) -> None:
        person.begin("start web")
        person.interrupts.interrupt()
        assert person.run("list") is ExitCode.OK

        async def fail() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            answer(person.interrupts.guard(fail()))

    def test_the_signal_is_handled_in_the_reactor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handlers: dict[int, Callable[..., None]] = {}
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        later: list[Callable[[], None]] = []
        interrupts = Interrupts(later.append)
        pressed: list[int] = []
        interrupts.idle = lambda: pressed.append(1)
        interrupts.install()
        handlers[signal.SIGINT](signal.SIGINT, None)
        assert pressed == []
        [interrupt] = later
        interrupt()
        assert pressed == [1]


class TestBeingAskedToEnd:
    @pytest.fixture
    def set_to(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
        """Return what becomes of each signal."""
        handlers: dict[int, Any] = {}
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        return handlers

    @pytest.fixture
    def killed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Return the signals that were sent to ourselves."""
        sent: list[int] = []
        monkeypatch.setattr("os.kill", lambda pid, number: sent.append(number))
        return sent

    def test_it_ends_us_as_it_would_without_a_reactor(self, set_to: dict[int, Any]) -> None:
        Interrupts(lambda function: function()).install()
        assert set_to[signal.SIGTERM] is signal.SIG_DFL

    def test_what_has_to_be_tidied_up_is_and_then_it_ends_us(
        self, set_to: dict[int, Any], killed: list[int]
    ) -> None:
        tidied: list[int] = []
        with Interrupts(lambda function: function()).ending_with(lambda: tidied.append(1)):
            set_to[signal.SIGTERM](signal.SIGTERM, None)
            assert (tidied, killed) == ([1], [])
        assert set_to[signal.SIGTERM] is signal.SIG_DFL
        assert killed == [signal.SIGTERM]

    def test_who_was_not_asked_goes_on(self, set_to: dict[int, Any], killed: list[int]) -> None:
        with Interrupts(lambda function: function()).ending_with(list):
            pass
        assert set_to[signal.SIGTERM] is signal.SIG_DFL
        assert not killed


class Typed:
    """Standard input as a list of lines; every read is answered when the test says so."""

    def __init__(self, person: Person, *typed: str) -> None:
        self.waiting: Deferred[str] | None = None
        self._lines = list(typed)
        person.typed = self

    async def next_line(self) -> str:
        if self._lines:
            return self._lines.pop(0)
        self.waiting = Deferred()
        return await self.waiting


class TestRunLines:
    def run(self, person: Person, prompt: str = "") -> Asked[ExitCode]:
        asked = Asked(run_lines(person.desk, person.typed, prompt, person.interrupts))
        person.terminal.pass_time(10)
        return asked

    def test_to_the_end_of_the_input(self, person: Person) -> None:
        Typed(person, "start web\n", "\n", "pid web\n", "")
        assert self.run(person).answer is ExitCode.OK
        assert person.desk.printed() == ["web: started, pid 101", "101"]

    def test_one_after_the_other(self, person: Person) -> None:
        Typed(person, "start web\n", "stop web\n", "")
        self.run(person)
        assert person.desk.printed() == ["web: started, pid 101", "web: stopped"]

    def test_the_worst_code_counts_and_later_lines_are_carried_out(self, person: Person) -> None:
        Typed(person, "start nosuch\n", "signal NOSUCH all\n", "nonsense\n", "start web\n", "")
        assert self.run(person).answer is ExitCode.REFUSED
        assert person.desk.printed() == ["web: started, pid 101"]

    def test_quit_ends_it_with_the_worst_code_so_far(self, person: Person) -> None:
        Typed(person, "start nosuch\n", "quit\n", "start web\n", "")
        assert self.run(person).answer is ExitCode.SOME_FAILED
        assert ("start", "web") not in person.terminal.daemon().asked

    def test_a_prompt_stands_before_each_line(self, person: Person) -> None:
        Typed(person, "pid\n", "")
        self.run(person, "supervisor> ")
        assert person.desk.out == "supervisor> 4000\nsupervisor> "

    @pytest.mark.parametrize(("typed", "done"), [("y\n", True), ("YES\n", True), ("no\n", False)])
    def test_somebody_at_a_prompt_is_asked_before_a_shutdown(
        self, person: Person, typed: str, done: bool
    ) -> None:
        Typed(person, "shutdown\n", typed, "")
        self.run(person, "supervisor> ")
        assert "Stop all programs, and supervisord at /run/a? [y/N] " in person.desk.out
        assert (("shutdown",) in person.terminal.daemon().asked) is done

    def test_a_pipe_is_not_asked(self, person: Person) -> None:
        Typed(person, "shutdown\n", "")
        assert self.run(person).answer is ExitCode.OK
        assert "[y/N]" not in person.desk.out
        assert person.terminal.daemon().asked == [("shutdown",)]

    def test_ctrl_c_while_a_line_is_waited_for_ends_it(self, person: Person) -> None:
        typed = Typed(person, "pid\n")
        asked = self.run(person)
        assert typed.waiting is not None
        assert not asked.done
        person.interrupts.interrupt()
        assert asked.answer is ExitCode.INTERRUPTED

    def test_at_a_prompt_ctrl_c_drops_the_line_and_the_next_one_is_waited_for(
        self, person: Person
    ) -> None:
        typed = Typed(person, "pid\n")
        asked = self.run(person, "supervisor> ")
        for _ in range(2):
            person.interrupts.interrupt()
            assert not asked.done
        assert typed.waiting is not None
        typed.waiting.callback("")
        assert asked.answer is ExitCode.OK
        assert person.desk.out.count("supervisor> ") == 4

    def test_ctrl_c_is_no_answer_to_a_question(self, person: Person) -> None:
        typed = Typed(person, "shutdown\n")
        asked = self.run(person, "supervisor> ")
        person.interrupts.interrupt()
        assert not asked.done
        assert person.desk.out.endswith("supervisor> ")
        assert not person.desk.complaints()
        assert ("shutdown",) not in person.terminal.daemon().asked
        assert typed.waiting is not None
        typed.waiting.callback("")

    def test_ctrl_c_during_a_command_does_not_lose_the_next_lines(self, person: Person) -> None:
        Typed(person, "tail -f web\n", "pid\n", "")
        asked = self.run(person)
        assert not asked.done
        person.interrupts.interrupt()
        assert asked.answer is ExitCode.OK
        assert person.desk.printed() == ["4000"]


class Threads:
    """Stands for threads that read lines, which come when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        self.started: list[Callable[[], None]] = []
        monkeypatch.setattr("threading.Thread", self.make)
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    def make(self, *, target: Callable[[], None], daemon: bool) -> SimpleNamespace:
        assert daemon, "nobody waits for it in the end"
        return SimpleNamespace(start=lambda: self.started.append(target))

    def callFromThread(self, function: Callable[..., None], *arguments: object) -> None:
        function(*arguments)

    def a_line_comes(self) -> None:
        [read] = self.started
        self.started.clear()
        read()


class TestStandardInput:
    def test_each_line_is_read_in_a_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        threads = Threads(monkeypatch, "start web\nlast")
        typed = StandardInput(threads)
        for line in ("start web\n", "last", ""):
            asked = Asked(typed.next_line())
            assert not asked.done
            threads.a_line_comes()
            assert asked.answer == line

    def test_a_line_that_nobody_waits_for_any_more_is_the_next_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = Threads(monkeypatch, "start web\nlast")
        typed = StandardInput(threads)
        given_up = Deferred.fromCoroutine(typed.next_line())
        given_up.addErrback(lambda failure: failure.trap(CancelledError))
        given_up.cancel()
        asked = Asked(typed.next_line())
        threads.a_line_comes()
        assert asked.answer == "start web\n"

    def test_a_line_that_comes_while_nobody_waits_is_dropped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = Threads(monkeypatch, "start web\nlast")
        typed = StandardInput(threads)
        given_up = Deferred.fromCoroutine(typed.next_line())
        given_up.addErrback(lambda failure: failure.trap(CancelledError))
        given_up.cancel()
        threads.a_line_comes()
        asked = Asked(typed.next_line())
        threads.a_line_comes()
        assert asked.answer == "last"


class TestExitCodes:
    def test_the_table(self) -> None:
        assert {code.name: int(code) for code in ExitCode} == {
            "OK": 0,
            "SOME_FAILED": 1,
            "USAGE": 2,
            "NOT_AS_ASKED": 3,
            "REFUSED": 4,
            "INTERRUPTED": 5,
            "UNREACHABLE": 6,
            "DENIED": 7,
            "TIMED_OUT": 8,
        }

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (Refused("x"), ExitCode.REFUSED),
            (BadRequest("x"), ExitCode.USAGE),
            (TimedOut("x"), ExitCode.TIMED_OUT),
            (Unreachable("x"), ExitCode.UNREACHABLE),
            (RemoteError("x"), ExitCode.SOME_FAILED),
            (Denied("x"), ExitCode.DENIED),
            (AuthError("x"), ExitCode.DENIED),
            (LocalError("x"), ExitCode.SOME_FAILED),
            (AlreadyRunning("x"), ExitCode.SOME_FAILED),
            (SupervisorError("x"), ExitCode.SOME_FAILED),
        ],
    )
    def test_of_errors(self, error: Exception, code: ExitCode) -> None:
        assert code_of(error) is code


class TestDesk:
    @pytest.fixture
    def desk(self) -> Desk:
        return Desk(Terminal(A).network.connect, parse_address, Clock())  # type: ignore[arg-type]

    def test_answers_and_complaints_go_to_different_streams(
        self, desk: Desk, capsys: pytest.CaptureFixture[str]
    ) -> None:
        desk.say(["one  ", "", "two"])
        desk.write("half")
        desk.complain("wrong\nvery \x1b[2J")
        told = capsys.readouterr()
        assert told.out == "one\n\ntwo\nhalf"
        assert told.err == "wrong\nvery \\x1b[2J\n"

    def test_one_daemon_has_no_mark(self, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
        desk.hosts.add(parse_address(A))
        desk.say(["one"], A)
        desk.hosts.add(parse_address("/run/b"))
        desk.say(["two", ""], A)
        desk.say(["three"])
        assert capsys.readouterr().out == "one\n/run/a | two\n/run/a |\nthree\n"

    @pytest.mark.parametrize(("terminal", "told"), [(True, "\n"), (False, "")])
    def test_what_follows_a_ctrl_c_begins_on_a_new_line(
        self,
        desk: Desk,
        terminal: bool,
        told: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
        desk.leave_echo()
        assert capsys.readouterr().out == told

    def test_without_a_prompt_everything_is_confirmed(self, desk: Desk) -> None:
        assert answer(desk.confirm("Really?"))  # type: ignore[arg-type]
