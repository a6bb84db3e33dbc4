"""Waits for a pid file to be written, without polling where the kernel can tell (inotify)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time

_MODIFY, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x2, 0x8, 0x80, 0x100
_DELETE_SELF, _MOVE_SELF, _ONLY_DIRECTORIES = 0x400, 0x800, 0x0100_0000
_MASK = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE_SELF | _MOVE_SELF | _ONLY_DIRECTORIES

# Where inotify is used up or forbidden: look that often, for that long; later when something ends.
_PAUSE_SECONDS = 0.25
_PAUSES_UNTIL_SECONDS = 60.0


class PidFileWatch:
    """Tells when it is worth to look at a pid file again.

    ``fd`` becomes readable then, and `renew` has to be called. It is -1 where the kernel does not
    tell; then `pause` says how long to wait.
    """

    def __init__(self, path: str) -> None:
        self._directory = os.path.dirname(os.path.abspath(path))
        self._watched: tuple[str, int] | None = None
        self._began = time.monotonic()
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            self.fd = -1
        if self.fd >= 0:
            self._watch()

    def pause(self) -> float | None:
        """Return after how many seconds to look without being told; None: only when told."""
        if self.fd >= 0 or time.monotonic() - self._began > _PAUSES_UNTIL_SECONDS:
            return None
        return _PAUSE_SECONDS

    def renew(self) -> None:
        """Take in what was told, and go on watching."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 64 * 1024):
                pass
        self._watch()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _watch(self) -> None:
        """Watch the directory of the file or, while it is missing, the one that it will be made in."""
        while True:
            directory = self._directory
            while not os.path.isdir(directory) and directory != "/":
                directory = os.path.dirname(directory)
            number = self._libc.inotify_add_watch(self.fd, os.fsencode(directory), _MASK)
            if number < 0:
                if ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR):
                    continue  # it went away just now
                self.close()
                return
            if self._watched is not None and self._watched[1] != number:
                self._libc.inotify_rm_watch(self.fd, self._watched[1])
            self._watched = (directory, number)
            # What was made before we watched is not told.
            if directory == self._directory or not os.path.isdir(self._next_below(directory)):
                return

    def _next_below(self, directory: str) -> str:
        rest = self._directory[len(directory) :].lstrip("/")
        return os.path.join(directory, rest.split("/", 1)[0])
