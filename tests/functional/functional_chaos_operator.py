"""Operators of the chaos test: they ask for this and that, whatever happens to the daemon."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from functional_chaos_children import CHANGED, EXTRA, MOST, NOT_ASKED_FOR, POOL, pool_beyond
from functional_chaos_rules import Wish
from functional_chaos_watch import Watch, now
from functional_survivor import Survivor

AT_ONCE = 3  # programs in one command
DOWN_AT_MOST = 12  # programs that are stopped


@dataclass(frozen=True, slots=True)
class Request:
    """A command, and what it wants."""

    words: list[str]
    wishes: Mapping[str, Wish]


class Desire:
    """Makes up requests for slots of which nobody else is asking for anything."""

    def __init__(self, daemon: Survivor, watch: Watch, seed: str) -> None:
        self._daemon = daemon
        self._watch = watch
        self._chance = random.Random(seed)  # noqa: S311  # the same wishes every time
        self._variant = 0

    def next(self) -> Request:
        """Return a request, of which the rules know already."""
        with self._watch.rules() as rules:
            free = set(rules.free())
            named = sorted(free - NOT_ASKED_FOR)
            down = [name for name in named if not rules.wanted_up(name)]
            request = self._choose(free, named, down)
            rules.asked(now(), request.wishes)
        return request

    def _choose(self, free: set[str], named: list[str], down: list[str]) -> Request:
        dice = self._chance.random()
        if dice < 0.1 and free >= set(pool_beyond(0)):
            return self._scale()
        if dice < 0.2 and free >= {EXTRA, CHANGED}:
            return self._reload()
        if len(named) < AT_ONCE:  # too many requests were cut off since things were settled
            return Request(["status"], {})
        verb = self._chance.choice(["start", "stop", "restart"])
        chosen = self._chance.sample(named, self._chance.randint(1, AT_ONCE))
        if len(down) > DOWN_AT_MOST or (verb == "start" and down):
            verb, chosen = "start", self._chance.sample(down, min(len(down), len(chosen)))
        wish = Wish.DOWN if verb == "stop" else Wish.UP
        return Request([verb, *chosen], dict.fromkeys(chosen, wish))

    def _scale(self) -> Request:
        count = self._chance.randint(1, MOST)
        wishes = dict.fromkeys(pool_beyond(0), Wish.UP) | dict.fromkeys(
            pool_beyond(count), Wish.DOWN
        )
        return Request(["scale", POOL, str(count)], wishes)

    def _reload(self) -> Request:
        self._variant = 1 - self._variant
        new = self._daemon.place / "new.conf"
        text = variant_file(self._daemon, self._variant).read_text("utf-8")
        os.replace(self._daemon.save(new, text), self._daemon.config)  # nobody reads half a file
        extra = Wish.DOWN if self._variant else Wish.UP
        return Request(["reload"], {EXTRA: extra, CHANGED: Wish.UP})


def variant_file(daemon: Survivor, variant: int) -> os.PathLike[str]:
    """Return where one of the configurations is kept, to be put in place."""
    return daemon.place / f"variant{variant}.conf"


class Operator:
    """One who asks for something, waits for the answer, and asks for the next."""

    def __init__(self, daemon: Survivor, watch: Watch, desire: Desire) -> None:
        self._daemon = daemon
        self._shell = daemon.open_shell()
        self._watch = watch
        self._desire = desire
        self._turn = threading.Lock()
        self.granted = 0
        self.refused = 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Have nothing asked for meanwhile."""
        with self._turn:
            yield

    def act(self) -> None:
        """Ask for one thing, if somebody listens."""
        with self._turn:
            if not self._daemon.answers():
                return
            request = self._desire.next()
            _, complaint = self._shell.attempt(request.words)
            with self._watch.rules() as rules:
                rules.answered(now(), request.wishes, done=not complaint)
            if complaint:
                self.refused += 1
            else:
                self.granted += 1
