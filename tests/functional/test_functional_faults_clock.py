"""A wall clock that is set back by a day: nothing that waits for a time notices it."""

from __future__ import annotations

import sys
import time

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until

pytestmark = pytest.mark.needs_linux

A_DAY = 86_400
SECONDS = 5  # every timer of the test, long enough for all of them to run at once

# What supervisord does, but the daemon is launched by another program.
START = """
    import sys

    sys.path[:] = {path!r}
    from supervisortw import supervisord

    of_holder = supervisord._holder_command

    def command(*given):
        return [{launch!r} if word.endswith("/launch.py") else word for word in of_holder(*given)]

    supervisord._holder_command = command
    sys.exit(supervisord.main())
    """

# What launch.py does, with a clock that goes wrong as soon as there is a file.
LAUNCH = """
    import os, sys, time

    right = time.time
    time.time = lambda: right() - {a_day} * os.path.exists({wrong!r})
    sys.path[:] = os.environ.pop("SUPERVISOR_PYTHON_PATH").split(os.pathsep)
    from supervisortw.tap import main

    sys.exit(main(sys.argv[1:]))
    """

PROGRAMS = f"""
    <program starts>
      command sleep 1000
      start-seconds {SECONDS}
      auto-start no
    </program>
    <program waits>
      command /bin/sh -c 'exit 1'
      restart-delay {SECONDS}
      restart-jitter 0
      auto-start no
    </program>
    <program deaf>
      command /bin/sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
      stop-wait-seconds {SECONDS}
    </program>
    """


def test_all_timers_run_on(daemon: Daemon) -> None:
    wrong = daemon.place / "wrong"
    launch = daemon.script("launch.py", LAUNCH.format(a_day=A_DAY, wrong=str(wrong)))
    start = daemon.python("start.py", START.format(path=sys.path, launch=str(launch)))
    daemon.write(PROGRAMS)
    done = daemon.run_supervisord([*start.split(), "-c", daemon.config])
    assert done.returncode == 0, done.stderr
    daemon.wait_for_output("deaf", "ready")
    deaf = daemon.pid_of("deaf")

    for words in (("start", "starts", "waits"), ("stop", "deaf")):
        daemon.begin(daemon.ctl_command(*words))
    for change in ("starts: STOPPED -> STARTING", "waits: STARTING -> BACKOFF", "-> STOPPING"):
        wait_until(lambda change=change: change in daemon.log_text(), daemon.log_text)
    wrong.touch()
    began = time.monotonic()

    later = ("starts: STARTING -> RUNNING", "waits: BACKOFF -> STARTING", "deaf: STOPPING -> ")
    for change in later:
        wait_until(lambda change=change: change in daemon.log_text(), daemon.log_text)
    assert time.monotonic() - began < 3 * SECONDS
    assert not is_alive(deaf)
    lines = daemon.log_text().splitlines()
    today, yesterday = lines[0].split()[0], lines[-1].split()[0]
    assert yesterday < today, "the clock has really been set back"
    for change in later:
        [line] = [line for line in lines if change in line]
        assert line.startswith(yesterday), "after it was set back"
    rows = daemon.status().programs  # which knows of no time below zero
    assert rows["starts"].state == "RUNNING"
    assert "ended by SIGKILL" in rows["deaf"].detail
    assert "Traceback" not in daemon.log_text()
