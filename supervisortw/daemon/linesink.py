"""A sink that makes lines of what is in a pipe."""

from __future__ import annotations

import os
from typing import Protocol

from supervisortw.core.limits import LIMITS
from supervisortw.core.logline import LineBuffer, Piece
from supervisortw.daemon.lineform import Form
from supervisortw.daemon.logfile import LogFile

DIED = "output may be missing here: supervisord died"


class Writer(Protocol):
    """Where lines go."""

    form: Form

    def put(self, piece: Piece) -> None:
        """Write lines; what is not taken is dropped and counted."""

    def say(self, text: str) -> None:
        """Write a word of our own between them."""


class FormedFile:
    """A log file in which lines are formed."""

    def __init__(self, file: LogFile, form: Form) -> None:
        self.form = form
        self._file = file
        file.loss.form = self._word

    def put(self, piece: Piece) -> None:
        """Append lines."""
        self._file.write(b"".join(self.form.lines(piece)))

    def say(self, text: str) -> None:
        """Append a word of our own."""
        self._file.write(self._word(text))

    def _word(self, text: str) -> bytes:
        return b"".join(self.form.word(text))


class LineSink:
    """Reads a pipe, and hands whole lines to ``writer``."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._follows_death = False
        self._lines = LineBuffer(LIMITS.log_line_bytes)

    def follow_death(self) -> None:
        """A daemon has died that had read the pipe, and what it had in its memory died with it.

        Nobody knows what that was; it is told before the first line.
        """
        self._follows_death = True

    def take(self, pipe: int) -> int:
        """Move some of what is in the pipe to the writer; return how many bytes that were."""
        try:
            data = os.read(pipe, self.writer.form.read_bytes)
        except BlockingIOError:
            return 0
        if not data:
            raise EOFError
        if self._follows_death:
            self._follows_death = False
            self.writer.say(DIED)
        for piece in self._lines.add(data):
            self.writer.put(piece)
        return len(data)

    def flush(self) -> None:
        """Write what is no whole line: nothing more is expected for it."""
        for piece in self._lines.rest():
            self.writer.put(piece)
