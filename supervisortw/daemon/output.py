"""Where the output of a program goes, and how it is read back.

A log file is kept open from the first start on, over all restarts; what programs write into the pipe of
the log is appended to it as it comes. Trouble with the file never stops the program: what cannot be
written is dropped, counted, and told once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DAEMON_STREAMS, DISCARD
from supervisortw.core.status import LogPiece
from supervisortw.daemon.logpipe import LogPipe, Write
from supervisortw.errors import PASSING, LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")

OpenFile = Callable[[], int]


class Log(Protocol):
    """What was written somewhere, as it is read back."""

    def tail(self, lines: int) -> LogPiece:
        """Return the last lines. Raises Refused if what was written cannot be read back."""

    def read(self, offset: int, length: int) -> LogPiece:
        """Return bytes from ``offset`` on. Raises Refused if they cannot be read back."""

    def watch(self, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` after each change. Raises Refused if there is nothing to be read back."""

    def clear(self) -> None:
        """Forget what was written. Raises Refused if it cannot be."""

    def reopen(self) -> None:
        """Open the file anew by its name, since somebody has moved it. Raises LocalError."""

    def close(self) -> None:
        """Let go of everything."""


class Output(Log, Protocol):
    """Where the stdout or the stderr of a program goes."""

    def writer(self, owner: int) -> int:
        """Return a descriptor for a new process of user ``owner`` to write to; the caller closes it.

        Raises SpawnError if there is nowhere to write.
        """

    def drain(self) -> None:
        """Take in what was written up to now."""

    def is_read(self) -> bool:
        """True if somebody reads what the process of a former daemon writes."""


