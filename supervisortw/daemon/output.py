"""Where the output of a program goes, and how it is read back.

A log file is kept open from the first start on, over all restarts; what programs write into the pipe of
the log is appended to it as it comes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Protocol

from supervisortw.core.model import DAEMON_STREAMS, DISCARD, Keeping
from supervisortw.core.status import LogPiece
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.logpipe import LogPipe, Sink
from supervisortw.errors import PASSING, LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel

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

    def note(self) -> str:
        """Return what an operator should know about it, as the end of a sentence, or nothing."""

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

    def keep(self, keeping: Keeping) -> None:
        """Keep what is written in another way from now on."""


class ProgramLog:
    """A log file that programs write to through a pipe.

    A pipe that was left behind by the daemon before this one is read at once, and the file opened for
    the first that comes out of it.
    """

    def __init__(self, file: LogFile, new_pipe: Callable[[Sink], LogPipe]) -> None:
        self.file = file
        self._pipe = new_pipe(file)

    def writer(self, owner: int) -> int:
        """Return a writing end of the pipe."""
        try:
            self.file.open()
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

    def keep(self, keeping: Keeping) -> None:
        """Keep the file small in another way from now on."""
        self.file.keep(keeping)

    def tail(self, lines: int) -> LogPiece:
        """Return the last lines."""
        return self.file.tail(lines)

    def read(self, offset: int, length: int) -> LogPiece:
        """Return bytes from ``offset`` on."""
        return self.file.read(offset, length)

    def watch(self, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` after each change of the log."""
        return self.file.watch(grown)

    def clear(self) -> None:
        """Empty the file."""
        self.file.clear()

    def reopen(self) -> None:
        """Open the file anew by its name."""
        self.file.reopen()

    def note(self) -> str:
        """Return what an operator should know about the file."""
        return self.file.note()

    def close(self) -> None:
        """Append what is in the pipe now, and close the pipe and the file."""
        self._pipe.close()
        self.file.close()


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

    def keep(self, keeping: Keeping) -> None:
        """Do nothing: nothing is kept."""

    def reopen(self) -> None:
        """Do nothing: no file is held open."""

    def note(self) -> str:
        """Return nothing: nothing is known of it."""
        return ""

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _refusal(self) -> Refused:
        return Refused(f"its output goes to {self._where} and is not kept")


def output_for(
    logfile: str, file: Callable[[], LogFile], new_pipe: Callable[[Sink], LogPipe]
) -> Output:
    """Return the output for a program's ``logfile`` setting.

    ``file`` makes the log for a regular file, and ``new_pipe`` the pipe for it.
    """
    if logfile == DISCARD:
        return PassedOn("nowhere (logfile none)", lambda: os.open(os.devnull, os.O_WRONLY))
    if logfile in DAEMON_STREAMS:
        stream = DAEMON_STREAMS.index(logfile) + 1
        return PassedOn(f"supervisord's {logfile}", lambda: os.dup(stream))
    if _is_special(logfile):
        return PassedOn(logfile, lambda: _open_special(logfile))
    return ProgramLog(file(), new_pipe)


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
