"""The pipes that programs write their logs to: one for each log, over all restarts.

A pipe is kept beyond the end of the daemon before any process has it. The daemon that follows takes it
back and goes on reading; until then whoever writes goes on, too, and waits when the pipe is full.

On Linux one descriptor, open for reading and writing, is all that the daemon has of a pipe; so its end
is never reached, and no start or end of a process makes the reactor do anything. A process gets the
writing end by opening that one anew in /proc: what it sets there, such as O_NONBLOCK, it sets for
itself. Without /proc both ends are kept, and the processes of a log share the writing one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.errors import SpawnError
from supervisortw.interfaces import DescriptorStore

DESCRIPTORS = "/proc/self/fd"
NOTHING = bytes(4)  # what FIONREAD answers, as a C int
PIPE_BYTES = 64 * 1024  # that a pipe has room for, as systems make them


class Sink(Protocol):
    """Where that goes what is written to a pipe."""

    def take(self, pipe: int) -> int:
        """Move what is in the pipe, at most so much; return how many bytes were taken out of it.

        Never waits, and never leaves anything there that it cannot take. Raises EOFError if nobody can
        ever write to the pipe any more.
        """


class LogPipes:
    """Makes the pipes of logs, or takes them from the store.

    ``reopens`` tells whether this machine has /proc. The log that a process had and the one that the
    next is to have can have the same name for a while; the store keeps what was made last.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        store: DescriptorStore,
        *,
        reopens: bool = os.path.isdir(DESCRIPTORS),
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._reopens = reopens
        self._kept: dict[str, _Ends] = {}

    def pipe(self, name: str, sink: Sink) -> LogPipe:
        """Return the pipe of the log ``name``; what comes out of it goes to ``sink``.

        If the daemon before this one has left it behind, it is read from now on.
        """
        return LogPipe(name, sink, self, self._reactor)

    def take(self, name: str) -> _Ends | None:
        """Return what the daemon before this one has left behind, once."""
        reader = self._store.take(_reader(name))
        writer = None if self._reopens else self._store.take(_writer(name))
        if reader is None or (writer is None and not self._reopens):
            for end in (reader, writer):
                if end is not None:
                    os.close(end)
            return None
        taken = self._kept[name] = _Ends(reader, writer, os.fstat(reader).st_uid)
        return taken

    def make(self, name: str, owner: int) -> _Ends:
        """Make a pipe for processes of user ``owner``, and have it kept. Raises OSError."""
        made = self._kept[name] = _one_descriptor(owner) if self._reopens else _both_ends()
        if made.writing is not None:
            self._store.keep(_writer(name), made.writing)
        self._store.keep(_reader(name), made.reader)
        return made

    def close(self, name: str, ends: _Ends) -> None:
        """Close a pipe for good."""
        if self._kept.get(name) is ends:
            del self._kept[name]
            self._store.drop(_reader(name))
            if ends.writing is not None:
                self._store.drop(_writer(name))
        ends.close()


@implementer(IReadDescriptor)
class LogPipe:
    """The pipe of one log, in the reactor from its first process on."""

    def __init__(self, name: str, sink: Sink, pipes: LogPipes, reactor: IReactorFDSet) -> None:
        self._name = name
        self._sink = sink
        self._pipes = pipes
        self._reactor = reactor
        self._is_large = False
        self._ends = pipes.take(name)
        if self._ends is not None:
            reactor.addReader(self)

    def writer(self, owner: int) -> int:
        """Return a descriptor for a process of user ``owner`` to write to; the caller closes it.

        A pipe of another user is closed, and a new one made: who still writes to it is cut off. Raises
        SpawnError.
        """
        try:
            ends = self._ends
            if ends is None or (ends.owner != owner and ends.owner != os.geteuid()):
                ends = self._renew(owner)
            return ends.writer()
        except OSError as error:
            raise SpawnError(f"no pipe for the output: {error.strerror}", permanent=False) from None

    def _renew(self, owner: int) -> _Ends:
        made = self._pipes.make(self._name, owner)
        self.close()
        self._ends, self._is_large = made, False
        self._reactor.addReader(self)
        return made

    def drain(self) -> None:
        """Take what is in the pipe now, up to LIMITS.log_drain_bytes."""
        if self._ends is None or _is_empty(self._ends.reader):
            return  # as nearly always, and this costs least
        taken = 0
        while taken < LIMITS.log_drain_bytes and (some := self._take()):
            taken += some

    def close(self) -> None:
        """Take what is in the pipe now, and close it for good."""
        self.drain()
        self._close()

    def _close(self) -> None:
        if self._ends is not None:
            self._reactor.removeReader(self)
            self._pipes.close(self._name, self._ends)
            self._ends = None

    def _take(self) -> int:
        """Take once; return how much."""
        if self._ends is None:
            return 0
        try:
            taken = self._sink.take(self._ends.reader)
        except (
            EOFError
        ):  # somebody has left behind what is no pipe of ours: the next process gets one
            self._close()
            return 0
        if taken >= PIPE_BYTES and not self._is_large:
            self._is_large = True
            _enlarge(self._ends.reader)
        return taken

    def fileno(self) -> int:
        """Return what is read from."""
        return -1 if self._ends is None else self._ends.reader

    def logPrefix(self) -> str:
        """Return what the reactor's own messages are marked with."""
        return "output"

    def doRead(self) -> None:
        """Take once, and no more: whoever writes at full speed keeps nobody waiting."""
        self._take()

    def connectionLost(self, reason: Failure) -> None:
        """Close it, after an error; the next process gets another one."""
        self._close()


@dataclass(frozen=True, slots=True)
class _Ends:
    """What the daemon has open of a pipe: one descriptor that is both ends, or each of them.

    ``owner`` is the user that the pipe belongs to.
    """

    reader: int
    writing: int | None
    owner: int

    def writer(self) -> int:
        """Return a new descriptor to write to, which waits where the pipe is full. Raises OSError."""
        if self.writing is None:
            return os.open(f"{DESCRIPTORS}/{self.reader}", os.O_WRONLY | os.O_CLOEXEC)
        writer = os.dup(self.writing)
        os.set_blocking(writer, True)  # the last process may have changed that, for all of them
        return writer

    def close(self) -> None:
        """Close it."""
        os.close(self.reader)
        if self.writing is not None:
            os.close(self.writing)


def _one_descriptor(owner: int) -> _Ends:
    """Make a pipe that is open once, for both, and that ``owner`` can open as /dev/stdout."""
    ends = os.pipe()
    try:
        path = f"{DESCRIPTORS}/{ends[0]}"
        both = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        for end in ends:
            os.close(end)
    if owner != os.geteuid():
        with contextlib.suppress(OSError):  # root may be forbidden to give things away
            os.fchmod(both, 0o660)  # then we can open it, too, where permissions bind root
            os.fchown(both, owner, -1)
    return _Ends(both, None, os.fstat(both).st_uid)


def _both_ends() -> _Ends:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return _Ends(reader, writer, os.geteuid())


def _is_empty(pipe: int) -> bool:
    """True if it is known that nothing is in a pipe."""
    try:
        return fcntl.ioctl(pipe, termios.FIONREAD, NOTHING) == NOTHING
    except OSError:  # it is no pipe
        return False


def _enlarge(pipe: int) -> None:
    """Have room in a pipe that was full for more than is usual, where the system lets us."""
    with contextlib.suppress(AttributeError, OSError):  # only Linux; others than root have a budget
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, LIMITS.log_pipe_bytes)


def _reader(name: str) -> str:
    return f"output/{name}"


def _writer(name: str) -> str:
    return f"writer/{name}"
