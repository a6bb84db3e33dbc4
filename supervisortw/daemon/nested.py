"""Putting something off while others are at work, some of them on behalf of others."""

from __future__ import annotations

from collections.abc import Callable


class Nested:
    """A context that can be entered within itself.

    Calls ``begin`` before the outermost one begins, and ``over`` when it has ended. ``depth`` is how
    often it was entered. What many enter for a moment each has to be as light as that.
    """

    def __init__(self, over: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
        self._begin = begin
        self._over = over
        self.depth = 0

    def __enter__(self) -> None:
        if not self.depth:
            self._begin()
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        if not self.depth:
            self._over()
