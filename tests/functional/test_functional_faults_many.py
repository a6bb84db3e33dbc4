"""Thousands of programs: the daemon starts them in the background of everything else."""

from __future__ import annotations

import sys
import time

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

pytestmark = pytest.mark.needs_linux

MANY = 2_000
LONGEST_WAIT = 0.5  # seconds; 0.1 is promised on a machine that has nothing else to do

# Asks for one program's status until it is told to stop, and prints the seconds that each answer took.
ASKS = """
    import sys, time

    sys.path[:] = {path!r}
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from supervisortw.core.model import UnixAddress
    from supervisortw.remote.connection import connect

    async def ask():
        session = await connect(reactor, UnixAddress(path=sys.argv[1]))
        while True:
            began = time.perf_counter()
            status = await session.status([{last!r}])
            print(time.perf_counter() - began, flush=True)
            if status.programs[0].state.value == "RUNNING":
                break
            await sleep(0.005)
        session.close()
        reactor.stop()

    def sleep(seconds):
        waiting = Deferred()
        reactor.callLater(seconds, waiting.callback, None)
        return waiting

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(ask()))
    reactor.run()
    """


def _write(daemon: Daemon, count: int) -> str:
    """Write a configuration; return the name of the program that is started last."""
    keys = "command /bin/sleep 1000\nlogfile none\nauto-start no"
    daemon.write("".join(f"<program p{n}>\n{keys}\n</program>\n" for n in range(count)))
    return f"p{count - 1}"


def test_starting_two_thousand_holds_nobody_up(daemon: Daemon) -> None:
    last = _write(daemon, MANY)
    asks = daemon.python("asks.py", ASKS.format(path=sys.path, last=last))
    begin = time.monotonic()
    daemon.supervisord()
    ready = time.monotonic()
    with open(daemon.place / "waits", "wb") as waits:
        client = daemon.begin([*asks.split(), daemon.socket], stdout=waits)
    wait_until(lambda: (daemon.place / "waits").stat().st_size > 0, "it is connected")
    starter = daemon.begin(daemon.ctl_command("start", "all"))
    assert client.wait(90) == 0
    up = time.monotonic()
    assert starter.wait(60) == 0
    took = sorted(map(float, (daemon.place / "waits").read_text().split()))
    print(
        f"ready after {ready - begin:.1f} s, last running after {up - ready:.1f} s; "
        f"of {len(took)} answers the median took {took[len(took) // 2] * 1000:.1f} ms, "
        f"the slowest {took[-1] * 1000:.1f} ms"
    )
    assert len(took) > 100
    assert took[-1] < LONGEST_WAIT
    assert len(daemon.status().up) == MANY
    began = time.monotonic()
    assert daemon.ctl("shutdown", seconds=60).returncode == 0
    print(f"shutdown took {time.monotonic() - began:.1f} s")
    assert "Traceback" not in daemon.log_text()
