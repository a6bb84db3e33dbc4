"""Programs that cannot start, or do not stay up: what is made of them, and what status says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until

# Each program with its keys, and what status has to say about it.
HOPELESS = {
    "missing": (["command {place}/missing"], "command not found: {place}/missing"),
    "nowhere": (["command no-such-command"], "command not found: no-such-command (looked in "),
    "plain": (["command {place}/plain"], "cannot start {place}/plain: not executable"),
    "folder": (["command {place}/directory"], "cannot start {place}/directory: a directory"),
    "headless": (["command {place}/headless"], "cannot start {place}/headless: not a program"),
    "orphaned": (
        ["command {place}/orphaned"],
        "cannot start {place}/orphaned: the interpreter in its first line is missing",
    ),
    "unknown": (["command sleep 1000", "user no-such-user"], "no such user: no-such-user"),
    "homeless": (
        ["command sleep 1000", "logfile {place}/nowhere/x.log"],
        "log not writable: directory {place}/nowhere does not exist",
    ),
    "misled": (["command sleep 1000", "logfile {place}/directory"], "log not writable: "),
}

FINE = """
    <program first>
      command sleep 1000
      priority 1
    </program>
    <program last>
      command sleep 1000
    </program>
    """


def test_what_cannot_start_is_fatal_with_the_reason_and_the_others_run(
    make_daemon: Callable[[Account], Daemon], anybody: Account
) -> None:
    daemon = make_daemon(anybody)
    daemon.save(daemon.place / "plain", "#!/bin/sh\n")
    daemon.directory("directory")
    daemon.script("headless", "\0no text\n")
    daemon.script("orphaned", "#!/no/such/interpreter\n")
    daemon.write(FINE + "".join(_program(name, *keys) for name, (keys, _) in HOPELESS.items()))
    text = daemon.config.read_text()
    daemon.save(daemon.config, text.replace("{place}", str(daemon.place)))
    daemon.start()
    daemon.wait_for("last", "RUNNING")
    status = daemon.status()
    assert status.up == ("first", "last")
    assert status.down == tuple(HOPELESS)
    for name, (_, reason) in HOPELESS.items():
        row = status.programs[name]
        assert row.state == "FATAL"
        assert row.detail.startswith(reason.format(place=daemon.place))


def _program(name: str, *keys: str) -> str:
    lines = "".join(f"      {key}\n" for key in keys)
    return f"    <program {name}>\n{lines}    </program>\n"


@pytest.mark.needs_root
def test_only_root_can_run_programs_as_somebody_else(
    make_daemon: Callable[[Account], Daemon], ordinary: Account
) -> None:
    daemon = make_daemon(ordinary)
    daemon.write(FINE + _program("greedy", "command sleep 1000", "user root"))
    daemon.start()
    row = daemon.wait_for("greedy", "FATAL")
    assert row.detail.startswith("cannot run as ")
    assert "only root can" in row.detail
    assert daemon.status().up == ("first", "last")


@pytest.mark.needs_root
def test_a_log_that_its_user_may_not_write_is_fatal(
    make_daemon: Callable[[Account], Daemon], ordinary: Account
) -> None:
    daemon = make_daemon(ordinary)
    daemon.write(FINE + _program("ambitious", "command sleep 1000", "logfile /etc/ambitious.log"))
    daemon.start()
    row = daemon.wait_for("ambitious", "FATAL")
    assert row.detail.startswith("log not writable: ")
    assert "/etc/ambitious.log" in row.detail
    assert daemon.status().up == ("first", "last")


def test_start_tells_the_reason_and_exits_with_1(daemon: Daemon) -> None:
    daemon.write(FINE + _program("missing", "command /no/such/command", "auto-start false"))
    daemon.start()
    done = daemon.ctl("start", "missing", "first")
    assert done.returncode == 1
    assert done.stderr == "missing: command not found: /no/such/command\n"
    assert done.stdout.startswith("first: ")


def test_what_was_mended_can_be_started(daemon: Daemon) -> None:
    daemon.write(_program("late", f"command {daemon.place}/late"))
    daemon.start()
    daemon.wait_for("late", "FATAL")
    daemon.script("late", "#!/bin/sh\nexec sleep 1000\n")
    assert daemon.ask("start", "late").startswith("late: started, pid ")


def _states(daemon: Daemon, name: str) -> list[str]:
    return re.findall(rf" {name}: \w+ -> (\w+)", daemon.log_text())


def test_quick_deaths_are_waited_out_and_then_given_up(daemon: Daemon) -> None:
    daemon.write(
        _program("twice", "command /bin/sh -c 'exit 3'", "backoff-limit 2")
        + _program("once", "command /bin/sh -c 'exit 4'", "start-retries 0")
        + _program("ever", "command /bin/sh -c 'exit 5'", "backoff-limit 1", "forever yes")
        + _program("late", "command /bin/sh -c 'sleep 0.3; exit 6'", "backoff-limit 1")
        + _program("killed", "command /bin/sh -c 'kill -9 $$$$'", "backoff-limit 1")
    )
    daemon.start()
    daemon.wait_for("late", "FATAL")
    rows = daemon.status().programs
    assert rows["twice"].state == "BACKOFF"
    assert rows["twice"].detail.startswith("exited with code 3 after ")
    assert "too quickly; next try in " in rows["twice"].detail
    assert rows["once"].state == "FATAL"
    assert "given up after 1 quick death;" in rows["once"].detail
    assert "exited with code 4" in rows["once"].detail
    assert "exited with code 6" in rows["late"].detail
    assert _states(daemon, "late") == ["STARTING", "RUNNING", "FATAL"]
    assert "ended by SIGKILL" in rows["killed"].detail

    detail = daemon.wait_for("twice", "FATAL").detail
    assert detail.startswith("given up after 2 quick deaths; exited with code 3")
    assert detail.endswith("; 1 restart")
    assert _states(daemon, "twice") == ["STARTING", "BACKOFF", "STARTING", "FATAL"]
    wait_until(lambda: _states(daemon, "ever").count("STARTING") > 2, daemon.log_text)
    assert "FATAL" not in _states(daemon, "ever")


def test_what_waits_in_backoff_can_be_stopped_and_started(daemon: Daemon) -> None:
    daemon.write(_program("hasty", "command /bin/sh -c 'exit 1'", "forever yes"))
    daemon.start()
    daemon.wait_for("hasty", "BACKOFF")
    assert daemon.ask("stop", "hasty") == "hasty: stopped\n"
    assert daemon.status().programs["hasty"].state == "STOPPED"
    assert daemon.ctl("start", "hasty").returncode == 1
    assert _states(daemon, "hasty").count("STARTING") >= 2


def test_exit_codes_and_auto_restart_decide_what_ends_supervision(daemon: Daemon) -> None:
    quick = "auto-restart unexpected", "start-retries 0"
    daemon.write(
        _program("listed", "command /bin/sh -c 'exit 2'", "exit-codes 0, 2", "start-retries 0")
        + _program("unlisted", "command /bin/sh -c 'exit 1'", "exit-codes 0, 2", "start-retries 0")
        + _program("never", "command /bin/sh -c 'exit 1'", "auto-restart false")
        + _program("expected", "command /bin/sh -c 'exit 0'", *quick)
        + _program("unexpected", "command /bin/sh -c 'exit 1'", *quick)
        + _program("other", "command /bin/sh -c 'exit 0'", "exit-codes 7", *quick)
        + _program("killed", "command /bin/sh -c 'kill -9 $$$$'", "exit-codes 9", *quick)
    )
    daemon.start()
    wait_until(lambda: daemon.log_text().count("STARTING ->") == 7, daemon.log_text)
    states = {name: row.state for name, row in daemon.status().programs.items()}
    assert states == {
        "listed": "EXITED",
        "unlisted": "FATAL",
        "never": "EXITED",
        "expected": "EXITED",
        "unexpected": "FATAL",
        "other": "FATAL",
        "killed": "FATAL",
    }
    done = daemon.ctl("start", "listed", "unlisted")
    assert done.returncode == 1
    assert done.stdout.startswith("listed: exited with code 2 after ")
    assert done.stderr.startswith("unlisted: given up after 1 quick death")


def test_what_dies_after_a_while_is_started_again_at_once(daemon: Daemon) -> None:
    mortal = "command /bin/sh -c 'sleep 1.1; kill -9 $$$$'"
    daemon.write(_program("phoenix", mortal, "backoff-limit 1"))
    daemon.start()
    first = daemon.wait_for("phoenix", "RUNNING").pid
    again = ["STARTING", "RUNNING", "STARTING", "RUNNING"]
    wait_until(lambda: _states(daemon, "phoenix") == again, daemon.log_text)
    row = daemon.status().programs["phoenix"]
    assert row.pid not in (0, first)
    assert row.detail == "1 restart"
    assert not is_alive(first)
