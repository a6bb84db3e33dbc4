"""The exit codes of supervisorctl, and the words that go with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

import pytest
from functional_daemon import Daemon, installed
from functional_processes import wait_until
from functional_remote import free_port

PROGRAMS = """
    <program sleeper>
      command sleep 1000
    </program>
    <program waiter>
      command sleep 1000
      auto-start false
    </program>
    """


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    daemon.write(PROGRAMS)
    daemon.start()
    daemon.wait_for("sleeper", "RUNNING")
    return daemon


# Commands, the exit code of each, and what it complains about.
COMMANDS = [
    ("status sleeper", 0, ""),
    ("status sleper", 1, "sleper: no such program; did you mean sleeper?"),
    ("start xyz", 1, "xyz: no such program; 'list' shows what there is"),
    ("tail xyz", 4, "xyz: no such program"),
    ("signal HUP waiter", 1, "waiter: not up, SIGHUP not sent"),
    ("signal NONSENSE sleeper", 4, "no such signal: NONSENSE"),
    ("pid waiter", 1, ""),
    ("nonsense", 2, "no such command: nonsense"),
    ("start", 2, "usage: start NAME ...|all|up|down"),
    ("tail -x sleeper", 2, "unknown option: -x"),
]
# More commands that nobody understands.
USAGE = ["tail", "list some", "reload now", "help nonsense", "open", "close /nowhere"]


def test_the_exit_code_of_each_command(running: Daemon) -> None:
    for line, code, words in COMMANDS:
        done = running.ctl(*line.split())
        assert done.returncode == code, done
        assert words in done.stderr, done
        assert bool(done.stderr) is bool(words), done


def test_a_command_that_is_not_understood_shows_its_usage(running: Daemon) -> None:
    done = running.ctl(input="\n".join(USAGE))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\nusage: ") == len(USAGE)
    for line in USAGE:
        assert f"\nusage: {line.split()[0]}" in done.stderr


def test_what_is_so_already_is_no_failure(running: Daemon) -> None:
    pid = running.pid_of("sleeper")
    assert running.ask("start", "sleeper") == f"sleeper: already up, pid {pid}\n"
    assert running.ask("stop", "waiter") == "waiter: already down\n"


def test_what_failed_for_some_is_told_beside_what_was_done(running: Daemon) -> None:
    done = running.ctl("stop", "sleeper", "unknown")
    assert done.returncode == 1
    assert done.stdout.startswith("sleeper: stopped; ")
    assert done.stderr.startswith("unknown: no such program")


def test_a_refused_reload_exits_with_4_and_shows_the_errors(running: Daemon) -> None:
    running.save(running.config, "<supervisord>\n  nonsense 1\n</supervisord>\n")
    for verb in ("reload", "reread"):
        done = running.ctl(verb)
        assert done.returncode == 4
        assert done.stdout == ""
        assert f"{running.config}:2: unknown key 'nonsense' in <supervisord>" in done.stderr


def test_lines_of_a_pipe_exit_with_the_worst_code(running: Daemon) -> None:
    done = running.ctl(input="# a comment\n\nstatus sleeper\nlist up # and more\n")
    assert done.returncode == 0
    assert done.stdout.endswith("\nsleeper\n")
    done = running.ctl(input="nonsense\nstatus xyz\nlist up\n")
    assert done.returncode == 2
    assert done.stdout == "sleeper\n"
    done = running.ctl(input="status xyz\nquit\nnonsense\n")
    assert done.returncode == 1
    done = running.ctl(input="list up")  # no newline at the end
    assert (done.returncode, done.stdout) == (0, "sleeper\n")
    done = running.ctl(input="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mistake_on_the_command_line_exits_with_2(running: Daemon) -> None:
    done = running.run([installed("supervisorctl"), "--nonsense"])
    assert done.returncode == 2
    assert "usage: supervisorctl" in done.stderr
    done = running.run([installed("supervisorctl"), "-s", "no-slash", "status"])
    assert done.returncode == 2
    assert "'no-slash'" in done.stderr


def test_a_reader_who_has_seen_enough_is_no_failure(running: Daemon) -> None:
    client = running.begin(running.ctl_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"help\n")
    client.stdin.flush()
    client.stdout.readline()
    client.stdout.close()
    client.stdin.write(b"help\n" * 3)
    client.stdin.close()
    assert client.wait(10) == 0


SLOW = """
    <program slow>
      command /bin/sh -c 'trap "sleep 1; exit 0" TERM; echo up; while :; do sleep 0.1; done'
    </program>
    """


def test_ctrl_c_exits_with_5_and_what_was_asked_for_goes_on(daemon: Daemon) -> None:
    daemon.write(SLOW)
    daemon.start()
    daemon.wait_for_output("slow", "up")
    client = daemon.begin(daemon.ctl_command("stop", "slow"), stderr=subprocess.PIPE)
    assert client.stderr is not None
    wait_until(lambda: "asks: stop slow" in daemon.log_text(), daemon.log_text)
    client.send_signal(signal.SIGINT)
    assert client.stderr.read() == b"interrupted; what was asked for goes on in the daemon\n"
    assert client.wait(5) == 5
    daemon.wait_for("slow", "STOPPED")


def test_a_signal_to_end_is_obeyed_without_a_word_and_what_was_asked_for_goes_on(
    daemon: Daemon,
) -> None:
    daemon.write(SLOW)
    daemon.start()
    daemon.wait_for_output("slow", "up")
    pipe = subprocess.PIPE
    client = daemon.begin(daemon.ctl_command("stop", "slow"), stderr=pipe)
    reader = daemon.begin(daemon.ctl_command(), stdin=pipe, stdout=pipe, stderr=pipe)
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(b"pid\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == b"%d\n" % daemon.pid
    wait_until(lambda: "asks: stop slow" in daemon.log_text(), daemon.log_text)
    for each in (client, reader):
        each.send_signal(signal.SIGTERM)
        assert each.stderr is not None
        assert each.stderr.read() == b""
        assert each.wait(5) == -signal.SIGTERM
    daemon.wait_for("slow", "STOPPED")


def test_no_daemon_exits_with_6_and_names_the_socket(daemon: Daemon) -> None:
    done = daemon.ctl("status")
    assert done.returncode == 6
    assert done.stdout == ""
    assert done.stderr == f"{daemon.socket}: no such socket; is supervisord running?\n"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(daemon.socket))
    done = daemon.ctl("status")
    assert done.returncode == 6
    assert done.stderr == f"{daemon.socket}: nobody listens there; supervisord is not running\n"


def test_a_port_where_nobody_listens_exits_with_6(daemon: Daemon) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [installed("supervisorctl"), "-s", address, "-u", "alice", "--password-fd", "0"]
    done = daemon.run([*command, "status"], "a password\n")
    assert done.returncode == 6
    assert done.stderr == f"{address}: nobody listens there; is supervisord running?\n"


def test_a_port_without_a_user_to_log_in_as_exits_with_7(daemon: Daemon) -> None:
    done = daemon.run([installed("supervisorctl"), "-s", "localhost:9001", "status"])
    assert done.returncode == 7
    assert done.stderr.startswith("localhost:9001: name a user, with -u NAME")


def test_what_listens_there_may_be_something_else(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        other.listen()
        client = daemon.begin(daemon.ctl_command("status"), stderr=subprocess.PIPE)
        assert client.stderr is not None
        connection, _ = other.accept()
        with connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            expected = f"{daemon.socket}: what listens there is no supervisord\n"
            assert client.stderr.read().decode() == expected
        assert client.wait(5) == 6


def test_a_daemon_that_is_stopped_in_its_tracks_exits_with_8(running: Daemon) -> None:
    """The slowest test of all: the client has patience for 10 seconds."""
    os.kill(running.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = running.ctl("status")
        assert time.monotonic() - began < 30
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert done.returncode == 8
    assert done.stderr == f"{running.socket}: no answer in 10 seconds\n"
    assert running.status().up == ("sleeper",)
