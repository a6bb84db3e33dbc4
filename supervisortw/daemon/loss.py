"""What a log did not take, from the first byte that was lost until it takes some again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.logline import word
from supervisortw.interfaces import Clock

log = Logger(namespace="supervisor")


class Loss:
    """Counts what is lost of a log, tells of it once, and says when to try again.

    ``bytes`` were lost since the log took something, and ``total`` ever; ``reason`` is why. ``form``
    makes a line of the log of what we have to say. What goes wrong again and again is told once in a
    while.
    """

    def __init__(self, clock: Clock) -> None:
        self.bytes = 0
        self.total = 0
        self.reason = ""
        self.form: Callable[[str], bytes] = raw_line
        self._last_reason = ""
        self._is_told = False
        self._next_telling = 0.0
        self._clock = clock
        self._ends_with_line = True
        self._next_try = 0.0

    def is_to_wait(self) -> bool:
        """True for a moment after something went wrong: what is printed meanwhile is lost."""
        return self._clock.seconds() < self._next_try

    def begin(self, path: str, reason: str) -> None:
        """Something has gone wrong; it is told if nothing had before."""
        self._next_try = self._clock.seconds() + LIMITS.log_retry_seconds
        is_news = not self.reason
        self.reason = reason  # before it is told: the log that this goes to may be this very one
        if is_news and self._clock.seconds() >= self._next_telling:
            self._is_told = True
            self._next_telling = self._clock.seconds() + LIMITS.log_told_seconds
            log.error("output is lost: {path}: {reason}", path=path, reason=reason)

    def add(self, data: bytes) -> None:
        """These bytes are lost."""
        if data:
            self.bytes += len(data)
            self.total += len(data)
            self._ends_with_line = data.endswith(b"\n")

    def rest_of_line(self, data: bytes) -> int:
        """Return how much of ``data`` belongs to a line whose beginning is lost."""
        return 0 if self._ends_with_line else data.find(b"\n") + 1 or len(data)

    def mark(self) -> bytes:
        """Return the line that stands in the log where something is missing."""
        return self.form(self.missing())

    def missing(self) -> str:
        """Return what the line says that stands where something is missing."""
        return f"{self.bytes} bytes are missing here: {self.reason}"

    def end(self, path: str) -> None:
        """The log takes what comes again; it is told if anything was lost."""
        lost, self.bytes = self.bytes, 0
        self._last_reason, self.reason = self.reason, ""
        self._ends_with_line = True
        is_told, self._is_told = self._is_told, False
        if lost and is_told:
            log.warn("writing to {path} again; {lost} bytes were lost", path=path, lost=lost)

    def note(self, path: str) -> str:
        """Return what an operator should know, as the end of a sentence, or nothing."""
        if self.reason:
            return f"its output is being lost, {self.total} bytes so far: {path}: {self.reason}"
        if self.total:
            return f"{self.total} bytes of its output were lost: {path}: {self._last_reason}"
        return ""

    def forget(self) -> None:
        """Let what was lost be forgotten."""
        self.total = self.bytes

    def forgive(self) -> None:
        """Try again at once: somebody has done something about it."""
        self._next_try = 0.0


def raw_line(text: str) -> bytes:
    """Return what we have to say as a line of a log whose lines are not formed."""
    return f"{word(text)}\n".encode()
