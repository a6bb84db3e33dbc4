"""The seams: what the parts of supervisortw ask of each other, and nothing about how it is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport

from supervisortw.core.born import Born
from supervisortw.core.environment import Login
from supervisortw.core.happening import EventsAnswer
from supervisortw.core.model import Limit
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.status import DaemonStatus, Explained, LogPiece, Outcome, ReloadAnswer

Cancel = Callable[[], None]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget the call. It must not have run yet."""


class Clock(Protocol):
    """Monotonic time in seconds, and calls that are due later; a Twisted reactor is one."""

    def seconds(self) -> float:
        """Return the time now; only differences mean anything."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Timer:
        """Call ``callable(*args)`` after ``delay`` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process runs as. ``groups`` are all supplementary groups, by number."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    login: Login


class SpawnRequest(NamedTuple):
    """Everything that is needed to start one process, which will lead a session of its own.

    ``command`` begins with a path, or with a name that is looked up in the PATH of ``environment``.
    ``stdin``, ``stdout``, ``stderr`` are file descriptors; ``stdin`` None means /dev/null.
    ``listening`` are sockets that the process finds at descriptor 3 and on, with their names, as
    sd_listen_fds(3) has them. ``identity``, ``nice`` and ``umask`` None mean the daemon's
    own. ``limits`` are set over those that the daemon was started with. ``cgroup`` is a directory of
    cgroup2 that the process is put into. ``death_signal`` is sent to it by the kernel
    when the daemon dies, where the kernel can (Linux).
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    stdout: int
    stderr: int
    stdin: int | None = None
    listening: tuple[tuple[str, int], ...] = ()
    identity: Identity | None = None
    umask: int | None = None
    directory: str = "/"
    nice: int | None = None
    limits: tuple[Limit, ...] = ()
    no_new_privileges: bool = False
    cgroup: str | None = None
    death_signal: int | None = None

    def streams(self) -> set[int]:
        """Return the descriptors of its streams, each once."""
        streams = {self.stdout, self.stderr}
        return streams if self.stdin is None else streams | {self.stdin}

    def close(self) -> None:
        """Close its streams."""
        for each in self.streams():
            os.close(each)


class Spawner(Protocol):
    """Starts processes."""

    def spawn(
        self, protocol: IProcessProtocol, request: SpawnRequest
    ) -> Deferred[IProcessTransport]:
        """Start a process that ``protocol`` is told about.

        Fires with its transport once the program runs, after ``protocol`` was connected to it and
        before ``protocol`` is told of its end. Fails with SpawnError, which has a reason for the
        operator. The streams of ``request`` are the spawner's from now on, and closed by it; its
        sockets can be closed by the caller as soon as this has returned.
        """

    def together(self) -> AbstractContextManager[object]:
        """Return a context at whose end is started what is asked for within it; not to be nested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escaped:
    """A process that has left the session of the program that it came from.

    ``command`` is its name as the kernel has it, printable, without arguments, which may be secret.
    """

    pid: int
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unended:
    """An escaped process that is still there, and why, for people."""

    escaped: Escaped
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What came of ending escaped processes: those that are gone, and those that are still there."""

    ended: tuple[Escaped, ...] = ()
    left: tuple[Unended, ...] = ()


class DescriptorStore(Protocol):
    """Keeps descriptors beyond the end of the daemon, by name, for the daemon that follows it.

    A name is one word of at most 512 bytes, such as ``output/web:web_1/stderr``.
    """

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a copy of ``descriptor``, instead of what was kept under that name. Never waits."""

    def drop(self, name: str) -> None:
        """Let go of what is kept under ``name``, if anything is."""

    def take(self, name: str) -> int | None:
        """Return what a daemon before this one had kept under ``name``, once; it stays kept.

        The caller closes it. None if there is nothing.
        """


