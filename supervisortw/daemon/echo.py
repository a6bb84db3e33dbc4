"""The log a second time, for whoever has supervisord in the foreground: shown, never waited for."""

from __future__ import annotations

import os
import select
import stat

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS

log = Logger(namespace="supervisor")


class Echo:
    """Writes lines to ``stream`` as fast as it is read.

    What it does not take waits for the next line. Lines for which there is no room are left out and
    counted, which is told once it takes lines again; the log itself has all of them. ``unwaiting`` is
    what `opened_again` returns for the stream.
    """

    def __init__(self, stream: int, unwaiting: int | None) -> None:
        self._stream = stream
        self._unwaiting = unwaiting
        self._waiting = b""
        self._left_out = 0

    def write(self, line: bytes) -> None:
        """Show ``line``, now or later, or leave it out."""
        self._flush()
        if self._waiting and len(self._waiting) + len(line) > LIMITS.echo_bytes:
            self._left_out += 1
            return
        self._waiting += line
        if self._flush() and self._left_out:
            left_out, self._left_out = self._left_out, 0
            log.warn("standard output is read again; lines missing there: {count}", count=left_out)

    def _flush(self) -> bool:
        """Write what is taken at once; return whether that was all."""
        try:
            while self._waiting and (taken := self._write_at_once()):
                self._waiting = self._waiting[taken:]
        except OSError:  # nobody is there any more
            self._waiting = b""
            return False
        return not self._waiting

    def _write_at_once(self) -> int:
        try:
            if self._unwaiting is not None:
                return os.write(self._unwaiting, self._waiting)
            # Whoever shares the stream with us does not expect it to refuse, so it stays as it is.
            # What others write between these two calls can make us wait for its reader.
            _, ready, _ = select.select([], [self._stream], [], 0)
            return os.write(self._stream, self._waiting[: select.PIPE_BUF]) if ready else 0
        except BlockingIOError:
            return 0


def opened_again(stream: int) -> int | None:
    """Return a descriptor of the same terminal or pipe, which refuses instead of waiting.

    None if it is something else, belongs to another user, or is a pipe on a system without /proc.
    """
    try:
        if os.isatty(stream):
            path = os.ttyname(stream)
        elif stat.S_ISFIFO(os.fstat(stream).st_mode):
            path = f"/proc/self/fd/{stream}"
        else:
            return None
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
