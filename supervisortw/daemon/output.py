"""Where the output of a program goes, and how it is read back.

A log file is kept open from the first start on, over all restarts; what programs write into the pipe of
the log is appended to it as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisortw.core.model import Process
from supervisortw.core.status import LogPiece
from supervisortw.daemon.lineform import style_of
from supervisortw.daemon.linesink import LineSink
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.logpipe import LogPipe, Sink
from supervisortw.errors import PASSING, LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel


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

    def keep(self, process: Process) -> None:
        """Write, and keep what is written, as ``process`` says from now on."""


class ProgramLog:
    """A log file that programs write to through a pipe.

    A pipe that was left behind by the daemon before this one is read at once, and the file opened for
    the first that comes out of it. ``lines_for(process)`` is what forms the lines, None where they are
    not touched.
    """

    def __init__(
        self,
        file: LogFile,
        new_pipe: Callable[[Sink], LogPipe],
        process: Process,
        lines_for: Callable[[Process], LineSink | None],
    ) -> None:
        self.file = file
        self._style = style_of(process)
        self._lines_for = lines_for
        self._lines = lines_for(process)
        self._pipe = new_pipe(self)
        if self._lines is not None and self.is_read():
            self._lines.follow_death()

    def take(self, pipe: int) -> int:
        """Move some of what is in the pipe to the file."""
        return self.file.take(pipe) if self._lines is None else self._lines.take(pipe)

    def writer(self, owner: int) -> int:
        """Return a writing end of the pipe."""
        try:
            self.file.open()
        except LocalError as error:
            raise not_writable(error) from None
        return self._pipe.writer(owner)

    def drain(self) -> None:
        """Append what is in the pipe now."""
        self._pipe.drain()
        self._end_line()

    def _end_line(self) -> None:
        if self._lines is not None:
            self._lines.flush()

    def is_read(self) -> bool:
        """True if there is a pipe."""
        return self._pipe.fileno() >= 0

    def keep(self, process: Process) -> None:
        """Form lines, and keep the file small, in another way from now on."""
        self.file.keep(process.keeping)
        if self._style != style_of(process):
            self._end_line()
            self._style = style_of(process)
            self._lines = self._lines_for(process)

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
        self._end_line()
        self.file.close()


class NotKept:
    """Output that cannot be read back; ``where`` is where it goes."""

    def __init__(self, where: str) -> None:
        self._where = where

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

    def _refusal(self) -> Refused:
        return Refused(f"its output goes to {self._where} and is not kept")


class PassedOn(NotKept):
    """Output whose writer has a descriptor of where it goes, so that we neither see nor delay a byte."""

    def __init__(self, where: str, open_writer: Callable[[], int]) -> None:
        super().__init__(where)
        self._open_writer = open_writer

    def writer(self, owner: int) -> int:
        """Return a new descriptor of where it goes."""
        try:
            return self._open_writer()
        except OSError as error:
            reason = f"log not writable: {self._where}: {error.strerror}"
            raise SpawnError(reason, permanent=error.errno not in PASSING) from None

    def drain(self) -> None:
        """Do nothing: what was written has arrived."""

    def is_read(self) -> bool:
        """Return True: nothing of ours is in between."""
        return True

    def keep(self, process: Process) -> None:
        """Do nothing: nothing is kept."""

    def reopen(self) -> None:
        """Do nothing: no file is held open."""

    def note(self) -> str:
        """Return nothing: nothing is known of it."""
        return ""

    def close(self) -> None:
        """Do nothing: nothing is held open."""


def not_writable(error: LocalError) -> SpawnError:
    """Return what stops a start that has nowhere to write to."""
    why = error.__cause__
    passes = isinstance(why, OSError) and why.errno in PASSING
    return SpawnError(f"log not writable: {error}", permanent=not passes)
