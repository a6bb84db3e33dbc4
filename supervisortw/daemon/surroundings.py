"""What the supervisor needs from outside."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from supervisortw.core.chronicle import Left
from supervisortw.core.model import Configuration
from supervisortw.core.plan import Layout
from supervisortw.daemon.adoption import Adoption
from supervisortw.daemon.events import EventBus
from supervisortw.daemon.history import History
from supervisortw.daemon.journal import Journal
from supervisortw.daemon.logs.output import Log
from supervisortw.daemon.logs.outputs import OutputFor
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.preparation import (
    ControlGroups,
    ListeningSockets,
    NoticeBoard,
    StandardInputs,
)
from supervisortw.daemon.remembered import Remembered
from supervisortw.daemon.slot import Slot
from supervisortw.interfaces import Clock, Sessions, Spawner


class Room(Protocol):
    """Room for the files that processes need."""

    def make(self, layout: Layout) -> None:
        """Be told for what all files will be needed."""

    def check(self) -> None:
        """Raise SpawnError while there are too few of them for one more process."""

    def starts_at_once(self) -> int:
        """Return how many processes can be made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that a `Supervisor` is given, each of it replaceable in a test.

    ``load`` reads the configuration file again; it raises ConfigError. ``apply`` applies the changed
    settings and sockets of the daemon itself and returns what the operator should know about it.
    ``end`` is called with an exit code once everything has been stopped. ``token`` is a random number,
    hexadecimal, that tells processes of this daemon from those of any other. ``start_clock`` is the time
    by which the system tells when processes were started. ``left`` is what the daemon before has left in
    its journal, and ``adoption`` brings it together with what is there; None if there is nothing to go on
    with.
    ``remembered`` are the processes that operators have stopped for longer than that, and ``oom`` tells
    who was killed because memory ran out. ``history`` listens to the ``bus`` already. ``later`` is for
    `Means`.
    """

    clock: Clock
    spawner: Spawner
    sessions: Sessions
    bus: EventBus
    history: History
    environment: Mapping[str, str]
    output_for: OutputFor
    daemon_log: Log
    stdin: StandardInputs
    sockets: ListeningSockets
    notices: NoticeBoard
    cgroups: ControlGroups
    load: Callable[[], Deferred[Configuration]]
    apply: Callable[[Configuration, Configuration], Deferred[Sequence[str]]]
    notes: Callable[[], Sequence[str]]
    room: Room
    end: Callable[[int], None]
    version: str
    token: str
    start_clock: Callable[[], float]
    journal: Journal
    left: Left
    adoption: Adoption | None
    remembered: Remembered
    oom: OomKills
    random: Callable[[], float] = random.random
    wall_clock: Callable[[], float] = time.time
    later: Callable[[Slot], object] = Slot.attend
