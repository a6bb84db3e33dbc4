"""What may stand where the cursor is, and the prompt around it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from fakes.terminal import Terminal
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory

from supervisortw.client import prompt
from supervisortw.client.commands import TABLE
from supervisortw.client.prompt import GROUPS, CommandCompleter, _history, _prompt
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


def test_one_program_to_tail(two: Terminal) -> None:
    expected = ["tail -f api", "tail -f cache", "tail -f web"]
    assert completions(two, "tail -f ") == expected


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
