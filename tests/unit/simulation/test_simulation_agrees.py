"""A simulation and the engine under test tell the same, whatever the policies are.

The other side is the daemon of all other tests, with twisted's own clock, and with processes that this
file ends, without any of the code that simulates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from signal import SIGSEGV, SIGTERM
from typing import Any

from fakes.daemon import SETTINGS, FakeDaemon, configuration, program
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from supervisortw.core.model import AutoRestart, Program, Settings, StopStep
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.errors import Refused
from supervisortw.interfaces import SpawnRequest
from supervisortw.simulation.options import read
from supervisortw.simulation.simulation import Simulation
from supervisortw.simulation.timeline import Change

Line = tuple[float, str, State, State, str]

# Sums of these are exact on both sides, so it is clear what comes before what.
SPANS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 3.25, 5.0, 8.0, 30.0)
UNTIL = 100.0
spans = st.sampled_from(SPANS)
some = st.sampled_from(SPANS[1:])

policies = st.fixed_dictionaries(
    {
        "auto_start": st.sampled_from([True, True, True, False]),
        "auto_restart": st.sampled_from(AutoRestart),
        "essential": st.sampled_from([False] * 9 + [True]),
        "oneshot": st.sampled_from([False, False, True]),
        "exit_codes": st.sampled_from([frozenset(), frozenset({0}), frozenset({1})]),
        "priority": st.sampled_from([1, 999]),
        "backoff_limit": st.integers(0, 4),
        "forever": st.booleans(),
        "start_seconds": spans,
        "start_retries": st.sampled_from([None, 0, 1, 5]),
        "restart_delay": spans,
        "restart_delay_max": spans,
        "restart_jitter": st.sampled_from([0.0, 0.5, 1.0]),
        "restart_limit": st.sampled_from([None, None, 0, 2, 5]),
        "restart_period": some,
        "stable_seconds": st.sampled_from([None, 2.0, 10.0]),
        "notify": st.sampled_from([False, False, True]),
        "ready_seconds": some,
        "stop_steps": st.lists(
            st.builds(StopStep, signal=st.just(SIGTERM), wait=some), max_size=2
        ).map(tuple),
    }
)


@st.composite
def families(draw: st.DrawFn) -> list[Program]:
    """Return programs that may depend on those before them."""
    made: list[Program] = []
    for name in draw(st.sampled_from([("web",), ("db", "web"), ("db", "job", "web")])):
        on = draw(st.lists(st.sampled_from(made), unique=True)) if made else []
        depends_on = tuple(each.name for each in on)
        keys = draw(policies)
        if keys["forever"] and not (keys["restart_delay"] and keys["restart_delay_max"]):
            keys |= {"restart_delay": 0.25, "restart_delay_max": 0.25}  # or it would take for ever
        made.append(program(name, depends_on=depends_on, **keys))
    return made


deaths = st.tuples(some | st.just(0.0), st.sampled_from([0, 1, 3, SIGSEGV.name]))
plans = st.fixed_dictionaries(
    {
        "deaths": st.lists(deaths, max_size=6),
        "repeats": st.booleans(),
        "exec_fails": st.sampled_from([False] * 9 + [True]),
        "ready": st.sampled_from([0.0, 0.0, 1.5, None]),
    }
)
requests = st.lists(
    st.tuples(
        st.sampled_from(["start", "stop", "restart"]),
        st.sampled_from(["web", "all", "up"]),
        st.sampled_from(SPANS),
    ),
    max_size=3,
)
Plan = dict[str, Any]
Asked = list[tuple[str, str, float]]


def repeats(plan: Plan) -> bool:
    """True if the last death comes again and again; one that takes no time would come for ever."""
    ends = plan["deaths"]
    return bool(plan["repeats"] and ends and ends[-1][0] > 0)


def simulated(
    programs: list[Program], own: Settings, plans: dict[str, Plan], asked: Asked, obedient: bool
) -> tuple[list[Line], int | None]:
    """Write the scenario down as people do, and simulate it."""
    words = [f"--until={UNTIL}", f"--stop-takes=all@{'0' if obedient else 'never'}"]
    for name, plan in plans.items():
        times = [f"{after}:{how}" for after, how in plan["deaths"]]
        if times:
            again = ["..."] if repeats(plan) else []
            words.append(f"--crash={name}@{','.join(times + again)}")
        if plan["exec_fails"]:
            words.append(f"--exec-fails={name}")
        ready = plan["ready"]
        words.append(f"--ready-takes={name}@{'never' if ready is None else ready}")
    words += [f"--{verb}={name}@{at}" for verb, name, at in asked]
    simulation = Simulation(configuration(*programs, settings=own), read(words)[1])
    for _ in simulation.run():
        pass
    entries = simulation.timeline.entries
    changes = [each for each in entries if isinstance(each, Change)]
    assert not simulation.cut_short
    lines = [(each.at, each.name, each.before, each.after, each.detail) for each in changes]
    return lines, simulation.exit_code


class Driven(FakeDaemon):
    """The engine, with processes that end as they are told to, and a list of what changed when."""

    def __init__(self, programs: list[Program], own: Settings, plans: dict[str, Plan]) -> None:
        self.lines: list[Line] = []
        self.starts = dict.fromkeys(plans, 0)
        self.plans = plans
        super().__init__(*programs, settings=own, calm=True)
        self.spawner.broken = {
            name: f"cannot execute {name}" for name, plan in plans.items() if plan["exec_fails"]
        }
        spawn = self.spawner.spawn

        def spawn_and_end(protocol: Any, request: SpawnRequest) -> Any:
            def born(transport: Any) -> Any:
                self.is_born(request.command[0], transport.pid)
                return transport

            return spawn(protocol, request).addCallback(born)

        self.spawner.spawn = spawn_and_end

    def note(self) -> None:
        """Take down what has changed just now."""
        now, changes = self.clock.seconds(), self.listener.changes
        self.lines += [(now, each.name, each.before, each.after, each.detail) for each in changes]
        changes.clear()

    def is_born(self, name: str, pid: int) -> None:
        plan, start = self.plans[name], self.starts[name]
        self.starts[name] += 1
        ends = list(plan["deaths"])
        if start < len(ends) or repeats(plan):
            after, how = ends[min(start, len(ends) - 1)]
            keys = {"code": how} if isinstance(how, int) else {"signal": int(SIGSEGV)}
            self.later(after, pid, partial(self.spawner.exit, pid, **keys))
        if name in self.notices.heard and plan["ready"] is not None:
            say = partial(self.notices.heard[name], Notice(ready=True), pid)
            self.later(plan["ready"], pid, say)

    def later(self, seconds: float, pid: int, act: Callable[[], object]) -> None:
        self.clock.callLater(seconds, lambda: pid in self.spawner.alive and act())

    def ask(self, verb: str, name: str) -> None:
        asked = ensureDeferred(getattr(self.supervisor, verb)([name]))
        asked.addErrback(lambda failure: failure.trap(Refused))


def driven(
    programs: list[Program], own: Settings, plans: dict[str, Plan], asked: Asked, obedient: bool
) -> tuple[list[Line], int | None]:
    daemon = Driven(programs, own, plans)
    daemon.sessions.obedient = obedient
    for verb, name, at in asked:
        daemon.clock.callLater(at, daemon.ask, verb, name)
    daemon.supervisor.boot()
    daemon.note()
    while not daemon.ended:
        due = [each.getTime() for each in daemon.clock.getDelayedCalls()]
        if not due or min(due) > UNTIL:
            break
        daemon.clock.advance(max(0.0, min(due) - daemon.clock.seconds()))
        daemon.note()
    return daemon.lines, daemon.exit_code


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    programs=families(),
    own=st.builds(
        partial(replace, SETTINGS),
        max_starting=st.sampled_from([None, None, 1, 2]),
        start_delay=st.sampled_from([0.0, 0.0, 0.5]),
    ),
    data=st.data(),
    asked=requests,
    obedient=st.booleans(),
)
def test_the_same_happens_at_the_same_times(
    programs: list[Program], own: Settings, data: st.DataObject, asked: Asked, obedient: bool
) -> None:
    drawn = {each.name: data.draw(plans, label=each.name) for each in programs}
    found, code = simulated(programs, own, drawn, asked, obedient)
    expected, expected_code = driven(programs, own, drawn, asked, obedient)
    assert found == expected
    assert code == expected_code
