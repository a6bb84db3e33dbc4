"""Programs that tell of themselves: when they are ready, how they are, that they are alive."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from functional_account import Account, python_of
from functional_daemon import Daemon, Row
from functional_processes import PATIENCE, environment_of, is_alive, wait_until, wait_until_gone

pytestmark = pytest.mark.needs_linux

MakeDaemon = Callable[..., Daemon]

TELL = """
import os, signal, socket, sys, time

def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""
# Tells what is written into a FIFO, line by line.
TALKER = f"""
{TELL}
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        tell(line.rstrip())
signal.pause()
"""
# Is ready at once, and shows that it is alive until a file appears.
PINGER = f"""
{TELL}
tell("READY=1")
while not os.path.exists(sys.argv[1]):
    tell("WATCHDOG=1")
    time.sleep(0.1)
signal.pause()
"""
# Asks for time when it is told to end, and takes it until a file appears.
LINGERER = f"""
{TELL}
def linger(*_):
    tell("STOPPING=1\\nEXTEND_TIMEOUT_USEC=100000000")
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    os._exit(0)

signal.signal(signal.SIGTERM, linger)
tell("READY=1")
while True:
    signal.pause()
"""
NO_RETRY = "restart-delay 1000\nrestart-delay-max 1000"


class Talker:
    """A program that tells what the test wants it to tell."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        fifo = daemon.place / "fifo"
        os.mkfifo(fifo)
        fifo.chmod(0o666)
        self.fifo = os.open(fifo, os.O_RDWR)  # so that neither end waits for the other
        self.command = f"{daemon.python('talker', TALKER)} {fifo}"

    def program(self, *keys: str) -> str:
        lines = "\n".join(keys)
        return f"<program talker>\ncommand {self.command}\nnotify yes\n{lines}\n</program>\n"

    def say(self, text: str) -> None:
        os.write(self.fifo, f"{text}\n".encode())

    def row(self) -> Row:
        return self.daemon.status("talker").programs["talker"]

    def wait_for_detail(self, text: str) -> Row:
        wait_until(lambda: text in self.row().detail, lambda: f"{text!r}: {self.row()}")
        return self.row()

    def close(self) -> None:
        os.close(self.fifo)


@pytest.fixture
def talker(daemon: Daemon) -> Iterator[Talker]:
    talker = Talker(daemon)
    yield talker
    talker.close()


class TestReadiness:
    def test_start_answers_when_the_program_is_ready(self, daemon: Daemon, talker: Talker) -> None:
        daemon.write(
            talker.program("auto-start no")
            + "<program plain>\ncommand sleep 1000\nauto-start no\n</program>"
        )
        daemon.start()
        start = daemon.begin(daemon.ctl_command("start", "talker"), stdout=subprocess.PIPE)
        assert daemon.wait_for("talker", "STARTING").pid
        # A program that has nothing to tell, and was started later, is up by now.
        daemon.ask("start", "plain")
        assert talker.row().state == "STARTING"
        assert start.poll() is None
        talker.say("READY=1")
        said, _ = start.communicate(timeout=PATIENCE)
        row = talker.row()
        assert row.state == "RUNNING"
        assert said.decode() == f"talker: started, pid {row.pid}\n"
        assert start.returncode == 0

    def test_it_is_told_where_to_tell_and_others_are_not(
        self, make_daemon: MakeDaemon, anybody: Account
    ) -> None:
        daemon = make_daemon(anybody)
        with contextlib.closing(Talker(daemon)) as talker:
            plain = "<program plain>\ncommand sleep 1000\n</program>"
            daemon.write(talker.program() + plain)
            daemon.start()
            talker.say("READY=1")
            pid = daemon.wait_for("talker", "RUNNING").pid
            path = Path(environment_of(pid)["NOTIFY_SOCKET"])
            found = path.lstat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o600
            assert found.st_uid == anybody.uid
            plain_pid = daemon.wait_for("plain", "RUNNING").pid
            assert "NOTIFY_SOCKET" not in environment_of(plain_pid)
            daemon.ask("shutdown")
            wait_until_gone(daemon.pid, daemon.holder)
            assert not path.exists()
            assert not path.parent.exists()

    def test_one_that_is_not_ready_in_time_is_ended(self, daemon: Daemon) -> None:
        command = "command /bin/sh -c 'echo $$$$ ; exec sleep 1000'"
        daemon.write(
            f"<program silent>\n{command}\nnotify yes\nready-seconds 2\n{NO_RETRY}\n</program>"
        )
        daemon.start()
        row = daemon.wait_for("silent", "BACKOFF")
        assert "not ready" in row.detail
        assert not is_alive(int(daemon.output("silent")))

    def test_it_can_ask_for_more_time(self, daemon: Daemon, talker: Talker) -> None:
        seconds = "ready-seconds 5"
        silent = f"command sleep 1000\nnotify yes\n{seconds}\n{NO_RETRY}\nauto-start no"
        daemon.write(f"{talker.program(seconds, NO_RETRY)}<program silent>\n{silent}\n</program>")
        daemon.start()
        talker.say("EXTEND_TIMEOUT_USEC=100000000")
        talker.say("STATUS=much to load")
        pid = talker.wait_for_detail("much to load").pid
        # One that was started later, and asks for nothing, has had its time.
        assert daemon.ctl("start", "silent").returncode != 0
        assert "not ready" in daemon.status().programs["silent"].detail
        row = talker.row()
        assert (row.state, row.pid) == ("STARTING", pid)
        talker.say("READY=1")
        assert daemon.wait_for("talker", "RUNNING").pid == pid

    def test_what_the_last_process_told_does_not_count(
        self, daemon: Daemon, talker: Talker
    ) -> None:
        daemon.write(talker.program())
        daemon.start()
        talker.say("READY=1")
        daemon.wait_for("talker", "RUNNING")
        restart = daemon.begin(daemon.ctl_command("restart", "talker"))
        daemon.wait_for("talker", "STARTING")
        talker.say("STATUS=here I am again")
        assert talker.wait_for_detail("here I am again").state == "STARTING"
        talker.say("READY=1")
        assert restart.wait(PATIENCE) == 0
        assert talker.row().state == "RUNNING"


class TestTheEnd:
    def test_it_can_ask_for_more_time(self, daemon: Daemon) -> None:
        enough = daemon.place / "enough"
        lingerer = f"{daemon.python('lingerer', LINGERER)} {enough}"
        deaf = """/bin/sh -c 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'"""
        seconds = "stop-wait-seconds 2"
        daemon.write(
            f"<program lingerer>\ncommand {lingerer}\nnotify yes\n{seconds}\n</program>\n"
            f"<program deaf>\ncommand {deaf}\n{seconds}\n</program>"
        )
        daemon.start()
        daemon.wait_for_output("deaf", "deaf")
        pid = daemon.wait_for("lingerer", "RUNNING").pid
        stop = daemon.begin(daemon.ctl_command("stop", "lingerer"), stdout=subprocess.PIPE)
        daemon.wait_for("lingerer", "STOPPING")
        # One that was told to end later, and asks for nothing, has had its time.
        assert daemon.ask("stop", "deaf").startswith("deaf: stopped; ended by SIGKILL after ")
        row = daemon.status().programs["lingerer"]
        assert (row.state, row.pid) == ("STOPPING", pid)
        assert is_alive(pid)
        assert stop.poll() is None
        enough.touch()
        said, _ = stop.communicate(timeout=PATIENCE)
        assert said.decode().startswith("lingerer: stopped; exited with code 0 after ")


