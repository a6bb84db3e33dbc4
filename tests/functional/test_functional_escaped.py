"""Processes that leave the session of their program: they are told, and ended if that is wanted."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, session_of, wait_until, wait_until_gone
from leaving_out import leave_out

from supervisortw.daemon.cgroups import Cgroups

pytestmark = pytest.mark.needs_linux

# Makes itself a daemon, as many programs do, and notes who that is. The main process stays.
RUNAWAY = """
    import os, signal, sys, time

    noted, *words = sys.argv[1:]
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        if "deaf" in words:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(noted, "a") as file:
            file.write(f"{os.getpid()}\\n")
        os.execve("/bin/sleep", ["sleep", "3600"], {} if "wiped" in words else os.environ)
    os.wait()
    while True:
        time.sleep(3600)
    """


class Runaways:
    """Programs with a process that has escaped; by program, that process."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.pids: dict[str, int] = {}

    def start(self, *names: str, words: str = "", keys: str = "") -> None:
        """Start a daemon with these programs; wait until a process of each has escaped."""
        command = self.daemon.python("runaway.py", RUNAWAY)
        self.daemon.write(
            "\n".join(
                f"<program {name}>\n"
                f"  command {command} {self.daemon.place}/{name}.pids {words}\n"
                f"  stop-wait-seconds 1\n  {keys}\n"
                f"</program>"
                for name in names
            )
        )
        self.daemon.start()
        for name in names:
            self.pids[name] = self.wait_for_one_more(name, 1)

    def wait_for_one_more(self, name: str, count: int) -> int:
        """Wait until ``count`` processes of a program have escaped in all; return the last one."""
        path = self.daemon.place / f"{name}.pids"

        def escaped() -> int:
            lines = path.read_text().splitlines() if path.exists() else []
            pid = int(lines[-1]) if len(lines) >= count else 0
            # Its environment and its name are those that it has for good after its exec.
            return pid if pid and _comm(pid) == "sleep" else 0

        return wait_until(escaped, lambda: f"{name} escapes: {self.daemon.log_text()}")

    def everybody(self) -> list[int]:
        """Return all who have ever escaped."""
        files = self.daemon.place.glob("*.pids")
        return [int(line) for path in files for line in path.read_text().splitlines()]

    def end(self) -> None:
        """End those that are still there; the daemon may be gone."""
        left = [pid for pid in self.everybody() if _comm(pid) == "sleep"]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until_gone(*left)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture
def runaways(daemon: Daemon) -> Iterator[Runaways]:
    made = Runaways(daemon)
    yield made
    made.end()


def test_a_stop_tells_who_has_left_the_session(runaways: Runaways) -> None:
    runaways.start("web")
    pid = runaways.pids["web"]
    assert pid not in session_of(runaways.daemon.pid_of("web"))
    done = runaways.daemon.ctl("stop", "web")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("web: stopped")
    assert str(pid) in done.stdout
    assert "sleep" in done.stdout
    assert is_alive(pid)


def test_a_stop_says_nothing_of_it_where_nobody_has_left(daemon: Daemon) -> None:
    daemon.write("<program web>\n  command /bin/sleep 3600\n</program>")
    daemon.start()
    assert "left" not in daemon.ask("stop", "web")
    assert "left" not in daemon.ask("stop", "--all-of-it", "web")


@pytest.mark.parametrize("words", ["", "deaf"])
def test_all_of_it_ends_them_and_no_others(runaways: Runaways, words: str) -> None:
    runaways.start("web", "web2", words=words)
    done = runaways.daemon.ctl("stop", "--all-of-it", "web")
    assert done.returncode == 0, done.stderr
    assert not is_alive(runaways.pids["web"])
    assert is_alive(runaways.pids["web2"])
    assert runaways.daemon.status("web2").programs["web2"].state == "RUNNING"


def test_all_of_it_ends_them_when_the_program_is_down_already(runaways: Runaways) -> None:
    runaways.start("web")
    runaways.daemon.ctl("stop", "web")
    assert is_alive(runaways.pids["web"])
    done = runaways.daemon.ctl("stop", "--all-of-it", "web")
    assert done.returncode == 0, done.stderr
    assert not is_alive(runaways.pids["web"])


def test_those_of_every_run_are_ended(runaways: Runaways) -> None:
    runaways.start("web")
    runaways.daemon.ask("restart", "web")
    second = runaways.wait_for_one_more("web", 2)
    assert is_alive(runaways.pids["web"])
    done = runaways.daemon.ctl("stop", "--all-of-it", "web")
    assert done.returncode == 0, done.stderr
    assert not is_alive(runaways.pids["web"])
    assert not is_alive(second)


def test_another_daemon_with_the_same_program_loses_nothing(runaways: Runaways) -> None:
    """A daemon that runs under this one has marks of its own."""
    runaways.start("web")
    mark = _mark(runaways.pids["web"])
    other = runaways.daemon.begin(
        ["/bin/sleep", "3600"],
        env={"SUPERVISOR_SPAWN_ID": mark.replace(mark.split(":")[0], "0" * 16)},
        start_new_session=True,
    )
    runaways.daemon.ctl("stop", "--all-of-it", "web")
    assert not is_alive(runaways.pids["web"])
    assert is_alive(other.pid)


def _mark(pid: int) -> str:
    entries = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    [mark] = [each for each in entries if each.startswith("SUPERVISOR_SPAWN_ID=")]
    return mark.partition("=")[2]


def _need_cgroup2() -> None:
    reason = Cgroups.find("0").why_not()
    if reason is not None:
        leave_out(f"needs a cgroup2 that we can write: {reason}")


@pytest.mark.needs_root
@pytest.mark.parametrize("words", ["wiped", "wiped deaf"])
def test_in_a_cgroup_those_without_a_mark_are_found_too(runaways: Runaways, words: str) -> None:
    _need_cgroup2()
    runaways.start("web", words=words, keys="cgroup yes")
    pid = runaways.pids["web"]
    assert "SUPERVISOR_SPAWN_ID" not in Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")
    assert str(pid) in runaways.daemon.ask("stop", "web")
    assert is_alive(pid)
    done = runaways.daemon.ctl("stop", "--all-of-it", "web")
    assert done.returncode == 0, done.stderr
    assert not is_alive(pid)


@pytest.mark.needs_root
def test_without_a_cgroup_those_without_a_mark_are_not_found(runaways: Runaways) -> None:
    """The limit of what can be known, which the documents tell."""
    runaways.start("web", words="wiped")
    assert str(runaways.pids["web"]) not in runaways.daemon.ask("stop", "--all-of-it", "web")
    assert is_alive(runaways.pids["web"])
