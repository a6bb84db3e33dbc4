"""What may stand where the cursor is, and the prompt around it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from fakes.terminal import Terminal
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from twisted.internet.defer import Deferred

from supervisortw.client import prompt
from supervisortw.client.commands import TABLE
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.interrupts import Interrupts
from supervisortw.client.prompt import GROUPS, CommandCompleter, _history, _prompt, run_prompt
from supervisortw.errors import LocalError, Unreachable

A, B = "/run/a", "/run/b"


@pytest.fixture
def two() -> Terminal:
    terminal = Terminal(A, B, names=("web", "api"))
    terminal.network.add(B, "web", "cache")
    return terminal


def completions(terminal: Terminal, text: str) -> list[str]:
    """Return what Tab offers behind ``text``, each as the whole line would be then."""

    async def complete() -> list[str]:
        completer = CommandCompleter(terminal.desk)
        document = Document(text)
        assert list(completer.get_completions(document, CompleteEvent())) == []
        found = completer.get_completions_async(document, CompleteEvent())
        return [text[: len(text) + each.start_position] + each.text async for each in found]

    return asyncio.run(complete())


def test_commands_at_the_beginning(two: Terminal) -> None:
    assert completions(two, "") == list(TABLE)
    assert completions(two, "re") == ["restart", "reload", "reread"]
    assert completions(two, "xyz") == []
    assert completions(two, "  sta") == ["  status", "  start"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "status", "pid", "clear"])
def test_programs_of_all_daemons_and_groups(two: Terminal, verb: str) -> None:
    names = ["api", "cache", "web", *GROUPS]
    assert completions(two, f"{verb} ") == [f"{verb} {name}" for name in names]
    assert completions(two, f"{verb} web c") == [f"{verb} web cache"]
    assert completions(two, f"{verb} a") == [f"{verb} api", f"{verb} all"]


@pytest.mark.parametrize("line", ["tail -f", "tail -f -n 5", "tail -c64K", "tail -5", "tail web"])
def test_programs_and_groups_to_tail(two: Terminal, line: str) -> None:
    expected = ["api", "cache", "web", "all", "up", "down"]
    if line.endswith("web"):
        expected.append("stderr")
    assert completions(two, f"{line} ") == [f"{line} {word}" for word in expected]


def test_a_number_is_not_completed(two: Terminal) -> None:
    assert completions(two, "tail -n ") == completions(two, "tail -c a") == []


def test_processes_and_groups_by_all_their_names() -> None:
    terminal = Terminal(A, names=("db", "web:web_0", "web:web_1", "site:front"))
    names = [
        "db",
        "front",
        "site",
        "site:*",
        "site:front",
        "web",
        "web:*",
        "web:web_0",
        "web:web_1",
    ]
    assert completions(terminal, "restart ") == [f"restart {name}" for name in [*names, *GROUPS]]
    single = ["db", "front", "site:front", "web", "web:web_0", "web:web_1"]
    assert completions(terminal, "write ") == [f"write {name}" for name in single]


def test_nothing_after_the_one_program_or_the_word_stderr(two: Terminal) -> None:
    for line in ("tail web stderr ", "write web ", "scale web "):
        assert completions(two, line) == []


def test_a_signal_and_then_programs(two: Terminal) -> None:
    assert completions(two, "signal HU") == ["signal HUP"]
    offered = completions(two, "signal ")
    assert len(offered) == len(signal.Signals)
    assert "signal TERM" in offered
    assert completions(two, "signal HUP we") == ["signal HUP web"]


def test_groups_hosts_and_commands(two: Terminal) -> None:
    assert completions(two, "list ") == ["list all", "list up", "list down"]
    assert completions(two, "close /run/") == ["close /run/a", "close /run/b"]
    assert completions(two, "help rer") == ["help reread"]


@pytest.mark.parametrize("text", ["reload ", "quit ", "nosuch ", "open /"])
def test_where_nothing_is_known(two: Terminal, text: str) -> None:
    assert completions(two, text) == []


def test_a_daemon_that_does_not_answer_is_left_out(two: Terminal) -> None:
    two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
    assert completions(two, "start ") == [
        "start cache",
        "start web",
        *(f"start {group}" for group in GROUPS),
    ]
    assert two.desk.complaints() == []


def test_what_a_daemon_calls_its_programs_steers_no_terminal() -> None:
    terminal = Terminal(A, names=("\x1b[2Jweb",))
    assert completions(terminal, "start \\") == ["start \\x1b[2Jweb"]


def test_the_prompt_tells_how_many_daemons_are_open(two: Terminal) -> None:
    assert _prompt(two.desk, "supervisor") == "supervisor[2 open]> "
    two.desk.hosts.close(B)
    assert _prompt(two.desk, "supervisor") == "supervisor> "
    two.desk.hosts.close(A)
    assert _prompt(two.desk, "supervisor") == "supervisor[0 open]> "


class TestHistory:
    def test_it_is_kept_in_a_file_of_ones_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = tmp_path / "state"
        monkeypatch.setattr(prompt, "state_directory", lambda: str(state))
        assert isinstance(_history(), FileHistory)
        assert (state / "history").stat().st_mode & 0o777 == 0o600
        assert state.stat().st_mode & 0o777 == 0o700

    def test_not_through_a_link(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "history").symlink_to("precious")
        monkeypatch.setattr(prompt, "state_directory", lambda: str(tmp_path))
        assert isinstance(_history(), InMemoryHistory)
        assert not (tmp_path / "precious").exists()

    def test_without_a_place_it_is_forgotten(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nowhere() -> str:
            raise LocalError("no home")

        monkeypatch.setattr(prompt, "state_directory", nowhere)
        assert isinstance(_history(), InMemoryHistory)
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(prompt, "state_directory", lambda: str(tmp_path / "file"))
        assert isinstance(_history(), InMemoryHistory)


class Typing:
    """Somebody at the prompt: what is typed goes in at once, and the lines come out."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.interrupts = Interrupts(lambda function: function())

    def type(self, keys: str) -> ExitCode:
        async def sit_there() -> ExitCode:
            with create_pipe_input() as pipe, create_app_session(pipe, DummyOutput()):
                pipe.send_text(keys)
                prompting = run_prompt(self.terminal.desk, "supervisor", self.interrupts)
                waiting = Deferred.fromCoroutine(prompting)
                return await waiting.asFuture(asyncio.get_running_loop())

        return asyncio.run(sit_there())


