"""reload with groups, several processes, dependencies and sockets: who restarts, and who does not."""

from __future__ import annotations

import socket

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

pytestmark = pytest.mark.needs_linux


def _program(name: str, *keys: str) -> str:
    return "\n".join([f"<program {name}>", "command sleep 1000", *keys, "</program>\n"])


def _socket(daemon: Daemon, name: str) -> str:
    return f"<socket {name}>\naddress {daemon.place}/{name}.listen\n</socket>\n"


def _group(*programs: str, keys: str = "") -> str:
    return f"<group site>\nprograms {' '.join(programs)}\n{keys}\n</group>\n"


def _start(daemon: Daemon, programs: str) -> dict[str, int]:
    daemon.write(programs)
    daemon.start()
    wait_until(lambda: not daemon.status().down, daemon.log_text)
    return _pids(daemon)


def _pids(daemon: Daemon) -> dict[str, int]:
    return {name: row.pid for name, row in daemon.status().programs.items()}


def _reload(daemon: Daemon, programs: str) -> list[str]:
    """Reload; return the lines of the plan, which `reread` has shown before."""
    daemon.write(programs)
    plan = daemon.ask("reread")
    answer = daemon.ask("reload")
    assert answer.startswith(plan)
    return plan.splitlines()


OTHER = _program("other")


def test_another_number_of_processes_leaves_those_alone_that_stay(daemon: Daemon) -> None:
    before = _start(daemon, _program("web", "processes 2") + OTHER)
    plan = _reload(daemon, _program("web", "processes 3") + OTHER)
    assert plan == ["web:web_2: added, to be started"]
    after = _pids(daemon)
    assert list(after) == ["web:web_0", "web:web_1", "web:web_2", "other"]
    assert before.items() <= after.items()
    plan = _reload(daemon, _program("web", "processes 1") + OTHER)
    assert plan == ["web:web_1: removed, to be stopped", "web:web_2: removed, to be stopped"]
    assert _pids(daemon) == {name: before[name] for name in ("web:web_0", "other")}


def test_who_joins_a_group_is_another_process(daemon: Daemon) -> None:
    front, back = _program("front"), _program("back")
    before = _start(daemon, front + back + OTHER + _group("front"))
    plan = _reload(daemon, front + back + OTHER + _group("front", "back"))
    assert plan == ["back: removed, to be stopped", "site:back: added, to be started"]
    after = _pids(daemon)
    assert set(after) == {"site:front", "site:back", "other"}
    assert after["site:back"] not in (0, before["back"])
    for name in ("site:front", "other"):
        assert after[name] == before[name]


def test_the_priority_of_a_group_is_changed_in_place(daemon: Daemon) -> None:
    front = _program("front") + OTHER
    before = _start(daemon, front + _group("front"))
    plan = _reload(daemon, front + _group("front", keys="priority 5"))
    assert plan == ["site:front: updated in place (priority of its group changed)"]
    assert _pids(daemon) == before


def test_dependencies_are_changed_in_place(daemon: Daemon) -> None:
    before = _start(daemon, _program("web") + _program("db"))
    plan = _reload(daemon, _program("web", "depends-on db") + _program("db"))
    assert plan == ["web: updated in place (depends-on changed)"]
    assert _pids(daemon) == before
    daemon.ask("stop", "all")
    assert len(daemon.ask("start", "web").splitlines()) == 2


def test_a_dependency_that_is_new_starts_first(daemon: Daemon) -> None:
    before = _start(daemon, _program("web"))
    plan = _reload(daemon, _program("web", "depends-on db", "umask 077") + _program("db"))
    assert plan == [
        "web: to be restarted (depends-on, umask changed)",
        "db: added, to be started",
    ]
    assert _pids(daemon)["web"] not in (0, before["web"])
    log = daemon.log_text()
    assert log.index("db: STARTING -> RUNNING") < log.rindex("web: WAITING -> STARTING")


def test_a_socket_in_use_goes_with_those_who_use_it(daemon: Daemon) -> None:
    web = _program("web", "sockets http") + OTHER
    before = _start(daemon, _socket(daemon, "http") + web)
    path = daemon.place / "http.listen"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    daemon.write(web)
    done = daemon.ctl("reload")
    assert done.returncode == 4
    assert "http" in done.stderr
    assert _pids(daemon) == before
    plan = _reload(daemon, _program("web") + OTHER)
    assert plan == ["web: to be restarted (sockets changed)", "socket http: closed"]
    after = _pids(daemon)
    assert after["web"] not in (0, before["web"])
    assert after["other"] == before["other"]
    assert not path.exists()
