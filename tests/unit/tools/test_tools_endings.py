"""Which end of a process decides, for every order in which they may come."""

from __future__ import annotations

from supervisortw.tools.endings import Endings

LAUNCHER, REAL, OTHER = 10, 20, 30


def test_nothing_is_decided_at_first() -> None:
    endings = Endings(LAUNCHER)
    assert endings.launcher_runs
    assert endings.outcome is None


def test_a_foreground_command_is_all_there_is() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(LAUNCHER, 0)
    assert not endings.launcher_runs
    assert endings.outcome is None
    assert endings.final() == 0


def test_a_launcher_that_fails_decides() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(LAUNCHER, 5)
    assert endings.outcome == 5
    endings.ended(OTHER, 6)
    assert endings.final() == 5


def test_a_launcher_that_fails_does_not_decide_once_the_real_process_is_known() -> None:
    endings = Endings(LAUNCHER)
    endings.found(REAL)
    endings.ended(LAUNCHER, 5)
    assert endings.outcome is None
    endings.ended(REAL, 6)
    assert endings.outcome == 6


def test_a_launcher_that_outlives_the_real_process_and_fails_does_not_decide() -> None:
    endings = Endings(LAUNCHER)
    endings.found(REAL)
    endings.ended(REAL, 6)
    endings.ended(LAUNCHER, 5)
    assert endings.outcome == 6


def test_a_real_process_found_in_time_makes_up_for_the_launcher() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(LAUNCHER, 5)
    endings.found(REAL)
    assert endings.outcome is None


def test_the_real_process_decides_even_with_0() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(LAUNCHER, 0)
    endings.found(REAL)
    endings.ended(OTHER, 7)
    assert endings.outcome is None
    endings.ended(REAL, 0)
    assert endings.outcome == 0
    endings.ended(OTHER, 7)
    assert endings.final() == 0


def test_a_launcher_may_be_the_real_process() -> None:
    endings = Endings(LAUNCHER)
    endings.found(LAUNCHER)
    endings.ended(LAUNCHER, 0)
    assert endings.outcome == 0
    assert not endings.launcher_runs


def test_a_successor_takes_over() -> None:
    endings = Endings(LAUNCHER)
    endings.found(REAL)
    endings.ended(REAL, 1)
    endings.found(OTHER)
    assert endings.outcome is None
    endings.ended(OTHER, 2)
    assert endings.outcome == 2


def test_without_a_real_process_the_last_one_counts() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(LAUNCHER, 0)
    endings.ended(OTHER, 3)
    endings.ended(OTHER + 1, 0)
    assert endings.final() == 0


def test_what_ended_at_the_same_time_does_not_hide_a_failure() -> None:
    endings = Endings(LAUNCHER)
    endings.ended(OTHER, 3)
    endings.ended(LAUNCHER, 0)
    endings.ended(OTHER + 1, 0, together=True)
    assert endings.final() == 3