class TestStatus:
    def test_what_it_tells_of_itself_is_shown(self, daemon: Daemon, talker: Talker) -> None:
        daemon.write(talker.program())
        daemon.start()
        talker.say("STATUS=loading: 3 of 7")
        assert talker.wait_for_detail("loading: 3 of 7").state == "STARTING"
        talker.say("READY=1")
        talker.say("STATUS=grüße \x1b[2J")
        assert talker.wait_for_detail("grüße \\x1b[2J").state == "RUNNING"


class TestWatchdog:
    def test_one_that_shows_no_sign_of_life_is_started_again(
        self, daemon: Daemon, talker: Talker
    ) -> None:
        seconds = "watchdog-seconds 4"
        silence = daemon.place / "silence"
        pinger = f"{daemon.python('pinger', PINGER)} {silence}"
        daemon.write(
            talker.program(seconds, "auto-start no")
            + f"<program pinger>\ncommand {pinger}\nnotify yes\n{seconds}\n</program>"
        )
        daemon.start()
        alive = daemon.wait_for("pinger", "RUNNING").pid
        assert environment_of(alive)["WATCHDOG_USEC"] == "4000000"
        talker.say("READY=1")
        hung = int(daemon.ask("start", "talker").split()[-1])  # is silent from now on
        wait_until_gone(hung)
        # The other one is older, and has shown meanwhile that it is alive.
        assert daemon.pid_of("pinger") == alive
        talker.say("READY=1")
        assert daemon.wait_for("talker", "RUNNING").pid != hung
        assert "watchdog" in _told_of(daemon, "talker")
        assert "watchdog" not in _told_of(daemon, "pinger")
        silence.touch()
        wait_until_gone(alive)
        wait_until(lambda: "watchdog" in _told_of(daemon, "pinger"), daemon.log_text)

    def test_it_can_ask_to_be_ended(self, daemon: Daemon, talker: Talker) -> None:
        daemon.write(talker.program("watchdog-seconds 1000"))
        daemon.start()
        talker.say("READY=1")
        pid = daemon.wait_for("talker", "RUNNING").pid
        talker.say("WATCHDOG=trigger")
        wait_until_gone(pid)
        talker.say("READY=1")
        assert daemon.wait_for("talker", "RUNNING").pid != pid
        assert "watchdog" in _told_of(daemon, "talker")


