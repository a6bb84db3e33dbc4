"""Logging in by password: at a terminal of each kind, from a pipe and a file, and over TLS."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import functional_passwordserver
import pytest
from fakes.passwordserver import SECRET
from functional_daemon import Completed, Daemon, installed
from functional_processes import wait_until
from functional_terminal import terminal

STATUS = ["up=", "down=web"]
WRONG = "wrong password, or somebody in between"


class Server:
    """One that wants a password from everybody."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        script = functional_passwordserver.__file__
        command = [sys.executable, script, str(daemon.place)]
        self.process = daemon.begin(command, stdin=subprocess.PIPE)
        port = daemon.place / "port"
        wait_until(port.exists, lambda: f"no port; exit code {self.process.poll()}")
        self.socket = str(daemon.place / "sock")
        self.address = f"127.0.0.1:{port.read_text()}"

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def ctl(self, *words: str, password: str | None = SECRET) -> Completed:
        """Run a command whose password comes from standard input, if there is one."""
        given = [] if password is None else ["--password-fd", "0"]
        return self.daemon.run([installed("supervisorctl"), *given, *words], password or "")


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Server]:
    server = Server(daemon)
    yield server
    server.stop()


def known_hosts(daemon: Daemon) -> Path:
    return daemon.place / ".config/supervisortw/known_hosts"


def test_one_command_asks_and_shows_nothing_of_the_answer(server: Server) -> None:
    with terminal(server.daemon, "xterm", "-s", server.socket, "-u", "alice", "pid") as shell:
        shell.expect("password of alice:")
        assert not shell.shows_what_is_typed()
        shell.type("wrong\r")
        shell.expect(f"{WRONG}; password of alice:")
        shell.type(f"{SECRET}\r")
        shown = shell.ends_with(0)
        assert shown[-2].isdigit() or shown[-1].isdigit()
        assert "wrong\n" not in shell.look()
        assert SECRET not in shell.look()


@pytest.mark.needs_linux
def test_there_is_no_core_with_a_password_in_it(server: Server) -> None:
    with terminal(server.daemon, "xterm", "-s", server.socket, "-u", "alice", "pid") as shell:
        shell.expect("password of alice:")
        limits = Path(f"/proc/{shell.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_the_prompt_asks_once_and_remembers(server: Server, kind: str) -> None:
    with terminal(server.daemon, kind, "-s", server.socket) as shell:
        if kind == "dumb":
            shell.wait_for_prompt()
            shell.type("status\r")
        shell.expect("user [root]:")
        shell.type("alice\r")
        shell.expect("password of alice:")
        shell.type(f"{SECRET}\r")
        shown = shell.wait_for_prompt()
        assert "down=web" in shown
        assert SECRET not in shell.look()
        if kind == "xterm":
            shell.type(f"open {server.address}\r")
            shell.expect("[2 open]>")
            shell.type("pid\r")
            wait_until(lambda: shell.look().count(" | 4") == 2, shell.look)
            assert shell.look().count("password of alice:") == 1
        assert SECRET not in shell.look()
    history = server.daemon.place / ".local/state/supervisortw/history"
    assert not history.exists() or SECRET not in history.read_text()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_who_does_not_answer_sends_nothing(server: Server, key: str) -> None:
    with terminal(server.daemon, "xterm", "-s", server.socket, "-u", "alice", "pid") as shell:
        shell.expect("password of alice:")
        shell.type(key)
        shown = shell.ends_with(5 if key == "\x03" else 7)
        said = "interrupted; nothing was sent" if key == "\x03" else "no password was given"
        assert [line for line in shown if said in line]
        assert shell.shows_what_is_typed()


def test_three_wrong_ones_are_enough(server: Server) -> None:
    with terminal(server.daemon, "dumb", "-s", server.address, "-u", "alice", "pid") as shell:
        for number in range(1, 4):
            wait_until(lambda n=number: shell.look().count("password of alice:") == n, shell.look)
            shell.type("wrong\r")
        shown = shell.ends_with(7)
        assert [line for line in shown if "the last 3 logins have failed" in line]
    assert not known_hosts(server.daemon).exists()


def test_over_tls_the_certificate_is_remembered(server: Server) -> None:
    words = ["-s", server.address, "-u", "alice", "pid"]
    done = server.ctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    kept = known_hosts(server.daemon).read_text()
    assert kept.startswith(f"{server.address} alice SHA256:")
    assert server.ctl(*words).returncode == 0
    assert known_hosts(server.daemon).read_text() == kept

    fingerprint = kept.split()[2]
    known_hosts(server.daemon).write_text(kept.replace(fingerprint, f"SHA256:{'0' * 64}"))
    refused = server.ctl(*words)
    assert refused.returncode == 7
    assert f"its certificate is {fingerprint}, and not SHA256:000" in refused.stderr
    assert "nothing was sent; somebody may be in between" in refused.stderr
    assert server.ctl("--accept-new-certificate", *words).returncode == 0
    assert known_hosts(server.daemon).read_text() == kept


def test_without_a_terminal_it_says_how_to_give_a_password(server: Server) -> None:
    for where in (server.address, server.socket):
        done = server.ctl("-s", where, "-u", "alice", "pid", password=None)
        assert done.returncode == 7
        assert done.stdout == ""
        assert "--password-fd N" in done.stderr
        assert "password-file" in done.stderr
    wrong = server.ctl("-s", server.socket, "-u", "alice", "pid", password="wrong")
    assert (wrong.returncode, wrong.stdout) == (7, "")
    assert wrong.stderr == (f"{server.socket}: wrong password for alice, or somebody in between\n")


def test_a_file_and_lines_from_a_pipe(server: Server) -> None:
    place = server.daemon.place
    (place / "password").touch(0o600)
    (place / "password").write_text(f"{SECRET}\n")
    config = place / "supervisorctl.conf"
    config.write_text(
        f"<supervisorctl>\nsocket-name {server.address}\nuser alice\n"
        f"password-file password\n</supervisorctl>\n"
    )
    command = [installed("supervisorctl"), "-c", str(config)]
    done = server.daemon.run(command, "pid\npid\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
    config.write_text(config.read_text().replace("password-file password", "noauth yes"))
    refused = server.daemon.run(command, "pid\n")
    assert refused.returncode == 7
    assert "'noauth' in supervisorctl.conf forbids to give one" in refused.stderr
    known_hosts(server.daemon).unlink()
    refused = server.daemon.run(command, "pid\n")
    assert refused.returncode == 7
    assert "with 'noauth', only 'fingerprint' or 'tls-ca'" in refused.stderr


def test_a_password_on_this_machine_brings_no_tls(server: Server) -> None:
    server.daemon.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    done = server.ctl("-s", server.socket, "-u", "alice", "pid")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "supervisortw.remote.passwordlogin" in imported
    assert not imported & {"_ssl", "OpenSSL.crypto", "cryptography", "twisted.internet.endpoints"}
