"""Logs as supervisorctl shows them: the last lines, what comes, and nothing that harms a terminal."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import PATIENCE, wait_until

# Writes a file's bytes to its output whenever it is told to; then it waits.
WRITER = """
    #! /bin/sh
    trap 'cat "$1"' USR1
    echo ready
    while :; do sleep 0.05; done
    """


@pytest.fixture
def writer(daemon: Daemon) -> Daemon:
    script = daemon.script("writer", WRITER)
    daemon.write(f"<program writer>\n  command {script} {daemon.place}/text\n</program>")
    daemon.start()
    daemon.wait_for_output("writer", "ready\n")
    return daemon


def _write(daemon: Daemon, data: bytes) -> None:
    """Let the program write, and wait until it is in the log."""
    log = daemon.state / "log" / "writer.log"
    before = log.stat().st_size
    fresh = daemon.place / "fresh"
    fresh.write_bytes(data)
    fresh.replace(daemon.place / "text")  # the last one may be read still
    daemon.ask("signal", "USR1", "writer")
    wait_until(lambda: log.stat().st_size >= before + len(data), "it is in the log")


def _follow(daemon: Daemon, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
    said = daemon.place / "followed"
    with open(said, "wb") as output:
        client = daemon.begin(daemon.ctl_command(*words), stdout=output, stderr=output)
    return client, said


def test_the_last_lines(writer: Daemon) -> None:
    numbers = [f"{number}\n" for number in range(1, 41)]
    _write(writer, "".join(numbers).encode())
    assert writer.ask("tail", "writer") == "".join(numbers[-15:])
    assert writer.ask("tail", "-3", "writer") == "38\n39\n40\n"
    assert writer.ask("tail", "-41", "writer") == "ready\n" + "".join(numbers)
    assert writer.ask("tail", "-1000", "writer") == "ready\n" + "".join(numbers)
    assert writer.ask("tail", "-0", "writer") == ""
    assert writer.ask("tail", "-n", "2", "writer") == "39\n40\n"
    assert writer.ask("tail", "-c", "4", "writer") == "\n40\n"
    assert writer.ask("tail", "-c", "1M", "writer") == "ready\n" + "".join(numbers)
    _write(writer, b"unfinished")
    assert writer.ask("tail", "-2", "writer").rstrip("\n") == "40\nunfinished"


def test_a_followed_log_goes_on_until_ctrl_c_and_exits_with_0(writer: Daemon) -> None:
    client, said = _follow(writer, "tail", "-f", "-1", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    for number in range(5):
        _write(writer, f"line {number}\n".encode())
        wait_until(lambda number=number: f"line {number}\n" in said.read_text(), said.read_text)
    client.send_signal(signal.SIGINT)
    assert client.wait(5) == 0
    assert said.read_text() == "ready\n" + "".join(f"line {number}\n" for number in range(5))


def test_a_followed_log_survives_restarts_of_the_program(writer: Daemon) -> None:
    client, said = _follow(writer, "tail", "-f", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    writer.ask("restart", "writer")
    wait_until(lambda: said.read_text().count("ready\n") == 2, said.read_text)
    assert client.poll() is None


def test_clear_empties_the_file_and_a_follower_is_told(writer: Daemon) -> None:
    _, said = _follow(writer, "tail", "-f", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    log = writer.state / "log" / "writer.log"
    node = log.stat().st_ino
    assert writer.ask("clear", "writer") == "writer: log cleared\n"
    assert (log.stat().st_size, log.stat().st_ino) == (0, node)
    assert writer.ask("tail", "writer") == ""
    _write(writer, b"a new beginning\n")
    wait_until(lambda: "a new beginning\n" in said.read_text(), said.read_text)
    assert said.read_text() == "ready\na new beginning\n"
    assert log.read_bytes() == b"a new beginning\n"


def test_clear_all_clears_every_log_that_can_be(daemon: Daemon) -> None:
    daemon.write("""
        <program one>
          command /bin/sh -c 'echo one; exec sleep 1000'
        </program>
        <program none>
          command /bin/sh -c 'echo none; exec sleep 1000'
          logfile none
        </program>
        """)
    daemon.start()
    daemon.wait_for_output("one", "one")
    done = daemon.ctl("clear", "all")
    assert done.returncode == 1
    assert done.stdout == "one: log cleared\n"
    assert done.stderr == "none: its output goes to nowhere (logfile none) and is not kept\n"
    assert daemon.output("one") == ""


HARMFUL = {
    b"\xff\xfe no UTF-8 \xc3\n": "\\xff\\xfe no UTF-8 \\xc3\n",
    b"\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\n": (
        "\\x1b]0;title\\x07\\x1b[2J\\x1b[31mred\\x1b[0m\n"
    ),
    b"back\b\b\bspace and \r return\n": "back\\x08\\x08\\x08space and \\x0d return\n",
    b"nul \0 and \x9b C1 \xc2\x9b\n": "nul \\x00 and \\x9b C1 \\x9b\n",
    "Grüße, 世界 \U0001f600\tTab\n".encode(): "Grüße, 世界 \U0001f600\tTab\n",
    "turned \u202e round \u2066 and \u200b hidden\n".encode(): (
        "turned \\u202e round \\u2066 and \\u200b hidden\n"
    ),
}


def test_bytes_that_could_harm_a_terminal_are_shown_as_escapes(writer: Daemon) -> None:
    _, said = _follow(writer, "tail", "-f", "-1", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    for data in HARMFUL:
        _write(writer, data)
    expected = "".join(HARMFUL.values())
    assert writer.ask("tail", f"-{len(HARMFUL)}", "writer") == expected
    log = writer.state / "log" / "writer.log"
    assert log.read_bytes() == b"ready\n" + b"".join(HARMFUL)
    wait_until(lambda: said.read_text(encoding="utf-8") == f"ready\n{expected}", said.read_text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_has_no_letters_for_is_shown_as_escapes(
    writer: Daemon, encoding: str
) -> None:
    _write(writer, "€ 5, \N{GRINNING FACE}\n".encode())
    writer.environment["PYTHONIOENCODING"] = encoding
    done = writer.ctl("tail", "-1", "writer")
    assert (done.stdout, done.stderr) == ("\\u20ac 5, \\U0001f600\n", "")


@pytest.mark.needs_linux
def test_an_output_that_takes_nothing_more_is_told(writer: Daemon) -> None:
    for words in (["tail", "writer"], ["tail", "-f", "writer"], ["status"]):
        with open("/dev/full", "wb") as full:
            client = writer.begin(writer.ctl_command(*words), stdout=full, stderr=subprocess.PIPE)
        _, told = client.communicate(timeout=PATIENCE)
        assert (client.returncode, told) == (1, b"cannot write: No space left on device\n")


def test_a_character_that_comes_in_pieces_is_shown_whole(writer: Daemon) -> None:
    _, said = _follow(writer, "tail", "-f", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    euro = "€".encode()
    for part in (euro[:1], euro[1:2], euro[2:] + b"\n"):
        _write(writer, part)
    wait_until(lambda: said.read_text(encoding="utf-8") == "ready\n€\n", said.read_text)


def test_a_line_of_10_megabytes(writer: Daemon) -> None:
    size = 10_000_000
    client, said = _follow(writer, "tail", "-f", "-1", "writer")
    wait_until(lambda: said.read_text() == "ready\n", said.read_text)
    _write(writer, b"x" * size + b"\nafter\n")
    log = writer.state / "log" / "writer.log"
    assert log.stat().st_size == len("ready\n") + size + len("\nafter\n")
    wait_until(lambda: said.stat().st_size == log.stat().st_size, lambda: str(said.stat().st_size))
    assert said.read_bytes() == log.read_bytes()
    client.send_signal(signal.SIGINT)
    assert client.wait(5) == 0
    last = writer.ask("tail", "-2", "writer")
    assert last.endswith("x\nafter\n")
    assert len(last) < 1_100_000
    assert writer.status().up == ("writer",)


def test_logtail_shows_the_daemons_own_log(writer: Daemon) -> None:
    writer.wait_for("writer", "RUNNING")
    lines = writer.log_text().splitlines(keepends=True)
    assert writer.ask("logtail", "2") == "".join(lines[-2:])
    assert writer.ask("logtail") == "".join(lines[-15:])
    client, said = _follow(writer, "logtail", "-f", "1")
    wait_until(lambda: said.read_text() == lines[-1], said.read_text)
    writer.ask("restart", "writer")
    wait_until(lambda: "writer: STARTING -> RUNNING" in said.read_text(), said.read_text)
    client.send_signal(signal.SIGINT)
    assert client.wait(5) == 0


def test_a_name_in_the_log_of_the_daemon_cannot_forge_a_line(writer: Daemon) -> None:
    writer.ctl("restart", "x\n2000-01-01 00:00:00,000 info forged\x1b[2J")
    (line,) = [line for line in writer.log_text().splitlines() if "asks: restart" in line]
    assert "\\n2000-01-01" in line
    assert "\\x1b[2J" in line
