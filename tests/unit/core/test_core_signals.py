"""Signals by name, and which one a program is due."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGTERM

import pytest
from fakes.daemon import process

from supervisortw.core.model import OnDaemonDeath, StopStep
from supervisortw.core.signals import death_signal

COMMAND, INT, HUP = (StopStep(signal=number, wait=1.0) for number in (None, SIGINT, SIGHUP))


def test_what_is_kept_is_due_none() -> None:
    assert death_signal(process("web")) is None


@pytest.mark.parametrize(
    ("steps", "number"),
    [
        ((INT, HUP), SIGINT),
        ((COMMAND, HUP, INT), SIGHUP),
        ((COMMAND,), SIGTERM),
        ((), SIGTERM),
    ],
)
def test_the_first_signal_of_the_ladder(steps: tuple[StopStep, ...], number: int) -> None:
    stopped = process("web", on_daemon_death=OnDaemonDeath.STOP, stop_steps=steps)
    assert death_signal(stopped) == number
