"""The command simulate: what it prints and its exit codes; no daemon is asked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from fakes.terminal import Terminal
from twisted.internet.task import Cooperator

from supervisortw.client import simulate
from supervisortw.client.commands import TABLE
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.limits import LIMITS
from supervisortw.errors import ConfigNotFound
from supervisortw.simulation import simulation

DOCUMENT = Path(__file__).parents[3] / "docs/simulate.rst"
TURN = 0.001
CONFIG = """\
<supervisord>
  <program web>
    command /no/such/web
    user nobody-of-that-name
    logfile /no/such/directory/web.log
  </program>
</supervisord>
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal whose clock is what the reactor would be."""
    terminal = Terminal()
    cooperator = Cooperator(scheduler=lambda call: terminal.clock.callLater(TURN, call))
    monkeypatch.setattr(simulate, "cooperate", cooperator.cooperate)
    return terminal


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "supervisord.conf"
    path.write_text(CONFIG)
    return path


def test_the_timeline_and_how_it_stands_then(terminal: Terminal, config: Path) -> None:
    line = f"simulate -c {config} --crash web@0s,3s,7s --until 5m"
    assert terminal.run(line) is ExitCode.OK
    assert terminal.desk.printed() == [
        " 0.000  web  STOPPED -> STARTING",
        " 0.000  web  STARTING -> BACKOFF  exited with code 1 after 0.0 s, too quickly; next try in 1 s",
        " 1.000  web  BACKOFF -> STARTING",
        " 2.000  web  STARTING -> RUNNING",
        " 4.000  web  RUNNING -> STARTING  the one before exited with code 1 after 3.0 s",
        " 5.000  web  STARTING -> RUNNING",
        "11.000  web  RUNNING -> STARTING  the one before exited with code 1 after 7.0 s",
        "12.000  web  STARTING -> RUNNING",
        "note: nothing else would ever happen",
        "",
        "NAME  STATE     FOR  RESTARTS  DETAIL",
        "web   RUNNING  4:49         3",
    ]
    assert terminal.desk.complaints() == []
    assert terminal.network.sessions == {}


def test_all_mistakes_of_a_file_are_told_with_their_places(
    terminal: Terminal, config: Path
) -> None:
    config.write_text(CONFIG.replace("command", "comand").replace("user", "usr"))
    assert terminal.run(f"simulate -c {config}") is ExitCode.USAGE
    told = terminal.desk.complaints()
    assert [line.partition(" ")[0] for line in told] == [f"{config}:{n}:" for n in (2, 3, 4)]
    assert terminal.desk.printed() == []


def test_warnings_do_not_forbid_it(terminal: Terminal, config: Path) -> None:
    config.write_text(CONFIG.replace("<supervisord>", "<supervisord>\n  socket-mode 0666"))
    assert terminal.run(f"simulate -c {config}") is ExitCode.OK
    assert all(line.startswith("warning: ") for line in terminal.desk.complaints())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--crash wbe@3s", "wbe: no such program; did you mean web?"),
        ("--crash web", "--crash 'web': expected NAME@TIME"),
        ("--nonsense x", "unknown option: --nonsense"),
        ("web", "unexpected: web"),
    ],
)
def test_what_it_does_not_take(terminal: Terminal, config: Path, words: str, told: str) -> None:
    assert terminal.run(f"simulate -c {config} {words}") is ExitCode.USAGE
    first, usage = terminal.desk.complaints()
    assert first.startswith(told)
    assert usage == f"usage: {TABLE['simulate'].usage}"


def test_the_usual_file_without_a_name(
    terminal: Terminal, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"supervisord": str(config)}
    monkeypatch.setattr(simulate, "find", found.__getitem__)
    assert terminal.run("simulate") is ExitCode.OK

    def not_found(program: str) -> str:
        raise ConfigNotFound(f"{program}.conf", ["/etc"])

    monkeypatch.setattr(simulate, "find", not_found)
    assert terminal.run("simulate") is ExitCode.USAGE
    assert terminal.desk.complaints()[0].startswith("supervisord.conf: not found")


def test_what_is_not_finished_is_a_failure(
    terminal: Terminal, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "LIMITS", replace(LIMITS, simulated_calls=50))
    line = f"simulate -c {config} --crash web@5s,... --until 10y"
    assert terminal.run(line) is ExitCode.SOME_FAILED
    assert any(line.startswith("note: given up at") for line in terminal.desk.printed())


def test_ctrl_c_ends_it_and_prints_what_there_is(terminal: Terminal, config: Path) -> None:
    asked = terminal.begin(f"simulate -c {config} --crash web@5s,... --until 10y")
    terminal.clock.advance(TURN)
    assert not asked.done
    asked._deferred.cancel()
    assert asked.answer is ExitCode.INTERRUPTED
    assert terminal.desk.printed()[0].endswith(" 0.000  web  STOPPED -> STARTING")
    assert terminal.desk.complaints()[0].startswith("interrupted at ")
    assert terminal.clock.getDelayedCalls() == []


def test_the_document_shows_what_it_prints(terminal: Terminal, config: Path) -> None:
    first, *shown = re.findall(r"::\n\n((?:    .*\n|\n)+)", DOCUMENT.read_text(encoding="utf-8"))
    config.write_text(dedent(first))
    assert len(shown) == 2
    for block in shown:
        command, *lines = dedent(block).strip().splitlines()
        line = command.removeprefix("$ supervisorctl ").replace("supervisord.conf", str(config))
        assert terminal.run(line) is ExitCode.OK
        assert terminal.desk.printed() == lines
