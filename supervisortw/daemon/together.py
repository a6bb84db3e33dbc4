"""Waiting for several things at once, and for one thing in several places."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.python.failure import Failure

from supervisortw.daemon.turns import Turns

Answer = TypeVar("Answer")


async def in_turns(
    turns: Turns, waits: Sequence[Coroutine[Deferred[Any], Any, Answer]]
) -> list[Answer]:
    """Do as `all_of`, but begin no more in one turn of the reactor than there is time for."""
    return list(await gatherResults([_begun(turns, wait) for wait in waits], consumeErrors=True))


def _begun(turns: Turns, wait: Coroutine[Deferred[Any], Any, Answer]) -> Deferred[Answer]:
    answer: Deferred[Answer] = Deferred()

    def begin() -> None:
        ensureDeferred(wait).chainDeferred(answer)

    turns.take(begin)
    return answer


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

    def fail(failure: Failure) -> Failure:
        branch.errback(failure)
        return failure

    source.addCallbacks(pass_on, fail)
    return branch