class LogFile:
    """A log in a regular file, which is read back from the file itself."""

    def __init__(self, path: str, open_file: OpenFile) -> None:
        self.path = path
        self._open_file = open_file
        self._file = -1
        self._watchers: list[Callable[[], None]] = []
        self._dropped = 0

    def open(self) -> None:
        """Open the file if it is not open. Raises LocalError."""
        if self._file < 0:
            self._file = self._open_file()

    def write(self, data: bytes) -> None:
        """Append ``data``; what the file does not take is dropped and counted."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._file, view) :]
            except OSError as error:
                self._drop(len(view), str(error.strerror))
                return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warn(
                "writing to {path} again; {dropped} bytes were lost",
                path=self.path,
                dropped=dropped,
            )
        self._tell()

    def _drop(self, count: int, reason: str) -> None:
        first = not self._dropped
        self._dropped += count  # before it is told: the log that this goes to may be this very file
        if first:
            log.error("output is lost: {path}: {reason}", path=self.path, reason=reason)

    def tail(self, lines: int) -> LogPiece:
        """Return the last lines, found within the last LIMITS.tail_scan_bytes."""
        size = self._size()
        start = max(0, size - LIMITS.tail_scan_bytes)
        data = self._pread(size - start, start)
        # A newline at the very end closes the last line; it does not begin another one.
        cut = len(data) - 1 if data.endswith(b"\n") else len(data)
        for _ in range(lines):
            cut = data.rfind(b"\n", 0, cut)
            if cut < 0:
                break
        begin = cut + 1 if lines > 0 else len(data)
        begin = max(begin, len(data) - LIMITS.piece_bytes)
        return LogPiece(offset=start + begin, size=size, data=data[begin:])

    def read(self, offset: int, length: int) -> LogPiece:
        """Return at most LIMITS.piece_bytes from ``offset`` on."""
        size = self._size()
        length = max(0, min(length, LIMITS.piece_bytes, size - offset))
        return LogPiece(offset=offset, size=size, data=self._pread(length, offset))

    def watch(self, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` after each change of the file."""
        self._size()
        self._watchers.append(grown)
        return lambda: self._watchers.remove(grown)

    def clear(self) -> None:
        """Truncate the file that is held open; nobody can swap it for another one."""
        self._size()
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise Refused(f"cannot empty {self.path}: {error.strerror}") from None
        self._tell()

    def reopen(self) -> None:
        """Open the file anew by its name; the old one is kept if that fails."""
        if self._file >= 0 or self._dropped:
            self._use(self._open_file())

    def move(self, path: str, open_file: OpenFile) -> None:
        """Go on in another file. Raises LocalError, and goes on in the old one."""
        fresh = open_file()
        self.path, self._open_file = path, open_file
        self._use(fresh)

    def _use(self, fresh: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = fresh
        self._tell()

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _size(self) -> int:
        try:
            self.open()
        except LocalError as error:
            raise Refused(str(error)) from None
        return os.fstat(self._file).st_size

    def _pread(self, length: int, offset: int) -> bytes:
        try:
            return os.pread(self._file, length, offset)
        except OSError as error:
            raise Refused(f"cannot read {self.path}: {error.strerror}") from None

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()


class ProgramLog(LogFile):
    """A log file that programs write to through a pipe.

    A pipe that was left behind by the daemon before this one is read at once, and the file opened for
    the first that comes out of it.
    """

    def __init__(
        self, path: str, open_file: OpenFile, new_pipe: Callable[[Write], LogPipe]
    ) -> None:
        super().__init__(path, open_file)
        self._pipe = new_pipe(self._written)

    def writer(self, owner: int) -> int:
        """Return a writing end of the pipe."""
        try:
            self.open()
        except LocalError as error:
            why = error.__cause__
            passes = isinstance(why, OSError) and why.errno in PASSING
            raise SpawnError(f"log not writable: {error}", permanent=not passes) from None
        return self._pipe.writer(owner)

    def drain(self) -> None:
        """Append what is in the pipe now."""
        self._pipe.drain()

    def is_read(self) -> bool:
        """True if there is a pipe."""
        return self._pipe.fileno() >= 0

    def close(self) -> None:
        """Append what is in the pipe now, and close the pipe and the file."""
        self._pipe.close()
        super().close()

    def _written(self, data: bytes) -> None:
        if self._file < 0 and not self._dropped:  # tried once; to open a file may cost a process
            try:
                self.open()
            except LocalError as error:
                self._drop(len(data), str(error))
                return
        self.write(data)


class PassedOn:
    """Output that goes straight to a device, a FIFO or a stream of the daemon's own.

    The process gets the descriptor itself, so the daemon neither sees nor delays a byte of it.
    """

    def __init__(self, where: str, open_writer: OpenFile) -> None:
        self._where = where
        self._open_writer = open_writer

    def writer(self, owner: int) -> int:
        """Return a new descriptor of the target."""
        try:
            return self._open_writer()
        except LocalError as error:
            raise SpawnError(f"log not writable: {error}", permanent=True) from None
        except OSError as error:
            reason = f"log not writable: {self._where}: {error.strerror}"
            raise SpawnError(reason, permanent=True) from None

    def tail(self, lines: int) -> LogPiece:
        """Refuse: nothing was kept."""
        raise self._refusal()

    def read(self, offset: int, length: int) -> LogPiece:
        """Refuse: nothing was kept."""
        raise self._refusal()

    def watch(self, grown: Callable[[], None]) -> Cancel:
        """Refuse: nothing is kept."""
        raise self._refusal()

    def clear(self) -> None:
        """Refuse: nothing was kept."""
        raise self._refusal()

    def drain(self) -> None:
        """Do nothing: what was written has arrived."""

    def is_read(self) -> bool:
        """Return True: nothing of ours is in between."""
        return True

    def reopen(self) -> None:
        """Do nothing: no file is held open."""

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _refusal(self) -> Refused:
        return Refused(f"its output goes to {self._where} and is not kept")


def output_for(
    logfile: str, open_file: Callable[[str], int], new_pipe: Callable[[Write], LogPipe]
) -> Output:
    """Return the output for a program's ``logfile`` setting.

    ``open_file(path)`` opens a regular file for reading and appending; it raises LocalError.
    ``new_pipe`` makes the pipe for such a file.
    """
    if logfile == DISCARD:
        return PassedOn("nowhere (logfile none)", lambda: os.open(os.devnull, os.O_WRONLY))
    if logfile in DAEMON_STREAMS:
        stream = DAEMON_STREAMS.index(logfile) + 1
        return PassedOn(f"supervisord's {logfile}", lambda: os.dup(stream))
    if _is_special(logfile):
        return PassedOn(logfile, lambda: _open_special(logfile))
    return ProgramLog(logfile, lambda: open_file(logfile), new_pipe)


def _is_special(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _open_special(path: str) -> int:
    """Open a device or FIFO without waiting for somebody at its other end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
    os.set_blocking(descriptor, True)
    return descriptor
