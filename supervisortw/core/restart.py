"""What follows after a program has died: start again, wait, end, or give up.

A death is *too quick* while the program is STARTING, or within ``backoff_limit`` seconds of its
start. After the first too quick death the next start waits ``restart_delay`` seconds, after each
further one in a row twice as long, up to ``restart_delay_max``; each wait is made a little longer or
shorter, so that programs that died together do not come back together. The program is given up at the
``backoff_limit``-th too quick death in a row, or after ``start_retries`` retries where that is given,
unless it is to be tried for ever.

A run of ``stable_seconds`` lets the count begin anew; where that is not given, so does every death that
was not too quick.

Apart from that, where ``restart_limit`` is given, more restarts than that within ``restart_period``
seconds give the program up, however long it lived each time.
"""

from __future__ import annotations

from typing import NamedTuple

from supervisortw.core.model import AutoRestart, Program
from supervisortw.core.states import State

EXPECTED_BY_DEFAULT = frozenset({0})
MOST_DOUBLINGS = 32  # further deaths change no delay


class Tally(NamedTuple):
    """What is remembered of deaths: how many in a row were too quick, and when restarts were made."""

    quick_deaths: int = 0
    restarts: tuple[float, ...] = ()


class Moment(NamedTuple):
    """When something happened, by a monotonic clock, and a random number from 0 up to 1."""

    at: float = 0.0
    chance: float = 0.5


class Verdict(NamedTuple):
    """The state that follows, the tally from now on, and for BACKOFF the seconds to wait."""

    next: State
    tally: Tally
    delay: float = 0.0


def after_death(
    program: Program, tally: Tally, code: int | None, uptime: float, moment: Moment, *, early: bool
) -> Verdict:
    """Judge a death with exit ``code`` (None: by a signal) after ``uptime`` seconds.

    A code that ends supervision does so however soon it comes: the program said so itself.
    """
    if is_expected(program, code) or program.auto_restart is AutoRestart.NEVER:
        return Verdict(State.EXITED, Tally())
    if early or uptime < program.backoff_limit:
        return _too_quick(program, tally, moment)
    stable = program.stable_seconds is None or uptime >= program.stable_seconds
    after = Tally(0 if stable else tally.quick_deaths, tally.restarts)
    return _counted(program, Verdict(State.WAITING, after), moment)


def after_failed_spawn(
    program: Program, tally: Tally, moment: Moment, *, permanent: bool
) -> Verdict:
    """Judge a start that made no process at all."""
    if program.auto_restart is AutoRestart.NEVER or (permanent and not program.forever):
        return Verdict(State.FATAL, tally)
    return _too_quick(program, tally, moment)


def is_expected(program: Program, code: int | None) -> bool:
    """True if ``code`` is one that ends the supervision of the program."""
    listed = program.exit_codes
    if program.auto_restart is AutoRestart.UNEXPECTED and not listed:
        listed = EXPECTED_BY_DEFAULT
    return code in listed


def too_many_restarts(program: Program, tally: Tally) -> bool:
    """True if it was the number of restarts that a FATAL program was given up for."""
    return program.restart_limit is not None and len(tally.restarts) > program.restart_limit


def tries_left(program: Program, tally: Tally, uptime: float | None) -> int | None:
    """Return after how many too quick deaths more it is given up; None means never.

    ``uptime`` is how long its process lives by now, None if there is none.
    """
    if program.auto_restart is AutoRestart.NEVER:
        return 0
    if program.forever:
        return None
    stable = program.backoff_limit if program.stable_seconds is None else program.stable_seconds
    recovered = uptime is not None and uptime >= max(stable, program.backoff_limit)
    return max(0, _retries(program) + 1 - (0 if recovered else tally.quick_deaths))


def restarts_left(program: Program, tally: Tally, now: float) -> int | None:
    """Return how many restarts more are allowed now; None means any number."""
    if program.restart_limit is None:
        return None
    since = now - program.restart_period
    return max(0, program.restart_limit - sum(at > since for at in tally.restarts))


def _retries(program: Program) -> int:
    retries = program.start_retries
    return program.backoff_limit - 1 if retries is None else retries


def _too_quick(program: Program, tally: Tally, moment: Moment) -> Verdict:
    count = tally.quick_deaths + 1
    if program.forever:
        count = min(count, MOST_DOUBLINGS)
    elif count > _retries(program):
        return Verdict(State.FATAL, Tally(count, tally.restarts))
    backoff = Verdict(State.BACKOFF, Tally(count, tally.restarts), _delay(program, count, moment))
    return _counted(program, backoff, moment)


def _delay(program: Program, quick_deaths: int, moment: Moment) -> float:
    doublings = min(quick_deaths - 1, MOST_DOUBLINGS)
    delay = min(program.restart_delay * 2.0**doublings, program.restart_delay_max)
    return delay * (1.0 + program.restart_jitter * (2.0 * moment.chance - 1.0))


def _counted(program: Program, verdict: Verdict, moment: Moment) -> Verdict:
    """Count the restart that ``verdict`` means, and give up if there were too many of them lately."""
    if program.restart_limit is None:
        return verdict
    since = moment.at - program.restart_period
    lately = (*(at for at in verdict.tally.restarts if at > since), moment.at)
    tally = Tally(verdict.tally.quick_deaths, lately)
    if len(lately) > program.restart_limit:
        return Verdict(State.FATAL, tally)
    return Verdict(verdict.next, tally, verdict.delay)
