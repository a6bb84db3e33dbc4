"""Nothing adds up: after many restarts, sessions and reloads the daemon holds what it held before."""

from __future__ import annotations

import pytest
from functional_daemon import Daemon
from functional_processes import descriptors_of, wait_until

pytestmark = pytest.mark.needs_linux

PROGRAMS = """
    <program sleeper>
      command sleep 1000
      start-seconds 0
    </program>
    <program other>
      command sleep 1000
      start-seconds 0
    </program>
    """


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    daemon.write(PROGRAMS)
    daemon.start()
    daemon.ask("restart", "all")
    return daemon


def _open_in(daemon: Daemon) -> list[str]:
    """Return what is open in the daemon, by kind."""
    return sorted(what.partition(":")[0] for what in descriptors_of(daemon.pid).values())


def _are_again(daemon: Daemon, before: list[str]) -> None:
    wait_until(
        lambda: _open_in(daemon) == before, lambda: f"{_open_in(daemon)}, not {before}", seconds=5
    )


def test_a_hundred_restarts_leave_no_descriptor_behind(running: Daemon) -> None:
    before = _open_in(running)
    done = running.ctl(input="restart sleeper\n" * 100)
    assert done.returncode == 0
    assert done.stdout.count("sleeper: restarted, pid ") == 100
    _are_again(running, before)


def test_programs_that_fail_to_start_leave_no_descriptor_behind(daemon: Daemon) -> None:
    daemon.write(PROGRAMS + "<program missing>\n  command /no/such/command\n</program>\n")
    daemon.start()
    daemon.ctl("start", "missing")
    before = _open_in(daemon)
    done = daemon.ctl(input="start missing\n" * 50)
    assert done.returncode == 1
    assert done.stderr.count("command not found") == 50
    _are_again(daemon, before)


def test_sessions_and_followed_logs_leave_no_descriptor_behind(running: Daemon) -> None:
    before = _open_in(running)
    clients = [running.begin(running.ctl_command("tail", "-f", "sleeper")) for _ in range(10)]
    wait_until(lambda: len(_open_in(running)) == len(before) + 10, "they are connected")
    for client in clients:
        client.kill()
    _are_again(running, before)


def test_reloads_leave_no_descriptor_behind(running: Daemon) -> None:
    before = _open_in(running)
    third = PROGRAMS.replace("sleeper", "third").partition("<program other>")[0]
    for _ in range(3):
        running.write(PROGRAMS + third)
        assert "third: added" in running.ask("reload")
        running.write(PROGRAMS)
        assert "third: removed" in running.ask("reload")
    _are_again(running, before)
