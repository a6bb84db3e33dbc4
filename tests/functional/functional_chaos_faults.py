"""What is done to holder, daemon and clients in the chaos test, and how they come back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from functional_chaos_children import CHANGED, EXTRA
from functional_chaos_operator import Desire
from functional_chaos_rules import Slot, Wish
from functional_chaos_watch import Watch, now
from functional_processes import PATIENCE, wait_until, wait_until_gone
from functional_survivor import Survivor

# After so many deaths of its daemon, a holder waits for seconds before it starts the next one.
DEATHS_UNDER_ONE_HOLDER = 3
PROGRAMS = 4  # that are killed at once


class Faults:
    """Does one thing after the other to them, by chance."""

    def __init__(
        self, daemon: Survivor, watch: Watch, slots: Sequence[Slot], desire: Desire, seed: str
    ) -> None:
        self.done: Counter[str] = Counter()
        self._daemon = daemon
        self._watch = watch
        self._names = [slot.name for slot in slots if not slot.mortal]
        self._desire = desire
        self._chance = random.Random(seed)  # noqa: S311  # the same faults every time
        self._deaths = 0  # of daemons under this holder
        self._client = daemon.open_shell()
        self._asker = daemon.open_shell()

    def strike(self) -> str:
        """Do something terrible; return what."""
        chosen = self._chance.choice(self._possible())
        name = chosen.__name__.strip("_").replace("_", " ")
        self.done[name] += 1
        chosen()
        return name

    def _possible(self) -> list[Callable[[], None]]:
        guards = self._daemon.guards()
        always = [self._stop_for_a_moment, self._kill_a_client, self._kill_programs]
        if not guards.holder:
            return [*always, self._kill_daemon, self._kill_daemon]
        both = [self._kill_holder_then_daemon, self._kill_daemon_then_holder]
        if self._deaths >= DEATHS_UNDER_ONE_HOLDER:
            return [*always, *both, *both, self._kill_holder]
        daemon = [
            self._kill_daemon,
            self._kill_daemon,
            self._kill_daemon_again,
            self._kill_daemon_while_the_holder_is_stopped,
        ]
        return [*always, *daemon, *both, self._kill_holder]

    def _pause(self, longest: float) -> None:
        time.sleep(self._chance.uniform(0, longest))

    # What is done.

    def _kill_daemon(self) -> None:
        guards = self._daemon.guards()
        if not guards.daemon:
            return
        with self._watch.rules() as rules:
            rules.kills_daemon(now())
            if not guards.holder:
                rules.deserts(now())
        self._deaths += 1
        os.kill(guards.daemon, signal.SIGKILL)
        wait_until_gone(guards.daemon)
        self._perhaps_kill_programs()

    def _kill_daemon_again(self) -> None:
        self._kill_daemon()
        self._pause(0.8)
        self._kill_daemon()

    def _kill_daemon_while_the_holder_is_stopped(self) -> None:
        with self._stopped([self._daemon.guards().holder]):
            self._kill_daemon()
            self._pause(1)

    def _kill_holder(self) -> None:
        guards = self._daemon.guards()
        with self._watch.rules() as rules:
            rules.kills_holder(now())
            if not guards.daemon:
                rules.deserts(now())
        self._deaths = 0
        os.kill(guards.holder, signal.SIGKILL)
        wait_until_gone(guards.holder)

    def _kill_holder_then_daemon(self) -> None:
        self._kill_holder()
        self._pause(self._chance.choice([0, 0.05, 0.5]))
        self._kill_daemon()
        self._pause(0.3)

    def _kill_daemon_then_holder(self) -> None:
        self._kill_daemon()
        self._pause(self._chance.choice([0, 0.05, 0.5]))
        with self._watch.rules() as rules:
            # The next daemon, if there is one, may not have taken anything from the holder yet.
            rules.deserts(now())
        self._kill_holder()
        self._pause(0.3)

    def _stop_for_a_moment(self) -> None:
        guards = self._daemon.guards()
        there = [pid for pid in (guards.holder, guards.daemon) if pid]
        with self._stopped(self._chance.sample(there, self._chance.randint(1, len(there)))):
            self._perhaps_kill_programs()
            self._pause(1)

    @contextlib.contextmanager
    def _stopped(self, pids: Sequence[int]) -> Iterator[None]:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _kill_a_client(self) -> None:
        client, self._client = self._client, self._daemon.open_shell()
        client.begin(self._desire.next().words)
        self._pause(0.2)
        client.kill()

    def _kill_programs(self) -> None:
        with self._watch.rules():
            living = [self._watch.living[n] for n in self._names if n in self._watch.living]
        for instance in self._chance.sample(living, min(len(living), PROGRAMS)):
            self._watch.kill(instance)

    def _perhaps_kill_programs(self) -> None:
        if self._chance.random() < 0.5:
            self._kill_programs()

    # How they come back.

    def recover(self) -> None:
        """Wait until a daemon answers; start one if nobody is left who would."""
        wait_until(self._has_recovered, self._why_not, 4 * PATIENCE)
        guards = self._daemon.guards()
        with self._watch.rules() as rules:
            rules.guarded(now(), holder=bool(guards.holder))

    def _has_recovered(self) -> bool:
        guards = self._daemon.guards()
        if not guards.holder and not guards.daemon:
            self._start_again()
        # Somebody listens already while programs are being taken over.
        return self._daemon.answers() and bool(self._asker.attempt(["pid"])[0])

    def _start_again(self) -> None:
        """Start supervisord, which applies what is in the file by now, as a reload would."""
        self._deaths = 0
        with self._watch.rules() as rules:
            rules.asked(now(), dict.fromkeys({EXTRA, CHANGED} & set(rules.free()), Wish.UNKNOWN))
        self._daemon.again()

    def _why_not(self) -> str:
        return f"an answer of {self._daemon.guards()}"
