"""Sockets that were opened before supervisord was started, as systemd does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until
from functional_tcp import fingerprint, free_ports, give_users, is_open, mode_of, shown_digest

pytestmark = pytest.mark.needs_linux

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

# Opens a UNIX socket and a port, and becomes what systemd would have started.
PARENT = """
    import os, socket, sys
    path, mode, port, *command = sys.argv[1:]
    if not os.path.exists(path):
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        os.chmod(path, int(mode, 8))
        unix.listen()
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", int(port)))
    tcp.listen()
    for number, each in ((10, unix), (11, tcp)):
        os.dup2(each.fileno(), number)
    os.closerange(3, 10)
    for number in (0, 1):
        os.dup2(10 + number, 3 + number)
    os.closerange(10, 20)
    given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "control:tcp"}
    os.execve(command[0], command, {**os.environ, **given})
    """


class ActivatedDaemon(Daemon):
    """A supervisord that is given its sockets."""

    mode = "600"
    port = 0

    def supervisord_command(self, *options: str) -> list[str]:
        parent = self.script("parent", PARENT.replace("\n    ", "\n"))
        prefix = [sys.executable, "-I", "-S", str(parent), str(self.socket), self.mode]
        return [*prefix, str(self.port), *super().supervisord_command(*options)]


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> ActivatedDaemon:
    daemon = make_daemon(kind=ActivatedDaemon)
    assert isinstance(daemon, ActivatedDaemon)
    [daemon.port] = free_ports(1)
    return daemon


@pytest.mark.parametrize("foreground", [False, True], ids=["detached", "foreground"])
def test_they_are_used_as_they_are(daemon: ActivatedDaemon, foreground: bool) -> None:
    daemon.mode = "640"
    daemon.write(SLEEPER, f"passwdfile {give_users(daemon)}")
    inode = None
    if foreground:
        daemon.start_in_foreground()
    else:
        daemon.start()
    inode = daemon.socket.stat().st_ino
    assert daemon.status().up == ("sleeper",)
    assert daemon.status().notes == ()
    assert mode_of(daemon.socket) & 0o777 == 0o640
    assert shown_digest(daemon.port) == fingerprint(daemon)
    assert f"listening on 127.0.0.1:{daemon.port} (TLS, SHA256:" in daemon.log_text()
    descriptors = os.listdir(f"/proc/{daemon.pid_of('sleeper')}/fd")
    assert sorted(descriptors) == ["0", "1", "2"]
    assert "LISTEN_" not in Path(f"/proc/{daemon.pid_of('sleeper')}/environ").read_text()
    daemon.stop()
    assert daemon.socket.stat().st_ino == inode, "the name belongs to whoever has made it"
    daemon.socket.unlink()


def test_a_daemon_after_another_has_them_too(daemon: ActivatedDaemon) -> None:
    daemon.write(SLEEPER, f"passwdfile {give_users(daemon)}")
    daemon.start()
    inode, pid = daemon.socket.stat().st_ino, daemon.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: daemon.pidfile.exists() and daemon.pidfile.read_text() not in ("", f"{pid}\n"),
        "another daemon",
    )
    daemon.note_pids(int(daemon.pidfile.read_text()))
    daemon.hang_up()
    assert daemon.status().pid == daemon.pid != pid
    assert daemon.socket.stat().st_ino == inode
    assert shown_digest(daemon.port) == fingerprint(daemon)
    daemon.socket.unlink()


def test_they_outlast_a_reload(daemon: ActivatedDaemon) -> None:
    users = give_users(daemon)
    daemon.write(SLEEPER, f"passwdfile {users}")
    daemon.start()
    inode = daemon.socket.stat().st_ino
    users.write_text("nonsense")
    daemon.ctl("reload")
    assert any("no user can log in" in note for note in daemon.status().notes)
    give_users(daemon)
    daemon.ctl("reload")
    assert shown_digest(daemon.port) == fingerprint(daemon)
    assert daemon.status().up == ("sleeper",)
    assert daemon.socket.stat().st_ino == inode
    daemon.socket.unlink()


def test_one_without_a_password_file_is_refused_as_any_other(daemon: ActivatedDaemon) -> None:
    daemon.mode = "666"
    daemon.write(SLEEPER)
    said = daemon.start().stdout
    refusal, everybody = sorted(daemon.status().notes, key=len, reverse=True)
    assert refusal.startswith(f"not listening on 127.0.0.1:{daemon.port}: TCP takes TLS")
    assert refusal in said
    assert "everybody can connect; SocketMode=0600 in its unit is meant for this" in everybody
    assert mode_of(daemon.socket) & 0o777 == 0o666, "it is not ours to change"
    assert is_open(daemon.port), "it listens, but nobody answers: that is systemd's"
    daemon.socket.unlink()
