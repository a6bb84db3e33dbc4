"""A holder by itself, with a small daemon that the test has written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from functional_processes import is_alive, wait_until

from supervisortw.daemon import holder

# What every such daemon begins with. It reports lines, each with its generation in front.
BEGINNING = """
import os, resource, signal, socket, sys, time

PLACE = {place!r}
generation = int(os.environ["SUPERVISOR_GENERATION"])
report = os.open(PLACE + "/report", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def say(*words):
    os.write(report, (" ".join(map(str, (generation, *words))) + chr(10)).encode())

def wait_for_file(name):
    while not os.path.exists(PLACE + "/" + name):
        time.sleep(0.01)

def wait_for_ever():
    while True:
        signal.pause()

def child(run):
    pid = os.fork()
    if pid:
        return pid
    try:
        code = run() or 0
    finally:
        os._exit(code)

def orphan(run):
    os.waitpid(child(lambda: child(run) and 0), 0)

if {has_channel}:
    channel = socket.socket(fileno=int(os.environ["SUPERVISOR_HOLDER_FD"]))

def tell(line, *descriptors):
    if descriptors:
        socket.send_fds(channel, [line.encode() + b"\\n"], descriptors)
    else:
        channel.send(line.encode() + b"\\n")

def hear(last):
    "Return what the holder says up to the line that is in `last`, and the descriptors."
    lines, descriptors = [], []
    while not lines or lines[-1] not in last:
        data, more, _, _ = socket.recv_fds(channel, 65536, 253)
        lines += data.decode().splitlines()
        descriptors += more
    return lines, descriptors

def ended():
    "Return how children have ended, by pid."
    tell("ended?")
    lines, _ = hear(["that-is-all"])
    return {{int(line.split()[1]): int(line.split()[2]) for line in lines[:-1]}}

def fetch():
    "Return what is kept, by name."
    found, last = {{}}, "more"
    while last == "more":
        tell("fetch %d" % len(found))
        (*lines, last), descriptors = hear(["more", "end"])
        assert len(lines) == len(descriptors)
        found.update(zip((line.split()[1] for line in lines), descriptors))
    return found

say("pid", os.getpid())
"""


class Held:
    """A holder of its own; ``body`` is what its daemons do, one after the other.

    ``early`` is how soon an end of a daemon counts as early; 0 lets each be started at once.
    A body that uses the project's own link has ``own_channel`` false.
    """

    def __init__(
        self,
        place: Path,
        body: str,
        *,
        early: float = 0.0,
        wrapped: Sequence[str] = (),
        own_channel: bool = True,
        python: str = sys.executable,
    ) -> None:
        self._place = place
        self._report = place / "report"
        self._stderr = place / "stderr"
        script = place / "daemon.py"
        beginning = BEGINNING.format(place=str(place), has_channel=own_channel)
        script.write_text(beginning + dedent(body), encoding="utf-8")
        of_holder = [sys.executable, "-I", "-S", "-E", os.path.abspath(holder.__file__)]
        options = ["--lock-fd=0", f"--early-seconds={early}", "--"]
        command = [*wrapped, *of_holder, *options, python, "-I", str(script)]
        with open(self._stderr, "wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        self.pid = self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the holder."""
        self.process.send_signal(number)

    def make_file(self, name: str) -> None:
        """Make a file that the daemon waits for."""
        (self._place / name).touch()

    def stderr(self) -> str:
        """Return what holder and daemons have written to their standard error."""
        return self._stderr.read_text(encoding="utf-8")

    def lines(self) -> list[str]:
        """Return what daemons have reported so far."""
        return self._report.read_text().splitlines() if self._report.exists() else []

    def wait_for(self, beginning: str) -> str:
        """Wait until a daemon has reported a line that begins so; return the rest of it."""

        def look() -> list[str]:
            return [line for line in self.lines() if f"{line} ".startswith(f"{beginning} ")]

        [line, *_] = wait_until(look, lambda: f"{beginning!r}: {self.lines()} {self.stderr()}")
        return line.removeprefix(beginning).strip()

    def daemon(self, generation: int = 0) -> int:
        """Return the pid of a daemon, once it has reported it."""
        return int(self.wait_for(f"{generation} pid"))

    def kill_daemon(self, generation: int = 0) -> None:
        """Kill a daemon."""
        os.kill(self.daemon(generation), signal.SIGKILL)

    def exit_code(self) -> int:
        """Wait for the end of the holder; return its exit code."""
        return self.process.wait(30)

    def close(self) -> None:
        """End the holder, and its last daemon."""
        pids = [int(line.split()[2]) for line in self.lines() if line.split()[1] == "pid"]
        if self.process.poll() is None:
            self.process.kill()  # it starts no further one
        self.process.wait(30)
        for pid in pids[-1:]:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
