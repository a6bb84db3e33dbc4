"""The streams of a program: a log for its errors alone, and an input that operators write to."""

from __future__ import annotations

import subprocess

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

# Says what it reads to both streams.
ECHO = """
    #! /bin/sh
    echo out up
    echo err up >&2
    while read line; do
        echo "out <$line>"
        echo "err <$line>" >&2
    done
    echo out end
    """


@pytest.fixture
def echo(daemon: Daemon) -> Daemon:
    path = daemon.script("echo", ECHO)
    daemon.write(f"""
        <program echo>
          command {path}
          stdin pipe
          stderr-logfile {daemon.place}/echo.err
        </program>
        <program plain>
          command sleep 1000
        </program>
        """)
    daemon.start()
    for name in ("echo", "plain"):
        daemon.wait_for(name, "RUNNING")
    daemon.wait_for_output("echo", "out up\n")
    return daemon


def _errors(daemon: Daemon) -> str:
    return (daemon.place / "echo.err").read_text()


def _wait_for_errors(daemon: Daemon, text: str) -> None:
    wait_until(lambda: text in _errors(daemon), lambda: _errors(daemon))


def test_each_stream_has_its_log(echo: Daemon) -> None:
    _wait_for_errors(echo, "err up\n")
    assert echo.output("echo") == "out up\n"
    assert _errors(echo) == "err up\n"
    assert echo.ask("tail", "echo") == "out up\n"
    assert echo.ask("tail", "echo", "stderr") == "err up\n"
    assert echo.ask("tail", "-1", "echo", "stdout") == "out up\n"


def test_what_is_written_is_read_as_a_line(echo: Daemon) -> None:
    text = 'two words; $HOME "*" é'
    written = len(f"{text}\n".encode())
    assert echo.ask("write", "echo", text) == f"echo: {written} bytes written\n"
    echo.wait_for_output("echo", f"out <{text}>\n")
    assert echo.ask("write", "echo", "more", "words") == "echo: 11 bytes written\n"
    echo.wait_for_output("echo", "out <more words>\n")
    _wait_for_errors(echo, "err <more words>\n")


def test_clear_empties_both_logs(echo: Daemon) -> None:
    _wait_for_errors(echo, "err up\n")
    assert echo.ask("clear", "echo") == "echo: log cleared\n"
    assert (echo.output("echo"), _errors(echo)) == ("", "")
    echo.ask("write", "echo", "anew")
    _wait_for_errors(echo, "err <anew>\n")
    assert _errors(echo) == "err <anew>\n"
    assert echo.output("echo") == "out <anew>\n"


def test_the_errors_can_be_followed(echo: Daemon) -> None:
    _wait_for_errors(echo, "err up\n")
    seen = echo.place / "seen"
    with open(seen, "wb") as file:
        command = echo.ctl_command("tail", "-f", "echo", "stderr")
        echo.begin(command, stdout=file, stderr=subprocess.STDOUT)
    wait_until(lambda: seen.read_text() == "err up\n", seen.read_text)
    echo.ask("write", "echo", "one")
    wait_until(lambda: seen.read_text() == "err up\nerr <one>\n", seen.read_text)
    echo.ask("clear", "echo")
    echo.ask("write", "echo", "two")
    expected = "err up\nerr <one>\nerr <two>\n"
    wait_until(lambda: seen.read_text() == expected, seen.read_text)


def test_after_a_restart_the_new_process_reads(echo: Daemon) -> None:
    echo.ask("restart", "echo")
    echo.ask("write", "echo", "again")
    echo.wait_for_output("echo", "out <again>\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["write", "plain", "x"],
            1,
            "plain: does not read what operators write; it has no 'stdin pipe'",
        ),
        (["write", "ehco", "x"], 1, "ehco: no such program; did you mean echo?"),
        (["write", "echo"], 2, "write needs the name of a program and a text"),
        (["write", "echo", "x" * 70000], None, ""),
        (["tail", "plain", "stderr"], 4, "plain: has no log of its own for stderr"),
        (["tail", "ehco", "stderr"], 4, "ehco: no such program; did you mean echo?"),
        (["tail", "stderr"], 4, "stderr: no such program; 'list' shows what there is"),
    ],
)
def test_what_cannot_be_done_is_told(
    echo: Daemon, words: list[str], code: int | None, told: str
) -> None:
    done = echo.ctl(*words)
    assert done.returncode != 0 if code is None else done.returncode == code
    assert done.stderr.startswith(told)
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_down_is_not_written_to(echo: Daemon) -> None:
    echo.ask("stop", "echo")
    done = echo.ctl("write", "echo", "x")
    assert done.returncode == 1
    assert done.stderr == "echo: not up, nothing written\n"


def test_who_does_not_read_is_told_of_and_harms_nobody(daemon: Daemon) -> None:
    daemon.write("<program deaf>\ncommand sleep 1000\nstdin pipe\n</program>")
    daemon.start()
    daemon.wait_for("deaf", "RUNNING")
    line = f"write deaf {'x' * 60000}\n"
    told = daemon.ctl(input=5 * line).stderr
    assert told.startswith("deaf: it does not read its standard input fast enough; ")
    assert daemon.status().up == ("deaf",)
    assert daemon.ask("stop", "deaf").startswith("deaf: stopped; ")
