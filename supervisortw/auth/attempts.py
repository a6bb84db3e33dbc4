"""How often somebody may guess: failed logins, by where they came from and by whom they named.

Pure: the time comes in by argument. What is remembered is bounded, and what was used longest ago is
forgotten first.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from supervisortw.core.limits import LIMITS, Limits

T = TypeVar("T")


@dataclass(slots=True)
class _Source:
    failures: list[float] = field(default_factory=list)  # since it was last locked out
    lockout: float = 0.0  # seconds that the last one took
    until: float = 0.0
    last: float = 0.0


class Attempts:
    """Failed logins, remembered for as long as they count; ``seconds`` tells the time.

    Where many come from, nobody gets in for a while. A user who is named in many is not locked out,
    which others could do to them then: only the answer takes longer.
    """

    def __init__(self, seconds: Callable[[], float], limits: Limits = LIMITS) -> None:
        self._seconds = seconds
        self._limits = limits
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._users: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, source: str) -> int:
        """Return for how many seconds nobody may log in from ``source``; 0 means that they may."""
        found = self._sources.get(source)
        return 0 if found is None else max(0, math.ceil(found.until - self._seconds()))

    def delay(self, user: str) -> float:
        """Return how many seconds the answer to somebody who says that they are ``user`` is to wait."""
        limits = self._limits
        late = len(self._recent(user)) + 1 - limits.failures_per_user
        if late < 0:
            return 0.0
        return min(limits.login_delay_seconds * 2.0**late, limits.login_delay_seconds_most)

    def failed(self, source: str, user: str) -> int:
        """Remember a failure; return for how many seconds it locks ``source`` out, mostly 0."""
        now = self._seconds()
        recent = [*self._recent(user), now]
        _put(self._users, user, recent[-2 * self._limits.failures_per_user :], self._limits)
        return self._failed_from(source, now)

    def given_up(self, source: str) -> int:
        """Remember a login that was begun for nothing; return the same. Nobody's password was guessed."""
        return self._failed_from(source, self._seconds())

    def _failed_from(self, source: str, now: float) -> int:
        limits = self._limits
        found = self._sources.get(source)
        if found is None or now - max(found.last, found.until) >= limits.clean_seconds:
            found = _Source()
        _put(self._sources, source, found, limits)
        found.last = now
        begin = now - limits.failures_per_source_seconds
        found.failures = [*(each for each in found.failures if each > begin), now]
        if len(found.failures) < limits.failures_per_source:
            return 0
        found.failures.clear()
        found.lockout = min(
            max(limits.lockout_seconds, 2 * found.lockout), limits.lockout_seconds_most
        )
        found.until = now + found.lockout
        return math.ceil(found.lockout)

    def _recent(self, user: str) -> list[float]:
        begin = self._seconds() - self._limits.failures_per_user_seconds
        return [each for each in self._users.get(user, ()) if each > begin]


def _put(table: OrderedDict[str, T], key: str, value: T, limits: Limits) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > limits.failing_remembered:
        table.popitem(last=False)


def source_of(host: str) -> str:
    """Return what an address counts as: itself, or its network of 64 bits where one site has many."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.is_loopback:
            return str(address)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