class Sessions(Protocol):
    """The processes of a session, together: a child leads one, and may leave others behind in it.

    A process that has left its session has escaped. It is known by the SpawnId in its environment,
    and by its cgroup where the program has one.
    """

    def adopt(self, sid: int, born: Born) -> None:
        """Take over session ``sid`` of a former daemon, whose leader was started then.

        The leader is reaped by somebody else, so the number may mean others once all are gone.
        """

    def signal(self, sid: int, number: int) -> None:
        """Send a signal to every process of session ``sid`` that is there."""

    def has_others(self, sid: int) -> bool:
        """True if, after its leader was reaped, somebody is left in the leader's process group."""

    def when_empty(self, sid: int, emptied: Callable[[], None]) -> Cancel:
        """Call ``emptied`` once, later, when no process of the session is left."""

    def find_escaped(self, spawn: SpawnId, sid: int) -> Deferred[tuple[Escaped, ...]]:
        """Look for what came from ``spawn`` or an earlier one of its program, outside session ``sid``.

        ``sid`` 0 means that the program is down, and nothing is spared. Whoever was started by a
        later spawn is not looked at. All who ask in the same turn share one search.
        """

    def end_escaped(self, spawn: SpawnId, sid: int, wait: float) -> Deferred[Ending]:
        """Send SIGTERM to what `find_escaped` finds, and after ``wait`` seconds SIGKILL.

        Fires when all of them are gone, or cannot be ended. A program that has a cgroup must not be
        started before that.
        """


class Control(Protocol):
    """Everything that can be asked of a daemon: implemented by the daemon, a proxy, and a fake.

    Names are those of programs, processes and groups, ``group:*`` and ``group:process``, and the words
    ``all``, ``up`` and ``down``; what is told of is processes. A name that nothing has gives an Outcome
    that says so and names the nearest; it is not an exception. A log is named by its process, the one
    for errors alone by ``process/stderr``.
    """

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        """Tell how the daemon and the named programs stand; no names means all."""

    async def why(self, names: Sequence[str]) -> Explained:
        """Tell why each of the named processes is as it is, and how its last ones have ended.

        Raises Refused for more than LIMITS.explained_at_once of them.
        """

    async def start(self, names: Sequence[str]) -> list[Outcome]:
        """Start what is down and wait until each is up, or has failed."""

    async def stop(self, names: Sequence[str], *, all_of_it: bool = False) -> list[Outcome]:
        """Stop what is up and wait until all of its processes are gone.

        The answer names processes that have left the session of their program; with ``all_of_it``
        they are ended as well, also those of programs that are down already.
        """

    async def restart(self, names: Sequence[str]) -> list[Outcome]:
        """Stop what is up, start all, and wait; one event in the daemon for each program."""

    async def scale(self, name: str, count: int) -> list[Outcome]:
        """Have ``count`` processes of a program that has the key ``processes``.

        Those that stay are not touched. Raises Refused if the program cannot be scaled.
        """

    async def signal(self, signame: str, names: Sequence[str]) -> list[Outcome]:
        """Send a signal to the main process of each program that is up."""

    async def write_stdin(self, data: bytes, names: Sequence[str]) -> list[Outcome]:
        """Write to the standard input of programs that have it from a pipe (``stdin pipe``)."""

    async def reload(self) -> ReloadAnswer:
        """Read the configuration again and apply it. Raises Refused if it has problems."""

    async def reread(self) -> ReloadAnswer:
        """Tell what `reload` would do, and do nothing. Raises Refused if it has problems."""

    async def shutdown(self) -> list[Outcome]:
        """Stop every program, answer with what came of it, and end the daemon."""

    async def tail(self, name: str | None, lines: int) -> LogPiece:
        """Return the last lines of a program's log, or of the daemon's own if name is None."""

    async def read_log(self, name: str | None, offset: int, length: int) -> LogPiece:
        """Return at most ``length`` bytes of a log from ``offset`` on."""

    async def clear(self, names: Sequence[str]) -> list[Outcome]:
        """Empty the logs of the named programs."""

    def watch_log(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` each time the log has changed. Raises Refused if there is no such log."""

    async def events(self, after: int, limit: int) -> EventsAnswer:
        """Tell what has happened after the event of that number, and which numbers are lost.

        There are at most ``limit`` events in the answer, and no more than fit into a page.
        """

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        """Call ``told`` once whenever something has happened, however much it is."""
