"""One search for everybody who asked for it in the same turn, and never two at the same time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from supervisortw.interfaces import Clock


class Rounds:
    """Begins a search soon after it was asked for; those who ask during one share the next one.

    ``search`` begins one for all who asked so far. Its Deferred fires when the search is over, and
    never fails.
    """

    def __init__(self, clock: Clock, search: Callable[[], Deferred[None]]) -> None:
        self._clock = clock
        self._search = search
        self._is_due = False
        self._goes_on = False

    def ask(self) -> None:
        """Have one more search, which begins later."""
        if not self._is_due:
            self._is_due = True
            if not self._goes_on:
                self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._is_due = False
        self._goes_on = True
        self._search().addCallback(self._over)

    def _over(self, _: None) -> None:
        self._goes_on = False
        if self._is_due:
            self._clock.callLater(0, self._begin)
