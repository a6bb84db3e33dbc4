"""No process can be made: each program says so and waits, and the daemon does all the rest."""

from __future__ import annotations

import contextlib
import pwd
import resource
from collections.abc import Callable, Collection

import pytest
from functional_account import ORDINARY, Account
from functional_daemon import Daemon
from functional_processes import everybody, is_alive, status_of, wait_until, wait_until_gone
from leaving_out import leave_out

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


@pytest.fixture
def loner() -> str:
    """Return a user who has no process, so that the test knows how many there are."""
    busy = {pwd.getpwnam(name).pw_uid for name in ORDINARY}
    for each in everybody():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            busy.add(_uid_of(each.pid))
    for entry in pwd.getpwall():
        if entry.pw_gid and entry.pw_uid not in {0, *busy}:
            return entry.pw_name
    return leave_out("each user of this machine has a process already")


def _uid_of(pid: int) -> int:
    return int(status_of(pid)["Uid"].split()[0])


def test_one_whose_user_has_too_many_processes_is_there_when_that_has_fewer(
    daemon: Daemon, loner: str
) -> None:
    """The kernel lets it become that user, and only then refuses it."""
    daemon.write(f"""
        <program others>
          command sleep 1000
          processes 2
          user {loner}
        </program>
        <program waits>
          command sleep 1000
          auto-start no
          start-retries 1000
          restart-delay 0.2
          restart-delay-max 0.2
          user {loner}
          limit nproc 1
        </program>
        """)
    daemon.start()
    wait_until(lambda: daemon.log_text().count("-> RUNNING") == 2, daemon.log_text)
    done = daemon.ctl("start", "waits")
    assert done.returncode == 1
    assert "waits: cannot start " in done.stderr
    assert REASON in done.stderr
    row = daemon.status().programs["waits"]
    assert row.state == "BACKOFF"
    assert REASON in row.detail
    wait_until(lambda: daemon.log_text().count("-> BACKOFF") > 2, daemon.log_text)
    daemon.ask("stop", "others")
    pid = daemon.wait_for("waits", "RUNNING").pid
    assert _uid_of(pid) == pwd.getpwnam(loner).pw_uid
    assert "Traceback" not in daemon.log_text()
