"""Thousands of programs: whoever asks something while they are started is answered soon.

The bounds leave room for a slow machine that has other things to do.
"""

from __future__ import annotations

import resource
import sys
import time

import pytest
from functional_daemon import Daemon
from functional_processes import file_limits_of, wait_until, wait_until_gone
from leaving_out import leave_out

pytestmark = pytest.mark.needs_linux

SOFT = 1024  # open files, of daemon and children
FILES_OF_EACH = 3

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


@pytest.mark.parametrize(("count", "longest"), [(2_000, 0.5), (5_000, 2.0)])
def test_starting_thousands_holds_nobody_up(daemon: Daemon, count: int, longest: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_OF_EACH * count + 1000:
        leave_out(f"needs a hard limit of {FILES_OF_EACH * count + 1000} open files")
    last = _write(daemon, count)
    asks = daemon.python("asks.py", ASKS.format(path=sys.path, last=last))
    begin = time.monotonic()
    limited = ["prlimit", f"--nofile={SOFT}:"]
    assert daemon.run_supervisord([*limited, *daemon.supervisord_command()]).returncode == 0
    ready = time.monotonic()
    answers = daemon.place / "answers"
    with open(answers, "wb") as output:
        client = daemon.begin([*asks.split(), daemon.socket], stdout=output)
    wait_until(lambda: answers.stat().st_size > 0, "it is connected")
    starter = daemon.begin(daemon.ctl_command("start", "all"))
    assert client.wait(120) == 0
    up = time.monotonic()
    assert starter.wait(60) == 0
    took = sorted(map(float, answers.read_text().split()))
    print(
        f"{count}: ready after {ready - begin:.1f} s, last running after {up - ready:.1f} s; "
        f"of {len(took)} answers the median took {took[len(took) // 2] * 1000:.1f} ms, "
        f"the slowest {took[-1] * 1000:.1f} ms"
    )
    assert len(took) > 100
    assert took[-1] < longest
    status = daemon.status()
    assert len(status.up) == count
    assert {file_limits_of(row.pid)[0] for row in status.programs.values()} == {SOFT}
    assert daemon.ctl("shutdown", seconds=60).returncode == 0
    wait_until_gone(daemon.pid, daemon.holder, seconds=60)
    assert "Traceback" not in daemon.log_text()
