"""A file table that is too small: what fits runs, the daemon can be steered, and children get no less."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import descriptors_of, file_limits_of, wait_until

pytestmark = pytest.mark.needs_linux

SMALL = 64
TOO_MANY = 60  # programs, each with its log, the pipe into it, and a watch over the process

SOFT, HARD = 256, 4096
MANY = 400


def _programs(count: int, *keys: str) -> str:
    lines = "".join(f"  {key}\n" for key in ("command sleep 1000", *keys))
    return "".join(f"<program p{number}>\n{lines}</program>\n" for number in range(count))


def _start(daemon: Daemon, soft: int, hard: int) -> None:
    """Start the daemon with these limits of open files."""
    limits = ["prlimit", f"--nofile={soft}:{hard}"]
    done = daemon.run_supervisord([*limits, *daemon.supervisord_command()])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", ["umask 022", "nice 1"], ids=["by itself", "by the forker"])
def test_what_does_not_fit_is_told_and_the_rest_runs(daemon: Daemon, key: str) -> None:
    daemon.write(_programs(TOO_MANY, key, "start-retries 1", "restart-delay 0.1"))
    _start(daemon, SMALL, SMALL)
    up = "STARTING -> RUNNING"
    wait_until(
        lambda: daemon.log_text().count(up) + daemon.log_text().count("-> FATAL") == TOO_MANY,
        daemon.log_text,
    )
    status = daemon.status()
    [note] = status.notes
    told = re.match(rf"(\d+) open files are needed and {SMALL} are allowed; raise the limit ", note)
    assert told
    assert int(told[1]) > 3 * TOO_MANY
    assert f" error {note}\n" in daemon.log_text()
    assert len(status.up) >= 5
    assert status.down
    for name in status.down:
        detail = status.programs[name].detail.lower()
        assert "too many open files" in detail
    # What is kept is there: ten at once are heard, and what fits can be restarted.
    assert SMALL - len(descriptors_of(daemon.pid)) > 10
    clients = [daemon.begin(daemon.ctl_command("pid", status.up[0])) for _ in range(10)]
    assert [client.wait(30) for client in clients] == [0] * 10
    assert daemon.ask("restart", "p0").startswith("p0: restarted, pid ")
    assert daemon.status().up == status.up
    assert len(descriptors_of(daemon.pid)) <= SMALL
    assert daemon.ctl("stop", "all").returncode == 0
    assert daemon.ctl("reload").returncode == 0
    assert "Traceback" not in daemon.log_text()


@pytest.mark.parametrize(
    "kind",
    [
        "by itself",
        "by the forker",
        pytest.param("as another user", marks=pytest.mark.needs_root),
    ],
)
def test_children_have_the_limit_that_the_daemon_was_started_with(
    make_daemon: Callable[[], Daemon], request: pytest.FixtureRequest, kind: str
) -> None:
    keys = {"by itself": "umask 022", "by the forker": "nice 1"}
    if kind == "as another user":
        other: Account = request.getfixturevalue("ordinary")
        keys[kind] = f"user {other.name}"
    daemon = make_daemon()
    daemon.write(_programs(MANY, keys[kind]))
    _start(daemon, SOFT, HARD)
    wait_until(
        lambda: daemon.log_text().count("STARTING -> RUNNING") == MANY, daemon.log_text, seconds=60
    )
    status = daemon.status()
    assert len(status.up) == MANY
    assert status.notes == ()
    pids = [row.pid for row in status.programs.values()]
    assert {file_limits_of(pid) for pid in pids} == {(SOFT, HARD)}
    soft, hard = file_limits_of(daemon.pid)
    assert soft > 3 * MANY, "it has raised its own"
    assert hard == HARD
