"""The event bus."""

from __future__ import annotations

from collections.abc import Callable

from fakes.listener import RecordingListener
from fakes.logged import log_lines

from supervisortw.core.states import State
from supervisortw.daemon.events import EventBus, StateChanged


def change(name: str) -> StateChanged:
    return StateChanged(
        time=0.0, name=name, before=State.STOPPED, after=State.STARTING, pid=12, detail="why"
    )


def test_everybody_is_told_in_order() -> None:
    bus, one, two = EventBus(), RecordingListener(), RecordingListener()
    bus.publish(change("nobody listens"))
    bus.subscribe(one)
    bus.publish(change("a"))
    bus.subscribe(two)
    bus.publish(change("b"))
    assert [each.name for each in one.changes] == ["a", "b"]
    assert [each.name for each in two.changes] == ["b"]


def test_who_has_left_is_told_nothing() -> None:
    bus, one, two = EventBus(), RecordingListener(), RecordingListener()
    leave = bus.subscribe(one)
    bus.subscribe(two)
    leave()
    bus.publish(change("a"))
    assert one.changes == []
    assert len(two.changes) == 1


def test_one_that_fails_harms_nobody() -> None:
    def fail(change: StateChanged) -> None:
        raise KeyError("a mistake of ours")

    bus, listener = EventBus(), RecordingListener()
    bus.subscribe(fail)
    bus.subscribe(listener)
    with log_lines() as lines:
        bus.publish(change("a"))
    assert len(listener.changes) == 1
    assert lines[0] == "a listener failed at a: STOPPED -> STARTING (pid 12): why"


def test_one_may_leave_while_it_is_told() -> None:
    bus, listener = EventBus(), RecordingListener()
    leaves: list[Callable[[], None]] = []
    leaves.append(bus.subscribe(lambda change: leaves[0]()))
    bus.subscribe(listener)
    bus.publish(change("a"))
    bus.publish(change("b"))
    assert [each.name for each in listener.changes] == ["a", "b"]
