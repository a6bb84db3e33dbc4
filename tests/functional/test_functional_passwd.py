"""Passwords as people set them: typed at a prompt, and kept whatever happens while they are saved."""

from __future__ import annotations

import random
import secrets
import subprocess
import time
from pathlib import Path

import pytest
from functional_daemon import Daemon, installed
from functional_processes import PATIENCE
from functional_terminal import Terminal, terminal

from supervisortw.core.passwd import Passwd, Record, parse, written
from supervisortw.core.roles import Role
from supervisortw.core.srp import GROUP, password_bytes, private_key, stretch

PASSWORD = "correct horse, bättery"
SRP = "SRP>"
KILLS = 15


def _read(path: Path) -> Passwd:
    return parse(path.read_text(encoding="utf-8"))


def _opens(record: Record, password: str) -> bool:
    stretched = stretch(password_bytes(password), record.user, record.kdf, record.realm)
    key = private_key(stretched, record.salt)
    return pow(GROUP.generator, key, GROUP.prime) == record.verifier


def _say(shell: Terminal, line: str, then: str = SRP) -> None:
    """Type a line, and wait until the next line ends with ``then``."""
    shell.type(line)
    shell.expect(f" {line}")
    row = shell.screen.row
    shell.type("\r")
    _expect_below(shell, row, then)


def _say_hidden(shell: Terminal, text: str, then: str) -> None:
    """Type what must not be seen."""
    row = shell.screen.row
    shell.type(f"{text}\r")
    _expect_below(shell, row, then)


def _expect_below(shell: Terminal, row: int, then: str) -> None:
    shell.expect(then)
    while shell.screen.row == row:
        shell.expect(then)


def test_the_prompt_as_it_is_typed(daemon: Daemon) -> None:
    path = daemon.place / "etc" / "passwd"
    daemon.write(f"passwdfile {path}")
    with terminal(daemon, "xterm", "passwd", "--daemon-config", str(daemon.config)) as shell:
        shell.expect(SRP)
        assert f"{path} is a new file; 'help' shows the commands" in shell.look()
        _say(shell, "add user", then="role of user (observer, operator, admin) [admin]:")
        row = shell.screen.row
        shell.type("\r")
        _expect_below(shell, row, "password of user:")
        _say_hidden(shell, PASSWORD, "the same again:")
        _say_hidden(shell, PASSWORD, SRP)
        assert "user added as admin" in shell.look()
        assert not path.exists()
        row = shell.screen.row
        shell.type("\x04")
        _expect_below(shell, row, SRP)
        assert "there are changes that are not saved" in shell.look()
        _say(shell, "save")
        assert f"saved to {path}" in shell.look()
        shell.type("quit\r")
        shell.ends_with(0)
        assert PASSWORD not in shell.look()
    found = _read(path)
    assert [(each.user, each.role) for each in found.records.values()] == [("user", Role.ADMIN)]
    assert _opens(found.records["user"], PASSWORD)
    assert not _opens(found.records["user"], PASSWORD.upper())
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_typed_cannot_be_had_again_by_the_arrow_keys(daemon: Daemon) -> None:
    path = daemon.place / "passwd"
    with terminal(daemon, "xterm", "passwd", str(path)) as shell:
        shell.expect(SRP)
        _say(shell, "list")
        shell.type("\x1b[A")
        shell.expect("^[[A")  # nothing but the terminal's own editing of a line
        row = shell.screen.row
        shell.type("\x03")
        _expect_below(shell, row, SRP)
        shell.type("\x04")
        shell.ends_with(0)


