"""The lines of standard input."""

from __future__ import annotations

import sys
import threading
from typing import Any

from twisted.internet.defer import Deferred


class StandardInput:
    """The lines of standard input, each read in a thread that nobody waits for at the end.

    Whoever stops waiting for a line leaves it to the next one who does.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._reading = False
        self._wanted: Deferred[str] = Deferred()

    async def next_line(self) -> str:
        """Return the next line; an empty text at the end of the input."""
        wanted: Deferred[str] = Deferred()
        self._wanted = wanted
        if not self._reading:
            self._reading = True
            threading.Thread(target=self._read, daemon=True).start()
        return await wanted

    def _read(self) -> None:
        self._reactor.callFromThread(self._came, sys.stdin.readline())

    def _came(self, line: str) -> None:
        self._reading = False
        if not self._wanted.called:
            self._wanted.callback(line)
