"""Nothing adds up over thousands of restarts: neither memory nor descriptors, in no process of ours."""

from __future__ import annotations

import re

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import descriptors_of, everybody, status_of, wait_until

pytestmark = pytest.mark.needs_linux

PROGRAMS = 40  # at once
SLACK = 2 * 1024  # KiB in each of our processes; 8,000 restarts would show a leak of 260 bytes


def _write(daemon: Daemon, *keys: str) -> None:
    ever = ("command /bin/true", "forever yes", "restart-delay 0", "restart-delay-max 0")
    lines = "\n".join([*ever, *keys])
    programs = "".join(f"<program p{n}>\n{lines}\n</program>\n" for n in range(PROGRAMS))
    daemon.write(programs, "loglevel warn")


def _restart_until(daemon: Daemon, count: int) -> None:
    """Let everything be restarted so many times, counted from the beginning, and then be down."""
    daemon.ctl("start", "all")  # which fails: each has ended too quickly

    def are_made() -> bool:
        rows = daemon.status().programs.values()
        found = (re.search(r"(\d+) restarts?$", row.detail) for row in rows)
        return sum(int(each[1]) for each in found if each) >= count

    wait_until(are_made, f"{count} restarts", seconds=180)
    daemon.ask("stop", "all")


def _ours(daemon: Daemon) -> list[int]:
    """Return daemon, holder, and the forker if there is one; no program is up."""
    forker = [each.pid for each in everybody() if each.parent == daemon.pid and each.alive]
    return [daemon.pid, daemon.holder, *forker]


def _memory_of(pid: int) -> int:
    return int(status_of(pid)["VmRSS"].split()[0])


def _add_nothing_up(daemon: Daemon, some: int, many: int) -> None:
    daemon.start()
    _restart_until(daemon, some)
    ours = _ours(daemon)
    memory = [_memory_of(pid) for pid in ours]
    files = [len(descriptors_of(pid)) for pid in ours]
    _restart_until(daemon, many)
    assert _ours(daemon) == ours
    grown = [_memory_of(pid) - before for pid, before in zip(ours, memory, strict=True)]
    print(f"KiB more after {many - some} restarts: {grown}")
    assert max(grown) < SLACK
    wait_until(
        lambda: [len(descriptors_of(pid)) for pid in ours] == files,
        lambda: f"{files} open files: {[descriptors_of(pid) for pid in ours]}",
    )
    assert daemon.log_text() == ""


def test_ten_thousand_restarts(daemon: Daemon) -> None:
    _write(daemon)
    _add_nothing_up(daemon, 2_000, 10_000)


@pytest.mark.needs_root
def test_two_thousand_restarts_as_another_user(daemon: Daemon, ordinary: Account) -> None:
    _write(daemon, f"user {ordinary.name}")
    _add_nothing_up(daemon, 500, 2_000)