@pytest.mark.parametrize("way", ["a pipe", "a descriptor", "made here"])
def test_one_command_of_a_script(daemon: Daemon, way: str) -> None:
    path = daemon.place / "passwd"
    words = [installed("supervisorctl"), "passwd", str(path), "add", "user", "--role", "operator"]
    if way == "a pipe":
        done = daemon.run([*words, "--password-stdin"], PASSWORD + "\n")
        password = PASSWORD
    elif way == "a descriptor":
        shell = 'exec "$@" --password-fd 3 3<"$0"'
        secret = daemon.place / "secret"
        daemon.save(secret, PASSWORD)
        done = daemon.run(["sh", "-c", shell, str(secret), *words])
        password = PASSWORD
    else:
        done = daemon.run([*words, "-g"])
        password = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    assert _opens(_read(path).records["user"], password)


def test_without_a_terminal_nobody_waits_for_a_password(daemon: Daemon) -> None:
    path = daemon.place / "passwd"
    words = [installed("supervisorctl"), "passwd", str(path), "add", "user", "--role", "admin"]
    process = daemon.begin(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert b"--password-stdin" in told
    assert not path.exists()


@pytest.mark.needs_linux
@pytest.mark.parametrize(
    ("streams", "words", "code", "told"),
    [
        (">/dev/full", "add eve --role admin -g", 1, "No space left on device"),
        (">/dev/full", "list", 1, "No space left on device"),
        ("<&-", "", 2, "a prompt needs a standard input"),
        ("<&-", "add eve --role admin", 2, "--password-stdin"),
        ("<&-", "add eve --role admin --password-stdin", 2, "cannot read the password"),
        (">&-", "list", 0, ""),
    ],
)
def test_streams_that_are_not_there(
    daemon: Daemon, streams: str, words: str, code: int, told: str
) -> None:
    path = daemon.place / "passwd"
    path.write_text(written(Passwd(secret=bytes(32), realm=bytes(16))), encoding="utf-8")
    path.chmod(0o600)
    command = ["setsid", "-w", "sh", "-c", f'exec "$@" {streams}', "sh"]
    done = daemon.run([*command, installed("supervisorctl"), "passwd", str(path), *words.split()])
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_whenever_it_is_killed_the_file_is_whole(daemon: Daemon) -> None:
    path = daemon.place / "passwd"
    bob = Record(
        user="bob",
        role=Role.OPERATOR,
        kdf=Passwd(secret=b"", realm=b"").kdf,
        realm=bytes(16),
        salt=bytes(16),
        verifier=12345,
        changed="2026-11-22T07:00:00Z",
    )
    before = Passwd(secret=bytes(32), realm=bytes(16)).put(bob)
    allowed = [written(before).replace(" operator ", f" {role} ") for role in Role]
    daemon.save(path, written(before))
    path.chmod(0o600)
    seed = secrets.randbits(32)
    draw = random.Random(seed)  # noqa: S311  # the same kills for the same seed
    for number in range(KILLS):
        saves = draw.randrange(1, 20)
        _save_until_killed(daemon, path, saves, draw.random() * 0.01)
        where = f"kill {number} of seed {seed}"
        assert path.read_text(encoding="utf-8") in allowed, where
        assert {each.name for each in path.parent.iterdir()} >= {"passwd", "passwd.lock"}, where
        assert path.stat().st_mode & 0o777 == 0o600, where
    done = daemon.run([installed("supervisorctl"), "passwd", str(path), "del", "bob"])
    assert done.returncode == 0, done.stderr
    assert not path.with_name("passwd.new").exists()
    assert _read(path).records == {}


def _save_until_killed(daemon: Daemon, path: Path, saves: int, later: float) -> None:
    """Let somebody save again and again; kill them some time after they have done so often."""
    process = daemon.begin(
        [installed("supervisorctl"), "passwd", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=daemon.environment_with(PYTHONUNBUFFERED="1"),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        lines = "role bob admin\nsave\nrole bob observer\nsave\nrole bob operator\nsave\n"
        process.stdin.write(lines.encode() * 300)  # more than it will come to
        process.stdin.flush()
        seen = 0
        while seen < saves:
            line = process.stdout.readline()
            assert line, "it has ended by itself"
            seen += line.startswith(b"saved to")
        time.sleep(later)  # anywhere between two saves
        process.kill()
        process.wait(PATIENCE)
