"""Children that do not do what is expected of them."""

from __future__ import annotations

import os
import signal
import time

import pytest
from functional_daemon import Daemon
from functional_processes import (
    descriptors_of,
    is_alive,
    session_of,
    stat_of,
    ticks_of,
    wait_until,
)

pytestmark = pytest.mark.needs_linux

DEAF = "/bin/sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.1; done'"

# Forks twice and ends; the grandchild has a session of its own, as a classic daemon has.
TWICE = """
    import os, sys, time

    time.sleep(0.3)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open(sys.argv[1] + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(sys.argv[1] + ".new", sys.argv[1])
            time.sleep(1000)
        os._exit(0)
    os.wait()
    """

SILENT = """
    import os, time

    os.write(1, b"the last words")
    os.close(1)
    os.close(2)
    time.sleep(1000)
    """


def test_one_that_somebody_kills_while_it_is_being_stopped(daemon: Daemon) -> None:
    daemon.write(f"<program deaf>\n  command {DEAF}\n  stop-wait-seconds 1000\n</program>")
    daemon.start()
    for count, verb in enumerate(("restart", "stop"), 1):
        wait_until(lambda count=count: daemon.output("deaf").count("ready") == count, "it is deaf")
        pid = daemon.wait_for("deaf", "RUNNING").pid
        client = daemon.begin(daemon.ctl_command(verb, "deaf"))
        wait_until(
            lambda count=count: daemon.log_text().count("RUNNING -> STOPPING") == count,
            daemon.log_text,
        )
        os.kill(pid, signal.SIGKILL)
        assert client.wait(30) == 0
        assert session_of(pid) == set()
    row = daemon.status().programs["deaf"]
    assert row.state == "STOPPED"
    assert row.detail.startswith("stopped; ended by SIGKILL after ")
    assert "BACKOFF" not in daemon.log_text(), "it was told to end, whoever saw to it"


def test_one_that_somebody_stops_is_ended_all_the_same(daemon: Daemon) -> None:
    """SIGSTOP, as from a debugger: TERM waits until it goes on, KILL does not."""
    daemon.write("<program sleeper>\n  command sleep 1000\n  stop-wait-seconds 0.3\n</program>")
    daemon.start()
    pid = daemon.wait_for("sleeper", "RUNNING").pid
    os.kill(pid, signal.SIGSTOP)

    def is_stopped() -> bool:
        stat = stat_of(pid)
        return stat is not None and stat.state == "T"

    wait_until(is_stopped, "it is stopped")
    assert daemon.ask("stop", "sleeper").startswith("sleeper: stopped; ended by SIG")
    assert not is_alive(pid)


def test_one_that_forks_twice_and_ends_has_ended_and_its_grandchild_is_told_of(
    daemon: Daemon,
) -> None:
    note = daemon.place / "grandchild"
    daemon.write(f"""
        <program twice>
          command {daemon.python("twice.py", TWICE)} {note}
          auto-restart unexpected
        </program>
        """)
    daemon.start()
    daemon.wait_for("twice", "EXITED")
    grandchild = int(wait_until(lambda: note.exists() and note.read_text(), "it has forked twice"))
    assert is_alive(grandchild), "what has left the session is nobody's to end unasked"
    assert daemon.ask("stop", "--all-of-it", "twice").count("ended 1 process") == 1
    assert not is_alive(grandchild)


def test_one_that_closes_its_output_and_lives_on_is_up(daemon: Daemon) -> None:
    daemon.write(f"<program silent>\n  command {daemon.python('silent.py', SILENT)}\n</program>")
    daemon.start()
    pid = daemon.wait_for("silent", "RUNNING").pid
    daemon.wait_for_output("silent", "the last words")
    log = str(daemon.state / "log" / "silent.log")
    wait_until(lambda: set(descriptors_of(pid)) == {0}, "it has closed them")
    held = descriptors_of(daemon.pid)
    assert log in held.values()
    row = daemon.status().programs["silent"]
    assert (row.state, row.pid) == ("RUNNING", pid)
    before = ticks_of(daemon.pid)
    time.sleep(1)  # there is nothing to wait for: it must not be busy
    assert ticks_of(daemon.pid) - before < 5
    # The child has let go of the pipe alone: a restart works as ever.
    assert daemon.ask("restart", "silent").startswith("silent: restarted, pid ")
    assert daemon.ask("stop", "silent").startswith("silent: stopped; ended by SIGTERM after ")
    assert not is_alive(pid)
