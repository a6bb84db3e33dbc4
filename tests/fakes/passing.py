"""Letting time pass on a Clock as it does in a reactor: from one call that is due to the next."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock


def pass_time(clock: Clock, seconds: float, turn: Callable[[], object] = lambda: None) -> None:
    """Let ``seconds`` pass; ``turn`` is called after each moment at which something happened."""
    end = clock.seconds() + seconds
    while True:
        due = [call.getTime() for call in clock.getDelayedCalls() if call.getTime() <= end]
        if not due:
            break
        clock.advance(max(0.0, min(due) - clock.seconds()))
        turn()
    clock.advance(end - clock.seconds())
    turn()
