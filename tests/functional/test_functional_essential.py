"""Programs that the daemon lives for, and programs that are started a few at a time."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until, wait_until_gone

# Ends with what it finds in a file, once there is one: an exit code, or the name of a signal.
JOB = """
    #! /bin/sh
    echo up
    while test ! -e {place}/end; do sleep 0.05; done
    read end < {place}/end
    case $end in
        [0-9]*) exit $end ;;
        *) kill -$end $$ ;;
    esac
    """


def _write(daemon: Daemon, *keys: str) -> None:
    path = daemon.script("job", JOB.format(place=daemon.place))
    lines = "\n".join(keys)
    daemon.write(f"""
        <program job>
          command {path}
          essential yes
          {lines}
        </program>
        <program other>
          command sleep 1000
        </program>
        """)


def _end_the_job(daemon: Daemon, how: str) -> None:
    """Let it end while everything is up."""
    for name in ("job", "other"):
        daemon.wait_for(name, "RUNNING")
    other = daemon.pid_of("other")
    new = daemon.save(daemon.place / "new", f"{how}\n")
    new.rename(daemon.place / "end")
    wait_until_gone(other)


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("0", 0, "exited with code 0"),
        ("7", 7, "exited with code 7"),
        ("TERM", 128 + signal.SIGTERM, "ended by SIGTERM"),
    ],
)
def test_in_the_foreground_its_exit_code_is_that_of_the_daemon(
    daemon: Daemon, how: str, code: int, told: str
) -> None:
    _write(daemon, "auto-restart false")
    process = daemon.start_in_foreground()
    _end_the_job(daemon, how)
    assert process.wait(15) == code
    assert f"job is essential and has ended: {told}" in daemon.log_text()
    assert not daemon.pidfile.exists()
    assert not daemon.socket.exists()


def test_in_the_background_the_daemon_ends_too_and_stays_away(daemon: Daemon) -> None:
    _write(daemon, "auto-restart false")
    daemon.start()
    _end_the_job(daemon, "7")
    wait_until_gone(daemon.pid, daemon.holder)
    assert daemon.log_text().count(" started, pid ") == 1
    assert not daemon.socket.exists()
    (daemon.place / "end").unlink()
    daemon.start()
    assert daemon.status().up == ("job", "other")


def test_one_that_is_started_again_has_not_ended_for_good(daemon: Daemon) -> None:
    _write(daemon)
    daemon.start()
    before = daemon.wait_for("job", "RUNNING").pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: daemon.status().programs["job"].pid not in (0, before), daemon.log_text)
    assert is_alive(daemon.pid)
    assert "essential" not in daemon.log_text()


def test_one_that_is_stopped_by_an_operator_ends_nothing(daemon: Daemon) -> None:
    _write(daemon)
    daemon.start()
    daemon.wait_for("job", "RUNNING")
    daemon.ask("stop", "job")
    assert daemon.status().up == ("other",)
    assert daemon.ask("start", "job").startswith("job: started, pid ")


def test_one_that_is_given_up_ends_the_daemon_with_its_code(daemon: Daemon) -> None:
    daemon.write("""
        <program job>
          command /bin/sh -c 'exit 9'
          essential yes
          start-retries 0
        </program>
        """)
    daemon.said = open(daemon.place / "said", "wb")  # noqa: SIM115  # closed by stop()
    streams = {"stdout": daemon.said, "stderr": daemon.said, "start_new_session": True}
    daemon.foreground = daemon.begin(daemon.supervisord_command("-n"), **streams)
    assert daemon.foreground.wait(15) == 9
    assert "job is essential and has ended: given up" in daemon.log_text()


def test_one_that_cannot_be_started_ends_the_daemon_with_1(daemon: Daemon) -> None:
    daemon.write("<program job>\ncommand /no/such/command\nessential yes\n</program>")
    daemon.said = open(daemon.place / "said", "wb")  # noqa: SIM115  # closed by stop()
    streams = {"stdout": daemon.said, "stderr": daemon.said, "start_new_session": True}
    daemon.foreground = daemon.begin(daemon.supervisord_command("-n"), **streams)
    assert daemon.foreground.wait(15) == 1
    assert "/no/such/command" in (daemon.place / "said").read_text()


SLEEPERS = """
    <program sleeper>
      command sleep 1000
      processes 6
      start-seconds 0.2
    </program>
    """


def _starting_at_once(log: str) -> int:
    """Return how many were STARTING at the same time, at most."""
    most = now = 0
    for state in re.findall(r" info sleeper:\S+: \w+ -> (STARTING|RUNNING)", log):
        now += 1 if state == "STARTING" else -1
        most = max(most, now)
    return most


def _wait_for_all(daemon: Daemon) -> None:
    wait_until(lambda: daemon.log_text().count("STARTING -> RUNNING") == 6, daemon.log_text)


@pytest.mark.parametrize("most", [1, 2])
def test_max_starting_lets_only_so_many_start_at_once(daemon: Daemon, most: int) -> None:
    daemon.write(SLEEPERS, f"max-starting {most}")
    daemon.start()
    _wait_for_all(daemon)
    assert _starting_at_once(daemon.log_text()) == most
    assert len(daemon.status().up) == 6


def test_who_waits_for_a_turn_says_so(daemon: Daemon) -> None:
    daemon.write(SLEEPERS.replace("0.2", "1000"), "max-starting 1")
    daemon.start()
    rows = daemon.status().programs
    assert rows["sleeper:sleeper_0"].state == "STARTING"
    waiting = rows["sleeper:sleeper_5"]
    assert (waiting.state, waiting.detail) == (
        "WAITING",
        "waiting for its turn (max-starting 1)",
    )
    daemon.write(SLEEPERS.replace("0.2", "1000"))
    assert "supervisord: max-starting changed\n" in daemon.ask("reload")
    wait_until(lambda: len(daemon.status().up) == 6, daemon.log_text)


def test_start_delay_is_the_least_time_between_two_starts(daemon: Daemon) -> None:
    daemon.write(SLEEPERS, "start-delay 0.3")
    daemon.start()
    _wait_for_all(daemon)
    times = re.findall(r":(\d\d)[,.](\d{3}) info sleeper:\S+: \w+ -> STARTING", daemon.log_text())
    assert len(times) == 6
    moments = [int(seconds) + int(millis) / 1000 for seconds, millis in times]
    waits = [(after - before) % 60 for before, after in pairwise(moments)]
    assert sum(waits) >= 5 * 0.3 - 0.1
