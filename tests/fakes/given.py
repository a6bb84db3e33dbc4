"""What processes are given beside their output, as dictionaries: sockets, stdin, places to say things."""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.core.notify import Notice
from supervisortw.core.plan import Layout
from supervisortw.errors import Refused, SpawnError

SOCKET = os.open(os.devnull, os.O_RDWR)  # it stands for any


class FakeStdin:
    """Remembers what was written to each process."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        self.not_kept: set[str] = set()

    def reader(self, name: str) -> int:
        self.written[name] = b""
        return os.dup(SOCKET)

    def adopt(self, name: str) -> bool:
        self.written[name] = b""
        return name not in self.not_kept

    def write(self, name: str, data: bytes) -> None:
        if name not in self.written:
            raise Refused("its standard input is no pipe")
        self.written[name] += data

    def close(self, name: str) -> None:
        self.written.pop(name, None)


class FakeSockets:
    """Listening sockets by name; one that is not there cannot be opened."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}

    def descriptor(self, name: str) -> int:
        if name not in self.open:
            raise SpawnError(f"socket {name}: in use", permanent=False)
        return self.open[name]


class FakeNotices:
    """Where processes say things: the test says them."""

    def __init__(self) -> None:
        self.heard: dict[str, Callable[[Notice, int], None]] = {}
        self.uids: dict[str, int] = {}

    def open(self, name: str, uid: int, heard: Callable[[Notice, int], None]) -> str:
        self.heard[name] = heard
        self.uids[name] = uid
        return f"/run/notify/{name}"

    def adopt(self, name: str, uid: int, heard: Callable[[Notice, int], None]) -> str:
        return self.open(name, uid, heard)

    def close(self, name: str) -> None:
        self.heard.pop(name, None)


class FakeRoom:
    """Room for files; ``made`` tells for how many processes it was made."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.is_full = False

    def make(self, layout: Layout) -> None:
        self.made.append(len(layout.processes))

    def check(self) -> None:
        if self.is_full:
            raise SpawnError("too many open files", permanent=False)

    def starts_at_once(self) -> int:
        return LIMITS.spawns_in_little_room if self.is_full else LIMITS.spawns_under_way


class FakeCgroups:
    """Control groups that exist in name only."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.events: dict[str, str] = {}  # files of memory events

    def memory_events(self, name: str) -> str | None:
        return self.events.get(name)

    def directory_for(self, name: str) -> str:
        self.names.add(name)
        return f"/sys/fs/cgroup/{name}"

    def remove(self, name: str) -> None:
        self.names.discard(name)
