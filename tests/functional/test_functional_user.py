"""Programs, and daemons, of another user: what they may do, and what root does not do for them."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from functional_account import Account, root_who_can_help
from functional_daemon import Daemon
from functional_processes import environment_of, status_of, wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_linux]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def home(daemon: Daemon, ordinary: Account) -> Path:
    """Return a directory of the ordinary user's, which they can reach."""
    daemon.place.chmod(0o755)
    path = daemon.place / "home"
    path.mkdir(mode=0o755)
    os.chown(path, ordinary.uid, ordinary.gid)
    return path


def _sleeper(user: str | int, *keys: str) -> str:
    lines = "\n".join(keys)
    return f"<program sleeper>\ncommand sleep 1000\nuser {user}\n{lines}\n</program>"


def _check_identity(pid: int, user: str, privileged: bool = False) -> None:
    entry = pwd.getpwnam(user)
    found = status_of(pid)
    assert found["Uid"].split() == [str(entry.pw_uid)] * 4
    assert found["Gid"].split() == [str(entry.pw_gid)] * 4
    groups = {int(number) for number in found["Groups"].split()}
    assert groups == set(os.getgrouplist(user, entry.pw_gid))
    assert privileged or int(found["CapPrm"], 16) == 0


@pytest.mark.parametrize("by_number", [False, True], ids=["by name", "by number"])
def test_it_runs_as_that_user_with_their_groups(
    daemon: Daemon, ordinary: Account, by_number: bool
) -> None:
    daemon.write(_sleeper(ordinary.uid if by_number else ordinary.name))
    daemon.start()
    _check_identity(daemon.wait_for("sleeper", "RUNNING").pid, ordinary.name)


