"""Who may start now: what they depend on is ready, and it is their turn.

Hundreds of processes may be due at once. In each turn of the reactor as many are let in as fit into
LIMITS.turn_seconds, so that everybody else is served as well; ``max-starting`` and ``start-delay``
space them further.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Process
from supervisortw.daemon.nested import Nested
from supervisortw.interfaces import Clock, Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """Whether a program that others depend on is ready, or at least on its way; and in words.

    ``name`` is that of its process that the others wait for.
    """

    ready: bool
    coming: bool
    text: str
    name: str = ""


class Candidate(Protocol):
    """A process that wants to start."""

    program: Process

    @property
    def is_starting(self) -> bool:
        """True from its admission until it is up, or has failed."""

    @property
    def is_being_made(self) -> bool:
        """True from its admission until its process is there, or could not be made."""

    def admitted(self) -> None:
        """Start; called once for each `Admission.ask`."""

    def prospects_changed(self) -> None:
        """Look anew at what it waits for."""


class Admission:
    """Lets candidates in, in the order in which they asked.

    ``prospect(name)`` tells how the program of that name stands. ``together()`` is a context for those
    who are let in one after the other, and ``at_once()`` is how many can be made at once. Within the
    context ``held`` nobody is let in; at its end those are for whom the turn of the reactor has time.
    """

    def __init__(
        self,
        clock: Clock,
        prospect: Callable[[str], Prospect],
        *,
        together: Callable[[], AbstractContextManager[object]] = nullcontext,
        at_once: Callable[[], int] = lambda: LIMITS.spawns_under_way,
        max_starting: int | None = None,
        start_delay: float = 0.0,
    ) -> None:
        self._clock = clock
        self._prospect = prospect
        self._together = together
        self._at_once = at_once
        self._max_starting = max_starting
        self._start_delay = start_delay
        self._blocked: dict[Candidate, None] = {}
        self._dependants: dict[str, dict[Candidate, None]] = {}  # those that are blocked
        self._queue: dict[Candidate, None] = {}
        self._starting: set[Candidate] = set()
        self._being_made: set[Candidate] = set()
        self._last = float("-inf")
        self._turn_began: float | None = None
        self._timer: Timer | None = None
        self._letting_in = False
        self._crowded = False
        self._patience: Timer | None = None
        self._held_since: float | None = None
        self.held = Nested(self._hold_no_more, self._hold)

    def configure(self, max_starting: int | None, start_delay: float) -> None:
        """Go on with other settings."""
        self._max_starting, self._start_delay = max_starting, start_delay
        self._let_in()

    def ask(self, candidate: Candidate) -> None:
        """Have ``candidate`` admitted as soon as may be, possibly before this returns."""
        if self._missing(candidate) is None:
            self._queue[candidate] = None
            self._let_in()
        else:
            self._blocked[candidate] = None
            for name in candidate.program.depends_on:
                self._dependants.setdefault(name, {})[candidate] = None

    def adopt(self, candidate: Candidate) -> None:
        """Count a process that a former daemon has started."""
        if candidate.is_starting:
            self._starting.add(candidate)

    def reconsider(self) -> None:
        """Look anew at all who are blocked: what they depend on may be other programs now."""
        blocked, self._blocked = self._blocked, {}
        self._dependants.clear()
        for candidate in blocked:
            self.ask(candidate)
            candidate.prospects_changed()

    def cancel(self, candidate: Candidate) -> None:
        """Do not admit ``candidate``; it waits no longer."""
        self._unblock(candidate)
        self._queue.pop(candidate, None)

    def _unblock(self, candidate: Candidate) -> None:
        if candidate in self._blocked:
            del self._blocked[candidate]
            for waiting in self._dependants.values():
                waiting.pop(candidate, None)

    def moved(self, candidate: Candidate) -> None:
        """Take note that ``candidate`` has come to another state."""
        if candidate in self._starting:
            if not candidate.is_being_made:
                self._being_made.discard(candidate)
            if not candidate.is_starting:
                self._starting.discard(candidate)
        if candidate.program.program in self._dependants:
            self.look_again(candidate.program.program)
        if self._queue and not self.held.depth:
            self._let_in()

    def look_again(self, program: str) -> None:
        """Look anew at those who depend on ``program``."""
        if program not in self._dependants:
            return
        for each in list(self._dependants[program]):
            if self._missing(each) is None:
                self._unblock(each)
                self._queue[each] = None
                self._let_in()
            else:
                each.prospects_changed()

    def waits_for(self, candidate: Candidate) -> str:
        """Return what a candidate that has asked is waiting for."""
        missing = self._missing(candidate) if candidate in self._blocked else None
        if missing is not None:
            return f"waiting for {missing.text}"
        if self._is_full():
            return f"waiting for its turn (max-starting {self._max_starting})"
        return "waiting for its turn"

    def blocker(self, candidate: Candidate) -> str:
        """Return the name of the process that a candidate waits for, empty if it is none."""
        missing = self._missing(candidate) if candidate in self._blocked else None
        return "" if missing is None else missing.name

    def is_next(self, candidate: Candidate) -> bool:
        """True if nothing keeps ``candidate`` out but those who come in just now."""
        return candidate in self._queue and self._start_delay <= 0 and not self._is_full()

    def is_hopeless(self, candidate: Candidate) -> bool:
        """True if ``candidate`` waits for something that is not even on its way."""
        missing = self._missing(candidate) if candidate in self._blocked else None
        return missing is not None and not missing.coming

    def _missing(self, candidate: Candidate) -> Prospect | None:
        """Return the first program that is not ready yet; one that is not even coming goes before."""
        if not candidate.program.depends_on:
            return None
        prospects = [self._prospect(name) for name in candidate.program.depends_on]
        missing = [prospect for prospect in prospects if not prospect.ready]
        hopeless = [prospect for prospect in missing if not prospect.coming]
        return next(iter(hopeless or missing), None)

    def _hold(self) -> None:
        self._held_since = self._clock.seconds()

    def _hold_no_more(self) -> None:
        try:
            self._let_in()
        finally:
            self._held_since = None

    def _let_in(self) -> None:
        if self.held.depth or self._letting_in:  # whom we let in may make room for others at once
            return
        self._letting_in = True
        try:
            while self._queue and self._may_let_in():
                with self._together():
                    self._let_some_in()
        finally:
            self._letting_in = False

    def _let_some_in(self) -> None:
        while True:
            candidate = next(iter(self._queue))
            del self._queue[candidate]
            self._last = self._clock.seconds()
            self._starting.add(candidate)
            self._being_made.add(candidate)
            candidate.admitted()
            if not self._queue or not self._may_let_in():
                return

    def _may_let_in(self) -> bool:
        """True if there is room for one more now; otherwise somebody calls `_let_in` again."""
        if self._is_full() or self._is_crowded():
            return False  # `moved` looks again
        now = self._clock.seconds()
        wait = self._last + self._start_delay - now
        if self._start_delay > 0 and wait > 0:
            self._look_after(wait)
            return False
        if self._turn_began is None:  # what went on while they were held has taken its time
            self._turn_began = now if self._held_since is None else self._held_since
            self._clock.callLater(0, self._next_turn)
        return now - self._turn_began < LIMITS.turn_seconds

    def _is_full(self) -> bool:
        return self._max_starting is not None and len(self._starting) >= self._max_starting

    def _is_crowded(self) -> bool:
        """True from when too many are being made until half of them are; so many are let in together.

        If that takes long, because some of them hang, nobody waits for it.
        """
        count, most = len(self._being_made), self._at_once()
        if count >= most:
            self._crowded = True
        elif self._crowded and count <= most // 2:
            self._relax()
        elif self._crowded and self._patience is None:
            self._patience = self._clock.callLater(LIMITS.crowded_seconds, self._lose_patience)
        return self._crowded

    def _relax(self) -> None:
        self._crowded = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self._relax()
        self._let_in()

    def _next_turn(self) -> None:
        self._turn_began = None
        self._let_in()

    def _look_after(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._timer_is_over)

    def _timer_is_over(self) -> None:
        self._timer = None
        self._let_in()
