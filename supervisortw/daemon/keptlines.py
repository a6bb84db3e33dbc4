"""A file that lines are added to, for the daemon after this one.

What is added is written at once, with one write(2) of some microseconds, and not synced: it outlives the
daemon, and the end of the machine makes all of it void. When the file has grown enough, it is written
anew with what holds. Trouble with it never stops the daemon: what it did not take is written with the
next line, as a new file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from twisted.logger import Logger

from supervisortw.daemon.keptfile import KeptFile
from supervisortw.errors import LocalError

log = Logger(namespace="supervisor")


class KeptLines:
    """Adds lines to ``kept``. The first one makes the file, in place of what was there.

    ``whole()`` returns everything that holds, the line that is just added included. The file grows up
    to ``least`` bytes, or to ``growth`` times what held when it was written anew, but not beyond
    ``most``. ``called`` is what people call it, and ``without`` what follows if it cannot be written.
    """

    def __init__(
        self,
        kept: KeptFile,
        whole: Callable[[], bytes],
        *,
        least: int,
        growth: int,
        most: int,
        called: str,
        without: str,
    ) -> None:
        self._kept = kept
        self._whole = whole
        self._least, self._growth, self._most = least, growth, most
        self._called, self._without = called, without
        self._file = -1
        self._size = 0
        self._limit = 0
        self._troubled = False
        self._removed = False

    def append(self, line: bytes) -> None:
        """Add a line, which ends with a newline."""
        if self._removed:
            return
        if self._file < 0 or self._size + len(line) > self._limit:
            self.write_anew()
            return
        try:
            whole = os.write(self._file, line) == len(line)
        except OSError as error:
            self._in_trouble(error)
            return
        self._size += len(line)
        if not whole:  # the disk is full: the next line begins a new file
            self._in_trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def write_anew(self) -> None:
        """Write a new file with all that holds, in place of the old one."""
        self.close()
        data = self._whole()
        try:
            file = self._kept.replace(data)
        except (LocalError, OSError) as error:
            self._in_trouble(error)
            return
        self._file, self._size = file, len(data)
        self._limit = min(max(self._least, self._growth * len(data)), self._most)
        if self._troubled:
            self._troubled = False
            log.info("{called} is written again", called=self._called)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def remove(self) -> None:
        """Remove the file, for good: nothing is left that somebody would have to go on with."""
        self.close()
        self._removed = True
        self._kept.remove()

    def _in_trouble(self, error: Exception) -> None:
        self.close()
        self._kept.remove()  # what is old would be believed
        if not self._troubled:
            self._troubled = True
            log.error(
                "cannot write {path}: {reason}; {without}",
                path=self._kept.path,
                reason=error.strerror if isinstance(error, OSError) else error,
                without=self._without,
            )
