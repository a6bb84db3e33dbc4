"""The control socket in the file system: who may connect, and that it comes back when deleted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

pytestmark = pytest.mark.needs_linux

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_it_is_for_the_daemons_user_alone_under_any_umask(daemon: Daemon, mask: int) -> None:
    daemon.write(SLEEPER)
    before = os.umask(mask)
    try:
        daemon.start()
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(daemon.socket.stat().st_mode)
    assert _mode(daemon.socket) == 0o600
    assert _mode(daemon.state) == 0o700


def test_its_mode_can_be_set_in_the_file_and_on_the_command_line(daemon: Daemon) -> None:
    daemon.write(SLEEPER, "socket-mode 0660")
    daemon.start()
    assert _mode(daemon.socket) == 0o660
    daemon.stop()
    daemon.start("-p", "0640")
    assert _mode(daemon.socket) == 0o640


@pytest.mark.needs_root
def test_it_can_be_given_to_a_user_and_a_group(daemon: Daemon) -> None:
    daemon.write(SLEEPER, "socket-chown games.daemon")
    daemon.start()
    assert (daemon.socket.owner(), daemon.socket.group()) == ("games", "daemon")
    assert _mode(daemon.socket) == 0o600


def test_a_deleted_one_is_made_again_within_a_second(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    before = daemon.status()
    for _ in range(3):
        daemon.socket.unlink()
        wait_until(daemon.socket.exists, "the socket is there again", seconds=1)
        daemon.hang_up()
        assert _mode(daemon.socket) == 0o600
        assert daemon.status().programs.keys() == before.programs.keys()
    assert daemon.status().pid == before.pid
    assert "control socket deleted" in daemon.log_text()


def test_one_that_was_moved_away_is_made_again(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    daemon.socket.rename(daemon.place / "moved.sock")
    wait_until(daemon.socket.exists, "the socket is there again", seconds=1)
    daemon.hang_up()
    assert daemon.status().up == ("sleeper",)


def test_one_that_is_replaced_by_a_file_is_told_and_the_file_left_alone(daemon: Daemon) -> None:
    other = daemon.place / "other.sock"
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name {other}")
    daemon.start()
    precious = daemon.save(daemon.place / "precious", "precious")
    precious.rename(other)
    wait_until(lambda: "control socket deleted" in daemon.log_text(), daemon.log_text, seconds=1)
    wait_until(daemon.socket.exists, "the socket is there again", seconds=1)
    daemon.hang_up()
    (note,) = daemon.status().notes
    assert f"not listening on {other}" in note
    assert other.read_text() == "precious"


def test_its_directory_may_be_deleted_with_it(daemon: Daemon) -> None:
    directory = daemon.place / "run"
    daemon.write(SLEEPER, f"socket-name {directory}/s.sock")
    daemon.socket = directory / "s.sock"
    daemon.start()
    assert _mode(directory) == 0o700
    directory.rename(daemon.place / "away")  # in one step, so that nothing can be made in it
    wait_until(daemon.socket.exists, "the socket is there again", seconds=1)
    daemon.hang_up()
    assert daemon.status().up == ("sleeper",)


def test_sessions_outlive_the_name_of_the_socket(daemon: Daemon) -> None:
    daemon.write("""
        <program ticker>
          command /bin/sh -c 'while :; do echo tick; sleep 0.1; done'
        </program>
        """)
    daemon.start()
    said = daemon.place / "followed"
    with open(said, "wb") as output:
        daemon.begin(daemon.ctl_command("tail", "-f", "ticker"), stdout=output)
    wait_until(lambda: said.read_bytes().count(b"tick") > 2, "it follows")
    daemon.socket.unlink()
    wait_until(daemon.socket.exists, "the socket is there again", seconds=1)
    daemon.hang_up()
    so_far = said.read_bytes().count(b"tick")
    wait_until(lambda: said.read_bytes().count(b"tick") > so_far + 5, "it goes on")