def test_its_environment_is_that_of_a_login(daemon: Daemon, ordinary: Account) -> None:
    daemon.environment = {"SECRET": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC", "NOTIFY_SOCKET": "/n"}
    daemon.write(_sleeper(ordinary.name))
    daemon.start()
    entry = pwd.getpwnam(ordinary.name)
    found = environment_of(daemon.wait_for("sleeper", "RUNNING").pid)
    assert found.pop("SUPERVISOR_SPAWN_ID")
    assert found == {
        "PATH": PATH,
        "HOME": entry.pw_dir,
        "USER": ordinary.name,
        "LOGNAME": ordinary.name,
        "SHELL": entry.pw_shell,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SUPERVISOR_ENABLED": "1",
        "SUPERVISOR_PROCESS_NAME": "sleeper",
        "SUPERVISOR_GROUP_NAME": "sleeper",
    }
    (told,) = [line for line in daemon.log_text().splitlines() if "does not get" in line]
    assert told.endswith("NOTIFY_SOCKET, SECRET")


def test_what_is_passed_is_there_and_nothing_else(daemon: Daemon, ordinary: Account) -> None:
    daemon.environment = {"DB_URL": "db", "DB_USER": "me", "AWS": "key", "SECRET": "1"}
    daemon.write(_sleeper(ordinary.name, "pass-environment AWS"), "pass-environment DB_*")
    daemon.start()
    found = environment_of(daemon.wait_for("sleeper", "RUNNING").pid)
    assert {"DB_URL", "DB_USER", "AWS"} <= set(found)
    assert "SECRET" not in found
    assert found["PATH"] == PATH


def test_its_log_can_be_in_its_own_directory(daemon: Daemon, ordinary: Account, home: Path) -> None:
    log = home / "x.log"
    program = f"""
        <program writer>
          command /bin/sh -c 'echo hello; exec sleep 1000'
          user {ordinary.name}
          logfile {log}
        </program>
        """
    daemon.write(program)
    daemon.start()
    wait_until(lambda: log.exists() and log.read_text() == "hello\n", daemon.log_text)
    found = log.stat()
    assert (found.st_uid, found.st_gid) == (ordinary.uid, ordinary.gid)
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert daemon.ask("tail", "writer") == "hello\n"
    assert daemon.ask("clear", "writer") == "writer: log cleared\n"
    assert log.read_text() == ""


@pytest.mark.parametrize("kind", ["a symbolic link", "a hard link", "a link in between"])
def test_a_link_to_a_file_of_roots_is_refused(
    daemon: Daemon, ordinary: Account, home: Path, kind: str
) -> None:
    theirs = daemon.place / "theirs"
    theirs.mkdir()
    precious = daemon.save(theirs / "x.log", "precious", 0o644)
    log = home / "x.log"
    if kind == "a symbolic link":
        log.symlink_to(precious)
    elif kind == "a hard link":
        os.link(precious, log)
    else:
        (home / "logs").symlink_to(theirs)
        os.chown(home / "logs", ordinary.uid, ordinary.gid, follow_symlinks=False)
        log = home / "logs" / "x.log"
    daemon.write(
        f"{_sleeper(ordinary.name, f'logfile {log}')}\n"
        "<program other>\ncommand sleep 1000\n</program>"
    )
    daemon.start()
    row = daemon.wait_for("sleeper", "FATAL")
    assert row.detail.startswith("log not writable: ")
    assert str(log) in row.detail or "logs" in row.detail
    assert precious.read_text() == "precious"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o644
    daemon.ask("logtail")
    done = daemon.ctl("clear", "sleeper")
    assert done.returncode != 0
    assert precious.read_text() == "precious"
    assert daemon.status().up == ("other",)


def test_a_file_that_the_user_could_read_only_is_refused(
    daemon: Daemon, ordinary: Account, home: Path
) -> None:
    log = daemon.save(home / "x.log", "precious", 0o644)
    daemon.write(_sleeper(ordinary.name, f"logfile {log}"))
    daemon.start()
    row = daemon.wait_for("sleeper", "FATAL")
    assert row.detail.startswith(f"log not writable: {ordinary.name} ")
    assert f"has no permission to write {log}" in row.detail
    assert log.read_text() == "precious"


def test_the_daemon_itself_can_run_as_another_user(
    daemon: Daemon, ordinary: Account, home: Path
) -> None:
    daemon.account = root_who_can_help(ordinary)
    daemon.socket = home / "run" / "s.sock"
    daemon.state = home / "state"
    daemon.log = daemon.state / "supervisord.log"
    daemon.pidfile = home / "run" / "s.pid"
    daemon.write("<program sleeper>\ncommand sleep 1000\n</program>", f"user {ordinary.name}")
    daemon.start()
    for pid in (daemon.pid, daemon.holder, daemon.wait_for("sleeper", "RUNNING").pid):
        _check_identity(pid, ordinary.name, privileged=not ordinary.unaided)
    entry = pwd.getpwnam(ordinary.name)
    found = environment_of(daemon.status().programs["sleeper"].pid)
    assert (found["HOME"], found["USER"], found["LOGNAME"]) == (
        entry.pw_dir,
        ordinary.name,
        ordinary.name,
    )
    for path in (daemon.socket, daemon.state, daemon.pidfile, daemon.log):
        assert path.stat().st_uid == ordinary.uid
    # root reaches it, and so does its own user.
    assert daemon.status().up == ("sleeper",)
    done = daemon.run(ordinary.command(daemon.ctl_command("list")))
    assert done.stdout == "sleeper\n"


def test_a_daemon_for_an_unknown_user_is_not_started(daemon: Daemon) -> None:
    daemon.write("<program sleeper>\ncommand sleep 1000\n</program>", "user no-such-user")
    done = daemon.supervisord()
    assert done.returncode == 1
    assert done.stderr == "supervisord: no such user: no-such-user (key user)\n"
    assert not daemon.state.exists()


def test_it_can_open_its_streams_by_their_names(daemon: Daemon, ordinary: Account) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; exec sleep 1000"
    daemon.write(f"""
        <program speaker>
          command /bin/sh -c '{script}'
          user {ordinary.name}
          stderr-logfile {daemon.place}/speaker.err
        </program>
        """)
    daemon.start()
    daemon.wait_for_output("speaker", "out\n")
    errors = daemon.place / "speaker.err"
    wait_until(lambda: errors.read_text() == "err\n", errors.read_text)


def test_a_log_in_the_directory_of_that_user_is_rotated(
    daemon: Daemon, ordinary: Account, home: Path
) -> None:
    log = home / "talker.log"
    talk = 'i=0; while :; do i=$$((i+1)); echo "line $$i"; done'
    keys = f"user {ordinary.name}\nlogfile {log}\nlogfile-size 16KB\nlogfile-compress yes"
    command = f"/bin/sh -c '{talk}'"
    daemon.write(f"<program talker>\ncommand {command}\n{keys}\n</program>")
    daemon.start()
    wait_until(home.joinpath("talker.log.3.gz").exists, lambda: sorted(os.listdir(home)))
    daemon.ask("stop", "talker")
    lines = [
        line for path in (home / "talker.log.1", log) for line in path.read_text().splitlines()
    ]
    first = int(lines[0].split()[1])
    assert lines == [f"line {first + number}" for number in range(len(lines))]
    assert {each.stat().st_uid for each in home.iterdir()} == {ordinary.uid}
    assert daemon.ask("tail", "-5", "talker").splitlines() == lines[-5:]
