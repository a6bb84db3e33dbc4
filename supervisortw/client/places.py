"""Room for so many at once, and a queue for the others, however long it is."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Places:
    """Used with ``async with``; ``number`` may be inside at a time.

    Twisted's own lets whoever waits in from within the end of another's turn. A hundred who have little
    to do in there, one inside the other, are more than the stack holds; here they come after each other.
    """

    def __init__(self, number: int) -> None:
        self.free = number
        self._waiting: deque[Deferred[None]] = deque()
        self._letting_in = False

    async def __aenter__(self) -> None:
        if self.free:
            self.free -= 1
            return
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        await waiter

    async def __aexit__(self, *_: object) -> None:
        self.free += 1
        if self._letting_in:
            return
        self._letting_in = True
        try:
            while self.free and self._waiting:
                self.free -= 1
                self._waiting.popleft().callback(None)
        finally:
            self._letting_in = False
