"""A daemon whose clock and processes are simulated; all that decides anything is the daemon's own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

from twisted.internet.defer import ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from supervisortw.core.chronicle import Left
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Configuration
from supervisortw.core.status import ProgramStatus
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.supervisor import Supervisor
from supervisortw.daemon.surroundings import Surroundings
from supervisortw.errors import Refused
from supervisortw.simulation.clock import SimulatedClock
from supervisortw.simulation.nothing import (
    NOWHERE,
    TOKEN,
    Boundless,
    NoHistory,
    NoJournal,
    NoneRemembered,
    Nothing,
)
from supervisortw.simulation.processes import (
    SimulatedNotices,
    SimulatedProcesses,
    SimulatedSessions,
)
from supervisortw.simulation.programs import bare, behaviours_of
from supervisortw.simulation.scenario import Request, Scenario
from supervisortw.simulation.timeline import Change, Remark, Timeline


class Simulation:
    """The start of a daemon with ``configuration``, and what then happens in ``scenario``.

    Raises ValueError, with a sentence for people, if the scenario names what the configuration has not.
    ``exit_code`` is what the daemon has ended with, None if it goes on. ``cut_short`` is true if the
    simulation was too long to be finished.
    """

    def __init__(self, configuration: Configuration, scenario: Scenario) -> None:
        self.timeline = Timeline()
        self.exit_code: int | None = None
        self.cut_short = False
        self._scenario = scenario
        programs = {name: bare(each) for name, each in configuration.programs.items()}
        behaviours = behaviours_of(programs.values(), scenario)
        self._clock = SimulatedClock()
        bus = EventBus()
        bus.subscribe(self._changed)
        notices = SimulatedNotices()
        processes = SimulatedProcesses(self._clock, notices, behaviours)
        chance = _middle if scenario.seed is None else random.Random(scenario.seed).random  # noqa: S311  # no secret
        self._supervisor = Supervisor(
            replace(configuration, programs=programs),
            Surroundings(
                clock=self._clock,
                spawner=processes,
                sessions=SimulatedSessions(self._clock, processes),
                bus=bus,
                environment={},
                output_for=lambda process, name, path: NOWHERE,
                daemon_log=NOWHERE,
                stdin=Nothing(),
                sockets=Nothing(),
                notices=notices,
                cgroups=Nothing(),
                load=lambda: fail(Refused("there is nothing to reload")),
                apply=lambda old, new: succeed(()),
                notes=tuple,
                room=Boundless(),
                end=self._end,
                version="",
                token=TOKEN,
                start_clock=self._clock.seconds,
                journal=NoJournal(self._remark),
                left=Left(),
                adoption=None,
                remembered=NoneRemembered(),
                oom=OomKills(self._clock, Nothing(), os.devnull),
                wall_clock=self._clock.seconds,
                history=NoHistory(self._clock),
                random=chance,
            ),
        )

    @property
    def seconds(self) -> float:
        """How much time has passed in the simulation."""
        return self._clock.seconds()

    @property
    def is_quiet(self) -> bool:
        """True if nothing would happen any more, however long it went on."""
        return self._clock.next_due() is None

    def standing(self) -> list[ProgramStatus]:
        """Tell how every process stands now."""
        return [process.status() for process in self._supervisor.roster]

    def run(self) -> Iterator[None]:
        """Simulate; from each step to the next the caller may do something else, or give up."""
        for request in self._scenario.requests:
            self._clock.callLater(request.at, self._ask, request)
        self._supervisor.boot()
        while self.exit_code is None:
            due = self._clock.next_due()
            if due is None or due > self._scenario.until:
                self._clock.go_to(self._scenario.until)
                return
            if self._clock.calls >= LIMITS.simulated_calls:
                self.cut_short = True
                return
            self._clock.step()
            yield

    def _ask(self, request: Request) -> None:
        def refused(failure: Failure) -> None:
            failure.trap(Refused)
            self._remark(request.name, f"{request.verb} refused: {failure.getErrorMessage()}")

        self._remark(request.name, f"{request.verb} asked")
        verbs = {
            "start": self._supervisor.start,
            "stop": self._supervisor.stop,
            "restart": self._supervisor.restart,
        }
        ensureDeferred(verbs[request.verb]([request.name])).addErrback(refused)

    def _changed(self, change: StateChanged) -> None:
        self.timeline.add(
            Change(
                at=self.seconds,
                name=change.name,
                before=change.before,
                after=change.after,
                detail=change.detail,
            )
        )

    def _remark(self, name: str, text: str) -> None:
        self.timeline.add(Remark(at=self.seconds, name=name, text=text))

    def _end(self, code: int) -> None:
        self._remark("supervisord", f"ends with exit code {code}")
        self.exit_code = code


def _middle() -> float:
    """Return what lengthens and shortens nothing."""
    return 0.5
