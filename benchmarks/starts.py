"""When each child started, as the children tell it themselves through a FIFO."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PIPE_BYTES = 1 << 20  # room for some 20,000 lines, so that no child waits for us


@dataclass(frozen=True)
class Start:
    """One start of one child: its pid, and the nanoseconds of CLOCK_MONOTONIC."""

    pid: int
    at: int


class Starts:
    """The reading end of the FIFO, and the latest start of every child."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest: dict[str, Start] = {}
        self._rest = b""
        os.mkfifo(path)
        path.chmod(0o622)  # children may run as another user
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer = -1
        self.hold()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        """Close both ends."""
        self.let_go()
        os.close(self._reader)

    def fileno(self) -> int:
        """Return the reading end, for poll."""
        return self._reader

    def hold(self) -> None:
        """Keep a writing end of our own, so that there is no end of file without children."""
        if self._writer < 0:
            self._writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def let_go(self) -> None:
        """Have an end of file as soon as no child is left."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def collect(self) -> bool:
        """Take in what has arrived; return False at the end of file."""
        while True:
            try:
                data = os.read(self._reader, PIPE_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                name, pid, at = line.decode().split()
                self.latest[name] = Start(int(pid), int(at))

    def last_start(self, names: Sequence[str], since: int) -> int | None:
        """Return when the last of them started, or None if one has not started after ``since``."""
        self.collect()
        latest = self.latest
        if all(name in latest and latest[name].at > since for name in names):
            return max(latest[name].at for name in names)
        return None
