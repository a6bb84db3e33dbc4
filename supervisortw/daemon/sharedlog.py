"""Output that is kept in no file: it goes on to a stream, a device or a syslog server."""

from __future__ import annotations

from collections.abc import Callable

from supervisortw.core.model import Process
from supervisortw.daemon.lineform import style_of
from supervisortw.daemon.linesink import LineSink
from supervisortw.daemon.logpipe import LogPipe, Sink
from supervisortw.daemon.outlet import Outlet
from supervisortw.daemon.output import NotKept, not_writable
from supervisortw.errors import LocalError


class SharedLog(NotKept):
    """Lines that go to a target, which other logs may have, too.

    ``outlet_for(process)`` is the way there, and ``release`` is told when it is used no more.
    """

    def __init__(
        self,
        new_pipe: Callable[[Sink], LogPipe],
        process: Process,
        outlet_for: Callable[[Process], Outlet],
        release: Callable[[Outlet], None],
    ) -> None:
        self._outlet_for = outlet_for
        self._release = release
        self._style = style_of(process)
        self._outlet = outlet_for(process)
        super().__init__(self._outlet.target.where)
        self._lines = LineSink(self._outlet)
        self._pipe = new_pipe(self._lines)
        if self.is_read():
            self._lines.follow_death()

    def writer(self, owner: int) -> int:
        """Return a writing end of the pipe."""
        try:
            self._outlet.target.open()
        except LocalError as error:
            raise not_writable(error) from None
        return self._pipe.writer(owner)

    def drain(self) -> None:
        """Pass on what is in the pipe now, and what is no whole line."""
        self._pipe.drain()
        self._lines.flush()

    def is_read(self) -> bool:
        """True if there is a pipe."""
        return self._pipe.fileno() >= 0

    def keep(self, process: Process) -> None:
        """Form lines in another way, or send them to another server, from now on."""
        if self._style == style_of(process):
            return
        self._style = style_of(process)
        before, self._outlet = self._outlet, self._outlet_for(process)
        self._outlet.follow(before)
        self._where = self._outlet.target.where
        self._lines.writer = self._outlet
        self._release(before)

    def reopen(self) -> None:
        """Open the target anew by its name."""
        self._outlet.retry()
        self._outlet.target.reopen()

    def note(self) -> str:
        """Return what an operator should know about it."""
        return self._outlet.note()

    def close(self) -> None:
        """Pass on what is in the pipe now, and let go of everything."""
        self._pipe.close()
        self._lines.flush()
        self._release(self._outlet)
