"""One life of one supervisor: it boots, and every step is measured on it in turn."""

from __future__ import annotations

import os
import select
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from life import LOOK_AGAIN_SECONDS, Life, seconds
from peers.base import Peer, Site
from processes import Command, Failed, pss_bytes, targets, wakeups_and_nanoseconds
from waiting import Deadline, TimedOut

# A supervisor that polls needs so long for each kill that 30 of them would never end.
KILLING_SECONDS = 45.0
STATUS_CALLS = 3
LONGEST_PAUSE_SECONDS = 5.0
GOLDEN = 0.6180339887


@dataclass(frozen=True)
class Plan:
    """What every trial does."""

    steps: tuple[str, ...]
    timeout: float
    idle: float
    kills: int


class Trial(Life):
    """Boots a peer in its site, takes the steps, and ends it."""

    def __init__(self, peer: Peer, site: Site, plan: Plan) -> None:
        super().__init__(peer, site, plan.timeout)
        self._plan = plan

    def live(self) -> None:
        """Take all steps; a failure of one of them is noted, and the rest goes on if it can."""
        methods: dict[str, Callable[[], None]] = {
            "boot": self._boot,
            "memory": self._memory,
            "idle": self._idle,
            "status": self._status,
            "restart": self._restart,
            "killed": self._killed,
            "stop": self._stop,
            "start": self._start,
            "adopt": self._adopt,
        }
        broken = ""
        for step in self._plan.steps:
            if broken:
                self._result.failures[step] = broken
                continue
            try:
                methods[step]()
            except (TimedOut, Failed) as error:
                self._result.failures[step] = str(error)
                if self._daemon.has_ended():
                    broken = f"the daemon ended: {self._daemon.last_words()}"
                elif step in ("boot", "stop"):
                    broken = f"not reached: {step} failed"
                if broken and step == "boot":
                    self._result.failures[step] += f" ({self._daemon.last_words()})"

    # The steps.

    def _boot(self) -> None:
        since = self._daemon.began
        last = self._all_started(self._site.names, since, self._deadline())
        first = min(start.at for start in self._starts.latest.values())
        self._values["boot"] = seconds(last - since)
        if last > first:
            self._values["rate"] = (len(self._site.names) - 1) / seconds(last - first)

    def _memory(self) -> None:
        self._settle()
        own = self._own_processes()
        self._values["processes"] = len(own)
        self._values["memory"] = pss_bytes(own) / 2**20

    def _idle(self) -> None:
        self._settle()
        try:
            before = wakeups_and_nanoseconds(self._own_processes())
            time.sleep(self._plan.idle)
            after = wakeups_and_nanoseconds(self._own_processes())
        except OSError as error:
            raise Failed(f"cannot read /proc: {error.strerror}") from None
        self._values["idle-wakeups"] = after[0] - before[0]
        self._values["idle-cpu"] = (after[1] - before[1]) / 1e6

    def _status(self) -> None:
        self._settle()
        times = []
        for _ in range(STATUS_CALLS):
            with self._client("status") as client:
                times.append(seconds(client.wait(self._deadline()) - client.began))
                client.check()
                up = client.printed().count(self._peer.word_for_up)
            if up != len(self._site.names):
                raise Failed(f"status tells that {up} of {len(self._site.names)} are up")
        self._values["status"] = statistics.median(times)

    def _restart(self) -> None:
        self._settle()
        names = self._site.names
        stride = max(1, len(names) // self._plan.kills)
        times: list[float] = []
        give_up = time.monotonic() + KILLING_SECONDS
        for number in range(self._plan.kills):
            if times and time.monotonic() > give_up:
                break
            name = names[number * stride % len(names)]
            self._settle(name)
            # Whoever looks once a second must not be met always at the same moment of it.
            longest = max(times, default=1.0)
            time.sleep(0.02 + (number * GOLDEN % 1) * min(longest, LONGEST_PAUSE_SECONDS))
            self._starts.collect()
            with targets([self._starts.latest[name].pid], self._site.child) as (target,):
                since = time.monotonic_ns()
                target.kill()
            times.append(seconds(self._all_started([name], since, self._deadline()) - since))
        self._values["kills"] = len(times)
        self._values["restart"] = statistics.median(times) * 1000
        self._values["restart-max"] = max(times) * 1000

    def _killed(self) -> None:
        self._settle()
        pids = [self._starts.latest[name].pid for name in self._site.names]
        with targets(pids, self._site.child) as held:
            since = time.monotonic_ns()
            for target in held:
                target.kill()
        last = self._all_started(self._site.names, since, self._deadline())
        self._values["killed"] = seconds(last - since)

    def _stop(self) -> None:
        self._settle()
        deadline = self._deadline()
        self._starts.let_go()
        try:
            with self._client("stop") as client:
                gone, answered = self._wait_for_both(client, deadline)
                client.check()
        finally:
            self._starts.hold()
        self._values["stop"] = seconds(gone - client.began)
        self._values["stop-answer"] = seconds(answered - client.began)

    def _start(self) -> None:
        deadline = self._deadline()
        with self._client("start") as client:
            answered = client.wait(deadline)
            client.check()
            last = self._all_started(self._site.names, client.began, deadline)
        self._values["start"] = seconds(last - client.began)
        self._values["start-answer"] = seconds(answered - client.began)

    def _adopt(self) -> None:
        self._settle()
        daemon = self._peer.killable(self._site)
        if daemon is None:
            raise Failed("nobody starts it again")
        children = {self._starts.latest[name].pid for name in self._site.names}
        deadline = self._deadline()
        pidfd = os.pidfd_open(daemon)
        try:
            since = time.monotonic_ns()
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], deadline.left())  # until then, the old one listens
        finally:
            os.close(pidfd)
        while not self._peer.answers(self._site):
            time.sleep(min(LOOK_AGAIN_SECONDS, deadline.left()))
        with self._client("status") as client:
            answered = client.wait(deadline)
            client.check()
            told = {int(word) for word in client.printed().split() if word.isdigit()}
        if not children <= told:
            raise Failed(f"status tells of {len(children & told)} of the {len(children)} children")
        self._values["adopt"] = seconds(answered - since)

    # What the steps need.

    @contextmanager
    def _client(self, action: str) -> Iterator[Command]:
        command = self._peer.client(self._site, action)
        client = Command(command, self._site.directory, self._site.directory / f"{action}.out")
        try:
            yield client
        finally:
            client.close()

    def _wait_for_both(self, client: Command, deadline: Deadline) -> tuple[int, int]:
        """Return when the last child was gone, and when the client was done."""
        poll = select.poll()
        poll.register(self._starts, select.POLLIN)
        poll.register(client, select.POLLIN)
        gone = answered = 0
        while not (gone and answered):
            for descriptor, _ in poll.poll(deadline.left() * 1000):
                if descriptor == client.fileno():
                    answered = time.monotonic_ns()
                    poll.unregister(client)
                elif not self._starts.collect():
                    gone = time.monotonic_ns()
                    poll.unregister(self._starts)
        return gone, answered
