"""How many may be at the gate, and how many inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import TypeVar

from supervisortw.core.limits import LIMITS, Limits

Waiter = int | str | None  # a uid of this machine, a source beyond TCP, or nobody knows
_T = TypeVar("_T")


class AdmissionCounter:
    """Counts who waits at the gate and who is inside, for all listeners that share it.

    Who waits comes from a uid of this machine (None if it is not known), or over TCP, from a source
    that is named by a text. Each has a share of the room to wait, and TCP has a room of its own: what
    comes over a network keeps nobody of this machine out. Only users ``at_home`` have their share
    whoever else waits, and room inside of their own, whoever else is there.
    """

    def __init__(self, at_home: Container[int], limits: Limits = LIMITS) -> None:
        self._at_home = at_home
        self._limits = limits
        self._waiting: Counter[int | None] = Counter()
        self._remote: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._own: Counter[Waiter] = Counter()  # sessions of those at home, as whatever user
        self._refused: set[str] = set()
        self._told = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting.total() + self._remote.total()

    @property
    def sessions(self) -> int:
        """How many are inside."""
        return self._users.total() + self._own.total()

    def wait(self, waiter: Waiter) -> bool:
        """Let one more of ``waiter`` wait; false if there is no room."""
        if isinstance(waiter, str):
            room = self._has_room_for(waiter)
            if room:
                self._remote[waiter] += 1
            return room
        room = self._waiting[waiter] < self._limits.unix_connections_before_login and (
            waiter in self._at_home or self._strangers() < self._limits.strangers_before_login
        )
        if room:
            self._waiting[waiter] += 1
        return room

    def _has_room_for(self, source: str) -> bool:
        return (
            self._remote[source] < self._limits.tcp_connections_before_login_per_source
            and self._remote.total() < self._limits.tcp_connections_before_login
        )

    def leave(self, waiter: Waiter) -> None:
        """One of ``waiter`` does not wait any more."""
        if isinstance(waiter, str):
            _take_one(self._remote, waiter)
        else:
            _take_one(self._waiting, waiter)

    def _strangers(self) -> int:
        return sum(n for uid, n in self._waiting.items() if uid not in self._at_home)

    def enter(self, user: str, waiter: Waiter) -> bool:
        """Let ``user`` in once more, who has waited as ``waiter``; false if there is no room."""
        limits = self._limits
        if waiter in self._at_home:
            room = self._own[waiter] < limits.sessions_per_user
            if room:
                self._own[waiter] += 1
            return room
        room = (
            self._users.total() < limits.sessions and self._users[user] < limits.sessions_per_user
        )
        if room:
            self._users[user] += 1
        return room

    def depart(self, user: str, waiter: Waiter) -> None:
        """End one session of ``user``, who had waited as ``waiter``."""
        self._told = False
        if waiter in self._at_home:
            _take_one(self._own, waiter)
        else:
            _take_one(self._users, user)

    def first_refusal_of(self, user: str) -> bool:
        """Tell whether the refusal of ``user`` is news; who is refused cannot fill the log."""
        news = user not in self._refused and len(self._refused) < self._limits.refusals_told
        if news:
            self._refused.add(user)
        return news

    def first_refusal(self) -> bool:
        """Tell whether nobody was refused yet since there was room."""
        first, self._told = not self._told, True
        return first


def _take_one(counter: Counter[_T], key: _T) -> None:
    """Count one less of ``key``; what is counted down to nothing takes no room."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
