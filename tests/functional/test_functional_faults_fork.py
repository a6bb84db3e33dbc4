"""No process can be made: each program says so and waits, and the daemon does all the rest."""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import everybody, is_alive, wait_until_gone

# Root makes a daemon of an ordinary user: no limit of processes binds root itself.
pytestmark = [pytest.mark.needs_linux, pytest.mark.needs_root]

REASON = "Resource temporarily unavailable"

KINDS = {"by itself": "umask 022", "by the forker": "nice 1"}


def _programs(key: str) -> str:
    return f"""
        <program runs>
          command sleep 1000
          {key}
        </program>
        <program waits>
          command sleep 1000
          auto-start no
          forever yes
          restart-delay 0.2
          restart-delay-max 0.2
          {key}
        </program>
        <program gives-up>
          command sleep 1000
          auto-start no
          start-retries 0
          {key}
        </program>
        """


def _allow(daemon: Daemon, processes: int, pids: Collection[int]) -> None:
    """Let these processes have so many of their user's."""
    for pid in pids:
        done = daemon.run(["prlimit", "--pid", str(pid), f"--nproc={processes}:"])
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("warm", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_forked_waits_and_is_there_when_it_can(
    make_daemon: Callable[[Account], Daemon], ordinary: Account, kind: str, warm: bool
) -> None:
    """The forker is there only if a program was started by it: it is a process as well."""
    daemon = make_daemon(ordinary)
    daemon.write(_programs(KINDS[kind]))
    if not warm:
        text = daemon.config.read_text()
        daemon.save(daemon.config, text.replace("<program runs>", "<program runs>\nauto-start no"))
    daemon.start()
    if warm:
        daemon.wait_for("runs", "RUNNING")
    limited = {daemon.pid, *(each.pid for each in everybody() if each.parent == daemon.pid)}
    _allow(daemon, 1, limited)

    done = daemon.ctl("start", "gives-up", "waits")
    assert done.returncode == 1
    for name in ("gives-up", "waits"):
        assert f"{name}: cannot start " in done.stderr
    assert done.stderr.count(REASON) == 2
    rows = daemon.status().programs
    assert rows["gives-up"].state == "FATAL"
    assert rows["waits"].state == "BACKOFF"
    assert REASON in rows["waits"].detail
    # Nor can threads be made.
    assert daemon.ctl("reload").returncode == 0
    before = rows["runs"].pid
    assert daemon.ctl("stop", "runs").returncode == 0
    assert not is_alive(before)

    _allow(daemon, resource.getrlimit(resource.RLIMIT_NPROC)[0], filter(is_alive, limited))
    assert is_alive(daemon.wait_for("waits", "RUNNING").pid)
    assert daemon.ctl("start", "all").returncode == 0
    assert daemon.status().down == ()
    assert "Traceback" not in daemon.log_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_daemon_that_can_make_no_process_ends_when_it_is_told_to(
    make_daemon: Callable[[Account], Daemon], ordinary: Account, kind: str
) -> None:
    daemon = make_daemon(ordinary)
    daemon.write(_programs(KINDS[kind]))
    daemon.start()
    daemon.wait_for("runs", "RUNNING")
    _allow(daemon, 1, [daemon.pid])
    assert daemon.ctl("shutdown").returncode == 0
    wait_until_gone(daemon.pid, daemon.holder)
    assert daemon.log_text().endswith(" info supervisord ended\n")
    assert "Traceback" not in daemon.log_text()
