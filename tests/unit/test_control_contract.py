"""The supervisor, a session with it over the wire, and the fake: each keeps the contract of Control."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("fakes.control_contract")  # its asserts say what they compared

# ruff: noqa: E402
from fakes import control_contract
from fakes.asking import Asked
from fakes.control import FakeControl
from fakes.control_contract import NAMES, World
from fakes.daemon import FakeDaemon, program
from fakes.network import Network
from fakes.passing import pass_time
from twisted.internet.task import Clock

from supervisortw.core.happening import EventsAnswer
from supervisortw.core.plain import LARGEST
from supervisortw.core.status import LogPiece
from supervisortw.errors import ConfigError, Problem, Refused
from supervisortw.interfaces import Cancel, Control


class SupervisorWorld:
    def __init__(self) -> None:
        self.daemon = FakeDaemon(*(program(name, auto_start=False) for name in NAMES))
        self.control: Control = self.daemon.supervisor

    @property
    def ended(self) -> int:
        return self.daemon.ended

    def pass_time(self, seconds: float) -> None:
        self.daemon.pass_time(seconds)

    def watch(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        return self.control.watch_log(name, grown)

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        return self.control.watch_events(told)

    def write(self, name: str | None, data: bytes) -> None:
        output = self.daemon.daemon_log if name is None else self.daemon.output(name)
        output.write(data)

    def break_program(self, name: str, reason: str) -> None:
        self.daemon.spawner.broken[name] = reason

    def break_configuration(self, problem: str) -> None:
        place, line, message = problem.split(":")
        self.daemon.next = ConfigError([Problem(place, int(line), message.strip())])


class SessionWorld(SupervisorWorld):
    """The same supervisor, asked from the other end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(self.daemon.supervisor, self.daemon.clock)
        self.control = self.session = self.network.log_in()  # type: ignore[assignment]

    def pass_time(self, seconds: float) -> None:
        self.network.pass_time(seconds)

    def watch(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        def received(piece: LogPiece) -> None:
            grown()

        following = Asked(self.session.follow(name, 0, received))
        self.network.pass_time()
        return following.answer

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        def received(answer: EventsAnswer) -> None:
            told()

        after = self.daemon.history.answer(LARGEST, 0).last
        following = Asked(self.session.follow_events(after, received))
        self.network.pass_time()
        return following.answer


class FakeWorld:
    def __init__(self) -> None:
        self.clock = Clock()
        self.control: Control = FakeControl(self.clock, NAMES)
        self.fake = self.control

    @property
    def ended(self) -> int:
        return self.fake.ended

    def pass_time(self, seconds: float) -> None:
        pass_time(self.clock, seconds)

    def watch(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        return self.control.watch_log(name, grown)

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        return self.control.watch_events(told)

    def write(self, name: str | None, data: bytes) -> None:
        self.fake.write(name, data)

    def break_program(self, name: str, reason: str) -> None:
        self.fake.programs[name].broken = reason

    def break_configuration(self, problem: str) -> None:
        self.fake.reload_answer = Refused(problem)


@pytest.mark.parametrize("make", [SupervisorWorld, SessionWorld, FakeWorld])
@pytest.mark.parametrize("check", control_contract.CHECKS, ids=lambda check: check.__name__)
def test_control(check: control_contract.Check, make: Callable[[], World]) -> None:
    check(make())


@pytest.mark.parametrize("make", [SupervisorWorld, SessionWorld, FakeWorld])
def test_an_unknown_log_cannot_be_watched(make: Callable[[], World]) -> None:
    with pytest.raises(Refused, match="did you mean api"):
        make().watch("ap", lambda: None)


def test_a_check_can_fail() -> None:
    world = SupervisorWorld()
    world.daemon.sessions.obedient = False
    world.daemon.sessions.immortal.update(range(1000))
    with pytest.raises(AssertionError, match="still waiting"):
        control_contract.stop_waits_until_it_is_gone(world)
