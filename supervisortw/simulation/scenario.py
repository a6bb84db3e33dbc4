"""What is to happen in a simulation, and how people write it.

Each function takes a text as it was given on a command line and returns the value, or raises ValueError
with a sentence for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from supervisortw.core.limits import LIMITS
from supervisortw.core.signals import signal_number

YEAR = 365 * 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "y": YEAR}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PART = re.compile(rf"({_NUMBER})(ms|[smhdy])")
_SPAN = re.compile(rf"{_NUMBER}|(?:{_PART.pattern})+")
_CODE = re.compile(r"[0-9]{1,3}")

AGAIN = frozenset({"...", "*"})
NEVER = "never"
CRASHED = 1 << 8  # the wait status of a process that exits with code 1

SPAN_EXPECTED = "expected a time such as 3s, 500ms, 2.5, 5m or 1h30m"
CRASH_EXPECTED = (
    "expected NAME@TIME, or NAME@TIME,TIME,..., such as web@0s,3s,7s; a time may have an exit code or a"
    " signal behind it, as in web@3s:SEGV, and '...' at the end repeats the last one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a process by itself: how long after its start, and with which wait status."""

    after: float
    status: int = CRASHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """How the processes that ``name`` means end: the first after their first start, and so on.

    Later processes live, or, if it ``repeats``, end like the last one.
    """

    name: str
    deaths: tuple[Death, ...]
    repeats: bool = False

    def death(self, start: int) -> Death | None:
        """Return how the process of that start ends, counted from 0; None if it lives."""
        if start < len(self.deaths):
            return self.deaths[start]
        return self.deaths[-1] if self.repeats else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long something takes the processes that ``name`` means; None is for ever."""

    name: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an operator asks for (start, stop or restart), of whom, and when."""

    verb: str
    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is to happen until ``until`` seconds after the start of the daemon.

    ``exec_fails`` names what cannot be started. ``stop_takes`` tells how long processes take to end
    once they were asked to, and ``ready_takes`` how long after their start they say that they are
    ready; both happen at once where it does not. Of several that name a process, the last one holds.
    ``seed`` begins the random numbers that back-off is lengthened or shortened by; without it, it is
    neither.
    """

    until: float = 600.0
    crashes: tuple[Crash, ...] = ()
    exec_fails: tuple[str, ...] = ()
    stop_takes: tuple[Wait, ...] = ()
    ready_takes: tuple[Wait, ...] = ()
    requests: tuple[Request, ...] = ()
    seed: int | None = None


def span(text: str) -> float:
    """Return a span of time in seconds."""
    if not _SPAN.fullmatch(text):
        raise ValueError(f"'{text}' is no time; {SPAN_EXPECTED}")
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else float(text)
    if seconds > LIMITS.simulated_seconds:
        longest = round(LIMITS.simulated_seconds / YEAR)
        raise ValueError(f"'{text}' is too long; a simulation covers {longest}y at most")
    return seconds


def crash(text: str) -> Crash:
    """Return what ``web@0s,3s:SEGV,...`` means.

    An exit code or a signal holds for the times before it, too, as far as they have none of their own;
    without any it is exit code 1.
    """
    name, times = _name_and(text, CRASH_EXPECTED)
    items = times.split(",")
    repeats = len(items) > 1 and items[-1] in AGAIN
    if repeats:
        items.pop()
    if AGAIN.intersection(items):
        raise ValueError(f"{text}: '...' stands once, at the end, after a time to be repeated")
    deaths: list[Death] = []
    status = CRASHED
    for item in reversed(items):
        time, colon, how = item.partition(":")
        try:
            status = _wait_status(how) if colon else status
            deaths.insert(0, Death(after=span(time), status=status))
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
    return Crash(name=name, deaths=tuple(deaths), repeats=repeats)


def _wait_status(text: str) -> int:
    """Return the wait status that an exit code or the name of a signal stands for."""
    if _CODE.fullmatch(text) and int(text) <= 255:
        return int(text) << 8
    try:
        if not text.isdigit():
            return signal_number(text)
    except ValueError:
        pass
    raise ValueError(f"'{text}' is neither an exit code from 0 to 255 nor a signal such as SEGV")


def wait(text: str) -> Wait:
    """Return what ``web@15s`` or ``web@never`` means."""
    name, time = _name_and(text, "expected NAME@TIME or NAME@never, such as web@15s")
    return Wait(name=name, seconds=None if time == NEVER else _span_of(text, time))


def request(verb: str, text: str) -> Request:
    """Return what ``web@10s`` means as the time of a request."""
    name, time = _name_and(text, "expected NAME@TIME, such as web@10s")
    return Request(verb=verb, name=name, at=_span_of(text, time))


def _name_and(text: str, expected: str) -> tuple[str, str]:
    """Return what stands before and behind the last @; a name may have one, too."""
    name, _, rest = text.rpartition("@")
    if not name or not rest:
        raise ValueError(f"'{text}': {expected}")
    return name, rest


def _span_of(text: str, time: str) -> float:
    try:
        return span(time)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
