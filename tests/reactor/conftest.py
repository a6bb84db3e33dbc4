"""Tests with the real reactor: each has to leave it as it was, and lose no error."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from twisted.internet import reactor
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture(autouse=True)
def _clean_reactor() -> Iterator[None]:
    """Fail for errors that nobody waited for, and for calls and descriptors that are left behind."""
    failures: list[str] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    watched = {*reactor.getReaders(), *reactor.getWriters()}
    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()  # a Deferred tells of a lost error when it is collected
    finally:
        globalLogPublisher.removeObserver(observe)
    # What is due at once would have happened in the next turn, and is gone then.
    soon = reactor.seconds() + 0.05
    left = [call for call in reactor.getDelayedCalls() if call.active() and call.getTime() > soon]
    for call in left:
        call.cancel()
    assert not failures, "\n".join(failures)
    assert not left, f"left to be called: {left}"
    fresh = {*reactor.getReaders(), *reactor.getWriters()} - watched
    assert not {each for each in fresh if "waker" not in type(each).__name__.lower()}
