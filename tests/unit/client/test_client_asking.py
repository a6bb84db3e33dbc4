"""Asking at a terminal: what shows of an answer, and what Ctrl-C and Ctrl-D do."""

from __future__ import annotations

import os
import pty
import signal
import termios
from collections.abc import Iterator

import pytest
from fakes.asking import Asked
from twisted.internet.defer import Deferred

from supervisortw.client.asking import NOTHING_SENT, AskingLines
from supervisortw.client.interrupts import GOES_ON, Interrupted, Interrupts


class Typed:
    """The lines that somebody types, each when the test says so."""

    def __init__(self) -> None:
        self.waiting: Deferred[str] = Deferred()

    async def next_line(self) -> str:
        return await self.waiting


class Terminal:
    """A real terminal, in which nothing is typed, and who is asked there."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.typed = Typed()
        self.interrupts = Interrupts(lambda function: function())
        self.asking = AskingLines(self.typed, self.interrupts)  # type: ignore[arg-type]

    @property
    def shows(self) -> bool:
        return bool(termios.tcgetattr(self.descriptor)[3] & termios.ECHO)

    def fileno(self) -> int:
        return self.descriptor

    def ask(self, hidden: bool = True) -> Asked[str]:
        return Asked(self.interrupts.guard(self.asking("a: password of alice: ", hidden)))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    controller, descriptor = pty.openpty()
    terminal = Terminal(descriptor)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("signal.signal", lambda number, action: None)
    yield terminal
    os.close(controller)
    os.close(descriptor)


def test_a_password_does_not_show(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.shows
    asked = terminal.ask()
    assert not terminal.shows
    assert capsys.readouterr() == ("", "a: password of alice: ")
    terminal.typed.waiting.callback(" secret \n")
    assert asked.answer == " secret "
    assert terminal.shows
    assert capsys.readouterr() == ("", "\n")


def test_a_name_does(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    asked = terminal.ask(hidden=False)
    assert terminal.shows
    terminal.typed.waiting.callback("alice\n")
    assert asked.answer == "alice"
    assert capsys.readouterr() == ("", "a: password of alice: ")


def test_ctrl_d_is_no_answer(terminal: Terminal) -> None:
    asked = terminal.ask()
    terminal.typed.waiting.callback("")
    with pytest.raises(EOFError):
        assert asked.answer
    assert terminal.shows


def test_ctrl_c_ends_it_and_says_that_nothing_was_sent(terminal: Terminal) -> None:
    asked = terminal.ask()
    terminal.interrupts.interrupt()
    with pytest.raises(Interrupted, match=f"^{NOTHING_SENT}$"):
        assert asked.answer
    assert terminal.shows
    later: Deferred[None] = Deferred()

    async def something_else() -> None:
        await later

    asked_then = Asked(terminal.interrupts.guard(something_else()))
    terminal.interrupts.interrupt()
    with pytest.raises(Interrupted, match=f"^{GOES_ON}$"):
        assert asked_then.answer


def test_sigterm_leaves_the_terminal_as_it_was(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = {}
    killed = []
    monkeypatch.setattr("signal.signal", actions.__setitem__)
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append((number, terminal.shows)))
    asked = terminal.ask()
    actions[signal.SIGTERM](signal.SIGTERM, None)
    assert killed == [(signal.SIGTERM, True)]
    asked.cancel()
