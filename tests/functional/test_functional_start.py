"""How supervisord starts: what it prints, whom it does not disturb, and where it may not be."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, session_of, stat_of, wait_until, wait_until_gone

pytestmark = pytest.mark.needs_linux

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

IN_THE_WAY = ["a file", "a link"]


def test_it_returns_when_the_daemon_is_ready_and_tells_where_everything_is(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    done = daemon.start()
    version, *lines, how_to_steer_it = done.stdout.splitlines()
    assert version.startswith("supervisord ")
    assert version.endswith(" is up")
    assert [line.split(None, 1) for line in lines] == [
        ["configuration", str(daemon.config)],
        ["control", f"socket {daemon.socket}"],
        ["log", str(daemon.log)],
        ["pid", str(daemon.pid)],
        ["programs", "1"],
    ]
    assert done.stderr == ""
    client = how_to_steer_it.removeprefix("steer it with:").split()
    assert daemon.run([*client, "list"]).stdout == "sleeper\n"


def test_the_daemon_in_the_background_has_no_terminal_and_no_directory(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    for pid in (daemon.pid, daemon.holder):
        found = stat_of(pid)
        assert found is not None
        assert found.session == pid
        assert session_of(pid) == {pid}
        streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)]
        assert streams == ["/dev/null", "/dev/null"]
        assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_the_directory_to_change_to_is_that_of_the_programs(daemon: Daemon) -> None:
    place = daemon.directory("work")
    daemon.write(SLEEPER, f"directory {place}")
    daemon.start()
    pid = daemon.wait_for("sleeper", "RUNNING").pid
    assert os.readlink(f"/proc/{pid}/cwd") == str(place)


def test_a_second_one_with_the_same_state_directory_is_refused(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    daemon.write(SLEEPER, f"socket-name {daemon.place}/other.sock")
    done = daemon.supervisord()
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"(pid {daemon.pid})" in done.stderr
    assert str(daemon.state) in done.stderr
    assert "state-directory" in done.stderr
    assert not (daemon.place / "other.sock").exists()
    assert daemon.status().up == ("sleeper",)


def test_a_second_one_with_the_same_socket_is_refused(
    daemon: Daemon, make_daemon: Callable[[], Daemon]
) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    other = make_daemon()
    other.write(SLEEPER, f"socket-name {daemon.socket}")
    done = other.supervisord()
    assert done.returncode == 1
    assert f"another supervisord (pid {daemon.pid}) listens on {daemon.socket}" in done.stderr
    assert "STARTING" not in other.log_text()
    assert daemon.status().up == ("sleeper",)


def test_the_state_directory_is_free_again_after_the_daemon(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    before = daemon.pid
    daemon.ask("shutdown")
    wait_until_gone(daemon.pid, daemon.holder)
    daemon.start()
    assert daemon.status().pid == daemon.pid != before


def test_a_socket_that_a_dead_daemon_left_behind_is_replaced(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(daemon.socket))
        left_behind.listen()
    assert stat.S_ISSOCK(daemon.socket.stat().st_mode)
    done = daemon.start()
    assert "warning" not in done.stdout
    assert daemon.status().up == ("sleeper",)


def _put(kind: str, path: Path) -> Path:
    """Put something in the place of a socket; return the file that must not be touched."""
    if kind == "a file":
        path.write_text("precious")
        return path
    precious = path.with_name("precious")
    precious.write_text("precious")
    path.symlink_to(precious)
    return precious


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_what_is_in_the_way_of_the_socket_is_left_alone_and_told(daemon: Daemon, kind: str) -> None:
    other = daemon.place / "t.sock"
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name {other}")
    precious = _put(kind, other)
    done = daemon.start()
    note = f"not listening on {other}: {other} is there already and is no socket"
    assert note in done.stdout
    status = daemon.status()
    assert status.up == ("sleeper",)
    assert [each for each in status.notes if note in each]
    assert other.is_symlink() is (kind == "a link")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_programs_run_even_if_the_only_socket_is_refused(daemon: Daemon, kind: str) -> None:
    daemon.write(SLEEPER)
    precious = _put(kind, daemon.socket)
    done = daemon.start()
    assert f"not listening on {daemon.socket}" in done.stdout
    wait_until(lambda: "sleeper: STARTING -> RUNNING" in daemon.log_text(), daemon.log_text)
    daemon.process_ends(signal.SIGTERM)
    assert precious.read_text() == "precious"
    assert daemon.socket.is_symlink() is (kind == "a link")


def test_strict_starts_nothing_if_a_socket_is_refused(daemon: Daemon) -> None:
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name {daemon.place}/t.sock")
    _put("a file", daemon.place / "t.sock")
    done = daemon.supervisord("--strict")
    assert done.returncode == 1
    assert "nothing was started (--strict)" in done.stderr
    assert f"not listening on {daemon.place}/t.sock" in done.stderr
    assert "STARTING" not in daemon.log_text()
    assert not daemon.pidfile.exists()


def test_strict_leaves_no_socket_behind(daemon: Daemon) -> None:
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name {daemon.place}/t.sock")
    _put("a file", daemon.place / "t.sock")
    assert daemon.supervisord("--strict").returncode == 1
    assert not daemon.socket.exists()


def test_strict_is_content_with_sockets_that_work(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    assert daemon.start("--strict").returncode == 0
    assert daemon.status().up == ("sleeper",)


def test_tcp_is_refused_with_a_clear_message_and_programs_run(daemon: Daemon) -> None:
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name localhost:9001")
    done = daemon.start()
    note = "not listening on localhost:9001: TCP takes TLS and a password: there are no passwords"
    assert note in done.stdout
    assert "control socket localhost" not in done.stdout
    assert daemon.status().up == ("sleeper",)


def test_the_path_of_a_socket_cannot_be_too_long(daemon: Daemon) -> None:
    path = daemon.place / ("s" * 107)
    daemon.write(SLEEPER, f"socket-name {path}")
    done = daemon.supervisord()
    assert done.returncode == 2
    assert "at most 107 bytes" in done.stderr
    assert "socket-name" in done.stderr


def test_a_directory_that_others_can_write_to_is_refused(daemon: Daemon) -> None:
    open_to_all = daemon.directory("open")
    open_to_all.chmod(0o777)
    daemon.write(SLEEPER, f"socket-name {open_to_all}/s.sock")
    done = daemon.start()
    assert f"not listening on {open_to_all}/s.sock" in done.stdout
    assert f"chmod go-w {open_to_all}" in done.stdout
    assert os.listdir(open_to_all) == []


def test_a_sticky_directory_draws_a_warning(daemon: Daemon) -> None:
    sticky = daemon.directory("sticky")
    sticky.chmod(0o1777)
    daemon.write(SLEEPER, f"socket-name {sticky}/s.sock")
    done = daemon.start()
    warning = f"{sticky}/s.sock: everybody can make files in {sticky}"
    assert warning in done.stdout
    daemon.socket = sticky / "s.sock"
    assert warning in daemon.status().notes


def test_signals_that_the_one_who_starts_it_ignores_still_reach_it(
    daemon: Daemon,
) -> None:
    daemon.write(SLEEPER)
    ignoring = "trap '' HUP INT TERM USR2 CHLD; exec \"$@\""
    daemon.run(["sh", "-c", ignoring, "sh", *daemon.supervisord_command()])
    daemon.note_pids(int(daemon.pidfile.read_text()))
    assert is_alive(daemon.pid)
    daemon.process_ends(signal.SIGTERM)
