"""A process 1 of a test's own: it starts what it is told to, and reaps whoever is left to it.

Without one, the orphans of a dead holder would become children of pytest, and stay there as zombies.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from functional_processes import PATIENCE, descendants_of, wait_until

# Reads a line for each command, in JSON: its words, where its output goes, and its errors. Tells the exit
# code of each. One command at a time.
INIT = """
    import ctypes, json, os, select, signal, sys

    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    def begin(words, output, errors):
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            for stream, path in ((1, output), (2, errors)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
            os.execv(words[0], words)
        finally:
            os._exit(127)

    def ended():
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)

    begun = 0
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if 0 in readable:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            begun = begin(*json.loads(line))
        if woken in readable:
            os.read(woken, 512)
        for pid, code in ended():
            if pid == begun:
                print(code, flush=True)
    """


class Init:
    """The process, and everything that it has begun."""

    def __init__(self, place: Path, prefix: Sequence[str], environment: dict[str, str]) -> None:
        self._place = place
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-S", "-c", dedent(INIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=place,
            env=environment,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def run(self, words: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; what it leaves behind belongs to this process."""
        output, errors = self._place / "init.out", self._place / "init.err"
        line = json.dumps([list(words), str(output), str(errors)])
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        told = b""
        deadline = time.monotonic() + seconds
        while not told.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise subprocess.TimeoutExpired(list(words), seconds)
            more = os.read(self._process.stdout.fileno(), 100)
            assert more, "process 1 of the test has ended"
            told += more
        texts = [path.read_text("utf-8", "backslashreplace") for path in (output, errors)]
        return subprocess.CompletedProcess(list(words), int(told), *texts)

    def close(self) -> None:
        """Kill everything that is left, the eldest first, and end."""
        wait_until(self._kill_all, lambda: f"the end of {descendants_of(self.pid)}", 2 * PATIENCE)
        with self._process:  # closes its pipes
            self._process.kill()

    def _kill_all(self) -> bool:
        left = sorted(descendants_of(self.pid))
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left
