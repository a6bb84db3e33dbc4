"""The log a second time, for whoever has supervisord in the foreground: shown, never waited for."""

from __future__ import annotations

from twisted.logger import Logger

from supervisortw.daemon.target import Target

log = Logger(namespace="supervisor")


class Echo:
    """Gives lines to ``target``, a stream that is shared with programs.

    Lines for which there is no room are left out and counted, which is told once it takes lines again;
    the log itself has all of them.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._left_out = 0

    def write(self, line: bytes) -> None:
        """Show ``line``, now or later, or leave it out."""
        if not self._target.has_room(self):
            self._left_out += 1
            return
        self._target.put(self, (line,))
        self.room()

    def room(self) -> None:
        """Tell how much was left out, if anything was."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warn("standard output is read again; lines missing there: {count}", count=left_out)

    def lost(self, data: bytes) -> None:
        """Nobody is there any more, and nobody misses it."""
