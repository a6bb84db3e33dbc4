"""Asking for something, and looking at what came of it, without a reactor."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

Answer = TypeVar("Answer")


class Asked(Generic[Answer]):
    """Something that was asked for: whether it is done, and what came of it."""

    def __init__(self, waiting: Coroutine[Deferred[Any], Any, Answer] | Deferred[Answer]) -> None:
        self._results: list[Any] = []
        self._deferred = ensureDeferred(waiting)
        self._deferred.addBoth(self._results.append)

    @property
    def done(self) -> bool:
        return bool(self._results)

    @property
    def answer(self) -> Answer:
        """Return the answer, or raise what went wrong; it must have been answered by now."""
        assert self.done, "still waiting"
        result = self._results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result  # type: ignore[no-any-return]

    def cancel(self) -> None:
        """Go away without waiting for the answer."""
        self._deferred.addErrback(lambda failure: None)
        self._deferred.cancel()


def answer(waiting: Coroutine[Deferred[Any], Any, Answer] | Deferred[Answer]) -> Answer:
    """Return what comes at once."""
    return Asked(waiting).answer
