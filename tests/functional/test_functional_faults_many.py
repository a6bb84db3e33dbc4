"""Thousands of programs: whoever asks something while they are started is answered soon."""

from __future__ import annotations

import os
import resource
import sys

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import file_limits_of, wait_until, wait_until_gone
from leaving_out import leave_out

pytestmark = pytest.mark.needs_linux

SOFT = 1024  # open files, of daemon and children
FILES_OF_EACH = 3
TRIES = 3  # what else the machine does can only make an answer late, and seldom does so every time

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


def _write(daemon: Daemon, count: int, user: str) -> str:
    """Write a configuration; return the name of the program that is started last."""
    keys = f"command /bin/sleep 1000\nuser {user}\nauto-start no"
    daemon.write("".join(f"<program p{n}>\n{keys}\n</program>\n" for n in range(count)))
    return f"p{count - 1}"


def _start_all(daemon: Daemon, asks: str) -> list[float]:
    """Start all while somebody asks for the last one; return how long each answer took, in order."""
    answers = daemon.place / "answers"
    with open(answers, "wb") as output:
        client = daemon.begin([*asks.split(), daemon.socket], stdout=output)
    wait_until(lambda: answers.stat().st_size > 0, "it is connected")
    starter = daemon.begin(daemon.ctl_command("start", "all"))
    assert client.wait(120) == 0
    assert starter.wait(60) == 0
    return sorted(map(float, answers.read_text().split()))


@pytest.mark.parametrize(("count", "longest"), [(2_000, 0.1), (5_000, 0.5)])
def test_starting_thousands_holds_nobody_up(
    daemon: Daemon, anybody: Account, count: int, longest: float
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_OF_EACH * count + 1000:
        leave_out(f"needs a hard limit of {FILES_OF_EACH * count + 1000} open files")
    last = _write(daemon, count, anybody.name)
    asks = daemon.python("asks.py", ASKS.format(path=sys.path, last=last))
    limited = ["prlimit", f"--nofile={SOFT}:"]
    assert daemon.run_supervisord([*limited, *daemon.supervisord_command()]).returncode == 0
    slowest = []
    for _ in range(TRIES):
        took = _start_all(daemon, asks)
        assert len(took) > 100
        slowest.append(took[-1])
        print(f"{count}: of {len(took)} answers the slowest took {took[-1] * 1000:.1f} ms")
        if took[-1] < longest:
            break
        assert daemon.ctl("stop", "all", seconds=60).returncode == 0
    assert min(slowest) < longest
    status = daemon.status()
    assert len(status.up) == count
    assert {file_limits_of(row.pid)[0] for row in status.programs.values()} == {SOFT}
    assert {os.stat(f"/proc/{row.pid}").st_uid for row in status.programs.values()} == {anybody.uid}
    assert daemon.ctl("shutdown", seconds=60).returncode == 0
    wait_until_gone(daemon.pid, daemon.holder, seconds=60)
    assert "Traceback" not in daemon.log_text()
