"""Waiting for several things at once, and for one thing in several places."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

Answer = TypeVar("Answer")


async def all_of(waits: Sequence[Coroutine[Deferred[Any], Any, Answer]]) -> list[Answer]:
    """Begin all of ``waits`` in order, and return their answers when all are there."""
    running = [ensureDeferred(wait) for wait in waits]
    return list(await gatherResults(running, consumeErrors=True))


def branch_of(source: Deferred[Answer]) -> Deferred[Answer]:
    """Return a Deferred of one's own for the result of one that several wait for."""
    branch: Deferred[Answer] = Deferred()

    def pass_on(result: Answer) -> Answer:
        branch.callback(result)
        return result

    source.addCallback(pass_on)
    return branch
