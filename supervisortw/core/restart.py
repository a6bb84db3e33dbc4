"""What follows after a program has died: start again, wait, end, or give up.

A death is *too quick* while the program is STARTING, or within ``backoff_limit`` seconds of its
start. After the n-th too quick death in a row the next start waits n seconds. The program is given up
at the ``backoff_limit``-th one, or after ``start_retries`` retries where that is given, unless it is
to be tried for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.core.model import AutoRestart, Program
from supervisortw.core.states import State

EXPECTED_BY_DEFAULT = frozenset({0})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that follows, and how many too quick deaths in a row there were by now."""

    next: State
    quick_deaths: int


def after_death(
    program: Program, quick_deaths: int, code: int | None, uptime: float, *, early: bool
) -> Verdict:
    """Judge a death with exit ``code`` (None: by a signal) after ``uptime`` seconds.

    A code that ends supervision does so however soon it comes: the program said so itself.
    """
    if is_expected(program, code) or program.auto_restart is AutoRestart.NEVER:
        return Verdict(State.EXITED, 0)
    if early or uptime < program.backoff_limit:
        return _too_quick(program, quick_deaths + 1)
    return Verdict(State.STARTING, 0)


def after_failed_spawn(program: Program, quick_deaths: int, *, permanent: bool) -> Verdict:
    """Judge a start that made no process at all."""
    if program.auto_restart is AutoRestart.NEVER or (permanent and not program.forever):
        return Verdict(State.FATAL, quick_deaths)
    return _too_quick(program, quick_deaths + 1)


def is_expected(program: Program, code: int | None) -> bool:
    """True if ``code`` is one that ends the supervision of the program."""
    listed = program.exit_codes
    if program.auto_restart is AutoRestart.UNEXPECTED and not listed:
        listed = EXPECTED_BY_DEFAULT
    return code in listed


def delay(quick_deaths: int) -> float:
    """Return how many seconds to wait before the next start."""
    return float(quick_deaths)


def _too_quick(program: Program, count: int) -> Verdict:
    if program.forever:
        return Verdict(State.BACKOFF, min(count, program.backoff_limit))
    retries = program.start_retries
    if retries is None:
        retries = program.backoff_limit - 1
    return Verdict(State.BACKOFF if count <= retries else State.FATAL, count)
