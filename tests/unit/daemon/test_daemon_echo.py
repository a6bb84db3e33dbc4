"""The log on standard output: shown, or left out and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.logger import Logger, LogPublisher, formatEvent

from supervisortw.daemon.backlog import Giver
from supervisortw.daemon.echo import Echo


class FakeTarget:
    """Takes what it is given unless it is ``full``."""

    where = "stdout"
    trouble = ""

    def __init__(self) -> None:
        self.full = False
        self.shown = b""

    def has_room(self, giver: Giver) -> bool:
        return not self.full

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        self.shown += b"".join(entries)

    def open(self) -> None: ...
    def reopen(self) -> None: ...
    def forget(self, giver: Giver) -> None: ...
    def finish(self, done: Callable[[], None]) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is logged."""
    events: list[Any] = []
    logger = Logger(namespace="supervisor", observer=LogPublisher(events.append))
    monkeypatch.setattr("supervisortw.daemon.echo.log", logger)
    return events


def test_lines_are_shown(told: list[Any]) -> None:
    target = FakeTarget()
    echo = Echo(target)
    echo.write(b"one\n")
    echo.write(b"two\n")
    assert target.shown == b"one\ntwo\n"
    assert told == []


@pytest.mark.parametrize("by_itself", [True, False])
def test_what_is_left_out_is_told_once_when_there_is_room(
    told: list[Any], *, by_itself: bool
) -> None:
    target = FakeTarget()
    echo = Echo(target)
    target.full = True
    for _ in range(7):
        echo.write(b"left out\n")
    assert told == []
    target.full = False
    if by_itself:
        echo.room()
    else:
        echo.write(b"next\n")
    echo.write(b"and on\n")
    [event] = told
    assert formatEvent(event) == "standard output is read again; lines missing there: 7"
    assert target.shown.endswith(b"and on\n")


def test_a_reader_that_is_gone_is_nothing_to_tell(told: list[Any]) -> None:
    target = FakeTarget()
    echo = Echo(target)
    echo.write(b"one\n")
    target.full = True
    echo.lost(b"one\n")
    assert told == []
