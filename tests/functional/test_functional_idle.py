"""An idle daemon does nothing at all."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time

import pytest
from functional_daemon import Daemon
from functional_processes import status_of, wait_until
from leaving_out import leave_out

pytestmark = pytest.mark.needs_linux

SECONDS = 3


def test_an_idle_daemon_with_20_programs_makes_no_system_call(daemon: Daemon) -> None:
    if shutil.which("strace") is None:
        leave_out("needs strace")
    names = [f"program{number}" for number in range(20)]
    daemon.write("".join(f"<program {name}>\n command sleep 1000\n</program>\n" for name in names))
    daemon.start()
    wait_until(lambda: daemon.log_text().count("STARTING -> RUNNING") == 20, daemon.log_text)
    assert daemon.status().up == tuple(names)
    for pid in (daemon.pid, daemon.holder):
        assert status_of(pid)["State"].startswith("S")
    report = daemon.place / "calls"
    tracers = [
        daemon.begin(
            ["strace", "-f", "-o", f"{report}.{pid}", "-p", str(pid)], stderr=subprocess.PIPE
        )
        for pid in (daemon.pid, daemon.holder)
    ]
    for tracer in tracers:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if b"attached" not in line:
            leave_out(f"strace cannot attach: {line!r}")
    time.sleep(SECONDS)  # there is nothing to wait for: that is the point
    for tracer in tracers:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(5)
    for pid in (daemon.pid, daemon.holder):
        with open(f"{report}.{pid}", encoding="utf-8") as calls:
            # The call in which each thread was found, which has no end yet, and strace's own end.
            begun = [line for line in calls if "<unfinished ...>" not in line]
        assert [line for line in begun if "detached" not in line] == []
