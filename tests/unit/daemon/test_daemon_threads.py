"""Work in a thread, and without one where there can be none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fakes.asking import Asked

from supervisortw.daemon.threads import in_thread


class NoThreads:
    """A reactor, and its pool, which can start no thread, but notes them."""

    def __init__(self) -> None:
        self.threads = [threading.current_thread()]

    def getThreadPool(self) -> NoThreads:
        return self

    def callInThreadWithCallback(self, told: Callable[..., Any], *call: Any) -> None:
        self.threads.append(threading.Thread())
        raise RuntimeError("can't start new thread")


def test_what_no_thread_can_do_is_done_here() -> None:
    reactor = NoThreads()
    assert Asked(in_thread(reactor, int, "12")).answer == 12
    assert reactor.threads == [threading.current_thread()], "who has not begun does not end"


def test_what_it_raises_is_told_as_by_a_thread() -> None:
    asked = Asked(in_thread(NoThreads(), int, "twelve"))
    with pytest.raises(ValueError, match="twelve"):
        _ = asked.answer
