"""`why` and `status --json` of a real daemon, about programs that really end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import wait_until
from functional_survivor import Survivor

MakeDaemon = Callable[..., Daemon]

DOOR = """
    #! /bin/sh
    echo looking for the door
    echo "cannot find the door" >&2
    exit 3
    """
PROGRAMS = """
<program door>
  command {script}
  start-retries 1
  restart-delay 0.05
  stderr-logfile {place}/door.err
</program>
<program sleeper>
  command sleep 1000
</program>
<program guest>
  command sleep 1000
  depends-on door
</program>
"""


def _ready(daemon: Daemon) -> Daemon:
    script = daemon.script("door", DOOR)
    daemon.write(PROGRAMS.format(script=script, place=daemon.place))
    daemon.start()
    daemon.wait_for("door", "FATAL")
    daemon.wait_for("sleeper", "RUNNING")
    return daemon


def _programs(daemon: Daemon, *names: str) -> dict[str, Any]:
    done = daemon.ctl("status", "--json", *names)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["version"] == 1
    [host] = document["hosts"]
    assert host["host"] == str(daemon.socket)
    assert host["daemon"]["pid"] == daemon.pid
    return {program["name"]: program for program in host["programs"]}


def test_why_a_program_is_down(make_daemon: MakeDaemon, anybody: Account) -> None:
    daemon = _ready(make_daemon(anybody))
    first, facts, _, head, *rest = daemon.ask("why", "door").splitlines()
    assert re.fullmatch(
        r"door is FATAL: it exited with code 3 after \d\.\d s, too quickly, 2 times in a row; it stays "
        r"down until somebody starts it",
        first,
    )
    assert re.fullmatch(r"down for .+, wanted up, restarts: 1, tries left: 0", facts)
    assert head.split() == ["WHEN", "END", "AFTER", "EXPECTED", "STOPPED", "BY"]
    row = r"\d\d-\d\d \d\d:\d\d:\d\d  code 3  \d\.\d s  no        -"
    assert all(re.fullmatch(row, line) for line in rest[:2])
    wait_until(
        lambda: daemon.ask("why", "door").endswith(
            "\nlast lines of door/stderr:\n  cannot find the door\n  cannot find the door\n"
        ),
        lambda: daemon.ask("why", "door"),
    )
    assert daemon.ask("why", "guest").startswith(
        "guest is WAITING for door, which is FATAL: given up after 2 quick deaths"
    )


def test_who_has_stopped_it(make_daemon: MakeDaemon, anybody: Account) -> None:
    daemon = _ready(make_daemon(anybody))
    before = time.time()
    daemon.ask("stop", "sleeper")
    assert daemon.ask("why", "sleeper").startswith(
        f"sleeper is STOPPED: {anybody.name} stopped it "
    )
    sleeper = _programs(daemon, "sleeper")["sleeper"]
    [exit] = sleeper["exits"]
    assert before - 1 < exit["when"] < time.time() + 1
    assert exit["stopped_by"] == anybody.name
    assert (exit["code"], exit["signal"], exit["expected"]) == (None, signal.SIGTERM, True)
    daemon.ask("start", "sleeper")
    os.kill(daemon.pid_of("sleeper"), signal.SIGKILL)
    wait_until(lambda: len(_programs(daemon, "sleeper")["sleeper"]["exits"]) == 2, "its end")
    exit = _programs(daemon, "sleeper")["sleeper"]["exits"][1]
    assert (exit["signal"], exit["expected"], exit["stopped_by"]) == (signal.SIGKILL, False, "")


def test_one_document_tells_everything(daemon: Daemon) -> None:
    _ready(daemon)
    programs = _programs(daemon)
    assert list(programs) == ["door", "sleeper", "guest"]
    door = programs["door"]
    assert (door["state"], door["pid"], door["tries_left"]) == ("FATAL", 0, 0)
    assert [exit["code"] for exit in door["exits"]] == [3, 3]
    assert door["cause"].startswith("door is FATAL: ")
    assert programs["sleeper"]["pid"] == daemon.pid_of("sleeper")
    assert [each["name"] for each in programs["guest"]["waits_for"]] == ["door"]
    done = daemon.ctl("status", "--json", "sleeper", "nobody")
    assert done.returncode == 1
    assert json.loads(done.stdout)["hosts"][0]["unknown"] == ["nobody"]
    assert "nobody: no such program" in done.stderr


def test_one_document_about_several_daemons(make_daemon: MakeDaemon) -> None:
    one, two = make_daemon(), make_daemon()
    for daemon in (one, two):
        daemon.write("<program p>\n  command sleep 1000\n</program>")
    one.start()
    done = one.run([*one.ctl_command()[:3], "-s", str(two.socket), "status", "--json"])
    assert done.returncode == 6
    first, second = json.loads(done.stdout)["hosts"]
    assert first["programs"][0]["name"] == "p"
    assert "no such socket" in second["error"]


@pytest.mark.needs_linux
def test_a_later_daemon_knows_it_too(make_daemon: MakeDaemon) -> None:
    survivor: Survivor = make_daemon(kind=Survivor)  # type: ignore[assignment]
    _ready(survivor)
    survivor.ask("stop", "sleeper")
    before = _programs(survivor)

    def look() -> None:
        after = _programs(survivor)
        for name in ("door", "sleeper"):
            assert after[name]["exits"] == before[name]["exits"]
        cause = after["sleeper"]["cause"]
        assert cause.startswith(f"sleeper is STOPPED: {survivor.account.name} stopped it ")

    survivor.kill_daemon()
    survivor.wait_until_adopted()
    look()
    survivor.kill_both()
    survivor.again()
    look()
