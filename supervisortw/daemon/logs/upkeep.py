"""What is done for logs besides writing to them: the rotation of each day, and compression."""

from __future__ import annotations

import os
from functools import partial
from typing import Protocol

from twisted.logger import Logger

from supervisortw.core.model import Keeping
from supervisortw.daemon.logs.compression import Compressor, InThread, OlderFiles
from supervisortw.daemon.logs.daily import Daily
from supervisortw.errors import LocalError

log = Logger(namespace="supervisor")


class Kept(Protocol):
    """A log that is kept up."""

    path: str
    keeping: Keeping

    def rotate(self) -> None:
        """Rotate now. Raises LocalError."""

    def older_files(self) -> OlderFiles:
        """Return where the older files are."""


class Upkeep(Protocol):
    """Who sees to logs."""

    def begin(self, kept: Kept) -> None:
        """See to a log from now on, as its ``keeping`` says by now."""

    def rotated(self, kept: Kept) -> None:
        """See to the older files: there is one more."""

    def end(self, kept: Kept) -> None:
        """See to a log no more."""

    def let_go(self, file: int) -> None:
        """Close a file that has no name any more, which takes 13 ms for 50 MB."""


class NoUpkeep:
    """Does nothing."""

    def begin(self, kept: Kept) -> None:
        """Do nothing."""

    def rotated(self, kept: Kept) -> None:
        """Do nothing."""

    def end(self, kept: Kept) -> None:
        """Do nothing."""

    def let_go(self, file: int) -> None:
        """Close it."""
        os.close(file)


class DailyUpkeep:
    """Rotates logs at their time of the day, and compresses their older files.

    ``in_thread(function, *arguments)`` calls a function in a thread.
    """

    def __init__(self, daily: Daily, compressor: Compressor, in_thread: InThread) -> None:
        self._daily = daily
        self._compressor = compressor
        self._in_thread = in_thread

    def begin(self, kept: Kept) -> None:
        """Rotate it each day at its time, if it has one."""
        self._daily.set(kept.path, kept.keeping.rotate_at, partial(_rotate, kept))

    def rotated(self, kept: Kept) -> None:
        """Compress the older files, if they are to be."""
        if kept.keeping.compress:
            self._compressor.compress(kept.path, kept.older_files())

    def end(self, kept: Kept) -> None:
        """Rotate it no more."""
        self._daily.forget(kept.path)

    def let_go(self, file: int) -> None:
        """Close it beside the reactor."""
        self._in_thread(os.close, file)


def _rotate(kept: Kept) -> None:
    try:
        kept.rotate()
    except LocalError as error:
        log.error("cannot rotate {path}: {error}", path=kept.path, error=error)
