"""The prompt of supervisorctl: what it asks, what its keys do, and what it tells unasked."""

from __future__ import annotations

import signal

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until
from functional_terminal import terminal

PROGRAMS = """
    <program ticker>
      command /bin/sh -c 'while :; do echo tick; sleep 0.2; done'
    </program>
    <program sleeper>
      command sleep 1000
    </program>
    """

KINDS = ["xterm", "dumb"]
UP = "\x1b[A"


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    daemon.write(PROGRAMS)
    daemon.start()
    return daemon


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_asks_before_it_acts(running: Daemon, kind: str) -> None:
    with terminal(running, kind, "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type("shutdown\r")
        shell.expect("[y/N]", seconds=3)
        shell.type("\r")
        shell.wait_for_prompt()
        assert shell.command("status")[1] == f"supervisord_pid={running.pid}"
    assert is_alive(running.pid)


def test_at_the_start_the_status_is_shown(running: Daemon) -> None:
    with terminal(running, "xterm", "-s", str(running.socket)) as shell:
        hint, *shown = shell.wait_for_prompt()
        assert "'help' shows the commands" in hint
        assert shown[:4] == [
            f"socket='{running.socket}'",
            f"supervisord_pid={running.pid}",
            "up=ticker,sleeper",
            "down=",
        ]


def test_tab_completes_commands_and_the_names_of_programs(running: Daemon) -> None:
    with terminal(running, "xterm", "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type("rest\t")
        shell.expect("> restart")
        shell.type(" sl\t")
        shell.expect("> restart sleeper")
        shell.type("\r")
        (answer,) = shell.wait_for_prompt()
        assert answer.startswith("sleeper: restarted")


def test_the_history_is_there_the_next_time(running: Daemon) -> None:
    for keys in ("list down", UP):
        with terminal(running, "xterm", "-s", str(running.socket)) as shell:
            shell.wait_for_prompt()
            shell.type(keys)
            shell.expect("> list down")
            shell.type("\r")
            shell.wait_for_prompt()
            shell.type("\x04")
            shell.ends_with(0)


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_drops_the_line_that_is_being_typed(running: Daemon, kind: str) -> None:
    with terminal(running, kind, "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        for _ in range(2):
            shell.type("stop all")
            shell.expect("> stop all")
            shell.type("\x03")
            shell.wait_for_prompt()
        for _ in range(2):
            assert shell.command("list up") == ["ticker", "sleeper"]
        shell.type("\x04")
        shell.ends_with(0)


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_is_no_answer_to_a_question(running: Daemon, kind: str) -> None:
    with terminal(running, kind, "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type("shutdown\r")
        shell.expect("[y/N]")
        shell.type("\x03")
        shell.wait_for_prompt()
        assert shell.command("list up") == ["ticker", "sleeper"]


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_a_followed_log_and_the_prompt_is_back(running: Daemon, kind: str) -> None:
    with terminal(running, kind, "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type("tail -f ticker\r")
        wait_until(lambda: shell.look().count("tick") >= 8, shell.look)
        shell.type("\x03")
        shell.wait_for_prompt(seconds=3)
        assert shell.command("list up") == ["ticker", "sleeper"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("typed", "shown"), [("stop al", 0), ("tail -f ticker\r", 8)])
def test_a_signal_to_end_leaves_the_terminal_as_it_was(
    running: Daemon, kind: str, typed: str, shown: int
) -> None:
    with terminal(running, kind, "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type(typed)
        wait_until(lambda: typed.strip() in shell.look(), shell.look)
        wait_until(lambda: shell.look().count("tick") >= shown, shell.look)
        shell.process.send_signal(signal.SIGTERM)
        assert "Traceback" not in "".join(shell.ends_with(-signal.SIGTERM))
        assert shell.shows_what_is_typed()


def test_a_daemon_that_goes_away_is_told_at_once(running: Daemon) -> None:
    with terminal(running, "xterm", "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        running.process_ends(signal.SIGTERM)
        told = f"{running.socket}: the connection to supervisord was lost"
        wait_until(lambda: told in shell.look(), shell.look)
        (answer,) = shell.command("status")
        assert answer == f"{running.socket}: no such socket; is supervisord running?"


def test_an_unknown_command_names_the_nearest_one(running: Daemon) -> None:
    with terminal(running, "xterm", "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        (answer,) = shell.command("statsu")
        assert answer.startswith("no such command: statsu; did you mean status")
        (answer,) = shell.command("start 'unfinished")
        assert answer.startswith("cannot read that line:")
        assert shell.command("list up") == ["ticker", "sleeper"]