ENTER, CTRL_C, CTRL_D = "\r", "\x03", "\x04"


class TestPrompt:
    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(prompt, "_history", InMemoryHistory)

    @pytest.fixture
    def typing(self) -> Typing:
        return Typing(Terminal(A))

    def printed(self, typing: Typing) -> list[str]:
        """Return what was printed after the first status."""
        return typing.terminal.desk.printed()[10:]

    def test_it_begins_with_a_hint_and_how_things_stand(self, typing: Typing) -> None:
        assert typing.type(CTRL_D) is ExitCode.OK
        first, *others = typing.terminal.desk.printed()
        assert first.startswith("supervisorctl: 'help' shows the commands")
        assert others[0] == "socket='/run/test.sock'"
        assert len(others) == 9

    def test_lines_are_commands_until_one_leaves(self, typing: Typing) -> None:
        assert typing.type(f"pid{ENTER}nosuch{ENTER}quit{ENTER}pid{ENTER}") is ExitCode.OK
        assert self.printed(typing) == ["4000"]
        assert typing.terminal.desk.complaints()[0].startswith("no such command: nosuch")

    def test_ctrl_c_drops_the_line(self, typing: Typing) -> None:
        typing.type(f"shutdown{CTRL_C}pid{ENTER}{CTRL_D}")
        assert self.printed(typing) == ["4000"]
        assert ("shutdown",) not in typing.terminal.daemon().asked

    @pytest.mark.parametrize(
        ("answer", "done"), [("y", True), ("YES", True), ("n", False), ("", False), ("x", False)]
    )
    def test_before_a_shutdown_it_asks(self, typing: Typing, answer: str, done: bool) -> None:
        typing.type(f"shutdown{ENTER}{answer}{ENTER}{CTRL_D}")
        assert (("shutdown",) in typing.terminal.daemon().asked) is done

    def test_ctrl_c_is_no_answer_to_a_question(self, typing: Typing) -> None:
        assert typing.type(f"shutdown{ENTER}{CTRL_C}pid{ENTER}{CTRL_D}") is ExitCode.OK
        assert self.printed(typing) == ["4000"]
        assert ("shutdown",) not in typing.terminal.daemon().asked

    def test_a_lost_connection_is_told(self, typing: Typing) -> None:
        typing.type(CTRL_D)
        typing.terminal.session().lose()
        expected = ["/run/a: the connection to supervisord was lost"]
        assert typing.terminal.desk.complaints() == expected
