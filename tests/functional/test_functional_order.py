"""In which order programs are started and stopped: 1 is the highest priority."""

from __future__ import annotations

import re

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

PRIORITIES = {"middle": 5, "lowest": None, "first": 1, "fellow": 5, "low": 50}
STARTED = ["first", "middle", "fellow", "low", "lowest"]


@pytest.fixture
def ordered(daemon: Daemon) -> Daemon:
    """Return a daemon whose programs write down when they are told to end, and when they do."""
    script = f"""
        #! /bin/sh
        name=$1
        note() {{ echo "$name $1" >> {daemon.place}/order; }}
        trap 'note told; sleep 0.1; note ended; exit 0' TERM
        echo ready
        while :; do sleep 0.05; done
        """
    path = daemon.script("slow", script)
    programs = ""
    for name, priority in PRIORITIES.items():
        key = f"priority {priority}" if priority else ""
        programs += f"<program {name}>\n  command {path} {name}\n  {key}\n</program>\n"
    daemon.write(programs)
    daemon.start()
    for name in PRIORITIES:
        daemon.wait_for_output(name, "ready")
    wait_until(
        lambda: daemon.log_text().count("STARTING -> RUNNING") == len(PRIORITIES), daemon.log_text
    )
    return daemon


def _noted(daemon: Daemon) -> list[str]:
    return (daemon.place / "order").read_text().splitlines()


def _order_of(daemon: Daemon, change: str) -> list[str]:
    return re.findall(rf" (\w+): {change}\b", daemon.log_text())


def _one_after_the_other(noted: list[str]) -> None:
    """Each is told only when all of a lower priority have ended; those of the same go together."""
    assert sorted(noted[4:6]) == ["fellow told", "middle told"]
    assert sorted(noted[6:8]) == ["fellow ended", "middle ended"]


def test_lower_numbers_are_started_first(ordered: Daemon) -> None:
    assert _order_of(ordered, "STOPPED -> STARTING") == STARTED
    rows = ordered.status().programs
    assert list(rows) == list(PRIORITIES)


def test_stop_all_stops_lower_numbers_last_when_the_others_are_gone(ordered: Daemon) -> None:
    answers = ordered.ask("stop", "all").splitlines()
    assert [line.partition(":")[0] for line in answers] == list(PRIORITIES)
    _one_after_the_other(_noted(ordered))

    ordered.ask("start", "all")
    assert _order_of(ordered, "STOPPED -> STARTING") == STARTED * 2


def test_shutdown_stops_them_in_the_same_order(ordered: Daemon) -> None:
    ordered.ask("shutdown")
    _one_after_the_other(_noted(ordered))


def test_restart_all_begins_with_lower_numbers(ordered: Daemon) -> None:
    before = {name: row.pid for name, row in ordered.status().programs.items()}
    ordered.ask("restart", "all")
    assert _order_of(ordered, "RUNNING -> STOPPING") == STARTED
    after = {name: row.pid for name, row in ordered.status().programs.items()}
    assert all(after[name] not in (0, before[name]) for name in PRIORITIES)


def test_up_and_down_mean_what_they_say(ordered: Daemon) -> None:
    ordered.ask("stop", "low", "first")
    answers = ordered.ask("start", "down").splitlines()
    assert [line.partition(":")[0] for line in answers] == ["first", "low"]
    ordered.ask("stop", "middle")
    assert ordered.ask("list", "down") == "middle\n"
    ordered.ask("stop", "up")
    wait_until(lambda: ordered.status().up == (), "all are down")
