"""What a program is given by its configuration: directory, umask, niceness, limits, no privileges."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import status_of

pytestmark = pytest.mark.needs_linux

MakeDaemon = Callable[..., Daemon]


def _started(daemon: Daemon, *keys: str, settings: str = "") -> int:
    lines = "\n".join(keys)
    daemon.write(f"<program sleeper>\ncommand sleep 1000\n{lines}\n</program>\n", settings)
    daemon.start()
    return daemon.wait_for("sleeper", "RUNNING").pid


def _limit(pid: int, name: str) -> list[str]:
    """Return the soft and the hard limit of that name."""
    with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
        (line,) = (line for line in file if line.startswith(name))
    return line.removeprefix(name).split()[:2]


KEYS = (
    "umask 027",
    "nice 7",
    "limit nofile 100:200",
    "limit core 0",
    "no-new-privileges yes",
)


def _has_them(pid: int) -> None:
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    assert _limit(pid, "Max open files") == ["100", "200"]
    assert _limit(pid, "Max core file size") == ["0", "0"]
    found = status_of(pid)
    assert (found["Umask"], found["NoNewPrivs"]) == ("0027", "1")


def test_it_has_what_its_configuration_says(make_daemon: MakeDaemon, anybody: Account) -> None:
    daemon = make_daemon(anybody)
    place = daemon.directory("place")
    pid = _started(daemon, f"directory {place}", *KEYS)
    _has_them(pid)
    assert os.readlink(f"/proc/{pid}/cwd") == str(place)
    own = status_of(daemon.pid)
    assert (own["Umask"], own["NoNewPrivs"]) == ("0022", status_of(os.getpid())["NoNewPrivs"])
    assert os.getpriority(os.PRIO_PROCESS, daemon.pid) == 0


@pytest.mark.needs_root
def test_another_user_has_it_too(make_daemon: MakeDaemon, ordinary: Account) -> None:
    daemon = make_daemon()
    pid = _started(daemon, f"user {ordinary.name}", "directory /tmp", *KEYS)
    _has_them(pid)
    found = status_of(pid)
    assert found["Uid"].split() == [str(ordinary.uid)] * 4
    assert found["Gid"].split() == [str(ordinary.gid)] * 4
    assert os.readlink(f"/proc/{pid}/cwd") == "/tmp"


def test_a_limit_of_its_own_wins_over_the_common_one(daemon: Daemon) -> None:
    common = "limit nofile 300\nlimit stack 4194304:unlimited"
    pid = _started(daemon, "limit nofile 50:60", settings=common)
    assert _limit(pid, "Max open files") == ["50", "60"]
    assert _limit(pid, "Max stack size")[0] == "4194304"
    assert _limit(daemon.pid, "Max stack size") == _limit(os.getpid(), "Max stack size")


@pytest.mark.needs_root
@pytest.mark.parametrize("key", ["nice -5", "limit nofile 100:99999999"])
def test_what_an_ordinary_user_may_not_have_is_told(
    make_daemon: MakeDaemon, ordinary: Account, key: str
) -> None:
    daemon = make_daemon(ordinary)
    daemon.write(f"<program sleeper>\ncommand sleep 1000\n{key}\n</program>\n")
    daemon.start()
    row = daemon.wait_for("sleeper", "FATAL")
    assert key.split(maxsplit=1)[0] in row.detail
    assert "ermi" in row.detail
    assert daemon.ctl("start", "sleeper").returncode == 1


def test_a_directory_that_is_missing_is_named(daemon: Daemon) -> None:
    daemon.write("<program sleeper>\ncommand sleep 1000\ndirectory /no/such\n</program>\n")
    daemon.start()
    assert "/no/such" in daemon.wait_for("sleeper", "FATAL").detail