def _told_of(daemon: Daemon, name: str) -> str:
    """Return what the log tells of a program."""
    return "\n".join(line for line in daemon.log_text().splitlines() if f" {name}: " in line)


@pytest.mark.needs_root
class TestAnotherUser:
    def test_it_is_heard_and_a_stranger_is_not(
        self, daemon: Daemon, ordinary: Account, stranger: Account, talker: Talker
    ) -> None:
        daemon.place.chmod(0o755)
        theirs = python_of(ordinary)
        talker.command = talker.command.replace(sys.executable, theirs)
        daemon.write(talker.program(f"user {ordinary.name}"))
        daemon.start()
        talker.say("STATUS=here")
        pid = talker.wait_for_detail("here").pid
        path = Path(environment_of(pid)["NOTIFY_SOCKET"])
        assert path.lstat().st_uid == ordinary.uid
        sending = f"{TELL}\ntell('READY=1')"
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(path)}
        done = subprocess.run(
            stranger.command([sys.executable, "-I", "-S", "-c", sending]),
            capture_output=True,
            cwd="/",
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
        assert b"PermissionError" in done.stderr
        talker.say("STATUS=still here")
        assert talker.wait_for_detail("still here").state == "STARTING"
        talker.say("READY=1")
        assert daemon.wait_for("talker", "RUNNING").pid == pid


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="needs systemd-notify")
def test_a_shell_script_can_use_the_program_of_systemd(
    make_daemon: MakeDaemon, anybody: Account
) -> None:
    daemon = make_daemon(anybody)
    script = daemon.script(
        "script",
        """
        #!/bin/sh
        systemd-notify --ready --status='up and running' || exit 1
        exec sleep 1000
        """,
    )
    daemon.write(f"<program script>\ncommand {script}\nnotify yes\n</program>")
    daemon.start()
    daemon.wait_for("script", "RUNNING")
    wait_until(
        lambda: "up and running" in daemon.status().programs["script"].detail, daemon.log_text
    )
