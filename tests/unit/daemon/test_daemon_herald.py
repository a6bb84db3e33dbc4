"""Telling of what has happened, once there is nothing more urgent to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fakes.logged import log_lines

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.states import State
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.herald import Herald
from supervisortw.daemon.nested import Nested


class Turns:
    """A clock for what is due in the next turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, act: Callable[..., object], *arguments: object) -> None:
        assert delay == 0
        self.due.append((act, arguments))


class Listener:
    """Somebody to be told, and a herald who does it; telling ``takes`` some time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Turns()
        self.takes = 0.0
        self.told: list[str] = []
        bus = EventBus()
        bus.subscribe(self._hear)
        self.herald = Herald(self.clock, bus.publish, limits=limits)

    def _hear(self, change: StateChanged) -> None:
        self.told.append(change.name)
        self.clock.now += self.takes

    def happens(self, *names: str) -> None:
        for name in names:
            self.herald.take(
                StateChanged(
                    time=0.0,
                    name=name,
                    before=State.STOPPED,
                    after=State.STARTING,
                    pid=1,
                    detail="",
                )
            )

    def turn(self) -> None:
        """Let a turn of the reactor pass, and no other."""
        due, self.clock.due = self.clock.due, []
        for act, arguments in due:
            act(*arguments)

    @property
    def is_at_rest(self) -> bool:
        """True if nothing is due: nothing polls."""
        return not self.clock.due


def test_it_is_told_in_the_next_turn() -> None:
    listener = Listener()
    listener.happens("a")
    assert listener.told == []
    listener.turn()
    assert listener.told == ["a"]
    assert listener.is_at_rest
    listener.happens("b")
    listener.turn()
    assert listener.told == ["a", "b"]


def test_what_goes_on_happening_goes_before() -> None:
    listener = Listener()
    for name in "abc":
        listener.happens(name, name.upper())
        listener.turn()
    assert listener.told == []
    listener.turn()
    assert listener.told == ["a", "A", "b", "B", "c", "C"]
    assert listener.is_at_rest


def test_but_not_for_ever() -> None:
    listener = Listener()
    turns = 0
    while not listener.told:
        listener.happens("a", "b")
        listener.turn()
        listener.clock.now += LIMITS.telling_seconds / 10
        turns += 1
    assert 10 <= turns <= 12


def test_a_turn_tells_as_much_as_there_is_time_for() -> None:
    listener = Listener()
    listener.takes = LIMITS.turn_seconds / 2
    listener.happens(*"abcde")
    listener.turn()
    told = []
    for _ in range(3):
        listener.turn()
        told.append("".join(listener.told))
    assert told == ["ab", "abcd", "abcde"]
    assert listener.is_at_rest


def test_who_needs_all_of_it_now_gets_it() -> None:
    listener = Listener()
    listener.happens("a", "b")
    listener.herald.catch_up()
    assert listener.told == ["a", "b"]
    listener.herald.catch_up()
    listener.turn()
    assert listener.told == ["a", "b"]
    assert listener.is_at_rest


def test_no_more_than_so_many_wait() -> None:
    listener = Listener(Limits(changes_untold=3))
    listener.happens(*"abcde")
    assert listener.told == ["a", "b"]
    listener.turn()
    listener.turn()
    assert listener.told == ["a", "b", "c", "d", "e"]


def test_trouble_with_one_does_not_keep_the_others_waiting() -> None:
    clock = Turns()
    told: list[str] = []

    def tell(name: str) -> None:
        if name == "bad":
            raise ValueError("no")
        told.append(name)

    herald = Herald(clock, tell)
    for name in ("a", "bad", "b"):
        herald.take(name)
    with log_lines() as lines:
        herald.catch_up()
    assert told == ["a", "b"]
    assert "telling of bad came to nothing" in lines[0]


def test_what_is_told_in_a_turn_is_told_together() -> None:
    listener = Listener()
    depth = []
    together = Nested(lambda: depth.append(len(listener.told)))
    herald: Herald[str] = Herald(listener.clock, listener.told.append, together=lambda: together)
    for name in "abc":
        herald.take(name)
    listener.turn()
    listener.turn()
    assert listener.told == ["a", "b", "c"]
    assert depth == [3]


def test_trouble_at_the_end_of_a_turn_is_not_the_end_of_telling() -> None:
    clock = Turns()
    told: list[str] = []

    @contextmanager
    def together() -> Iterator[None]:
        yield
        if len(told) == 1:
            raise OSError("the disk")

    herald = Herald(clock, told.append, together=together)
    herald.take("a")
    due, clock.due = clock.due, []
    with pytest.raises(OSError, match="the disk"):
        due[0][0](*due[0][1])
    herald.take("b")
    due, clock.due = clock.due, []
    due[0][0](*due[0][1])
    assert told == ["a", "b"]
