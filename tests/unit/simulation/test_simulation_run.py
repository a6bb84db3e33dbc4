"""What a simulation tells: the daemon's own decisions, about processes that are not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes.daemon import SETTINGS, configuration, program

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import AutoRestart, Program, Settings, Stdin, StopScope, StopStep
from supervisortw.simulation import simulation as module
from supervisortw.simulation.options import read
from supervisortw.simulation.report import moment, report
from supervisortw.simulation.simulation import Simulation
from supervisortw.simulation.timeline import Remark, Timeline


def simulated(*programs: Program, words: str = "", settings: Settings = SETTINGS) -> Simulation:
    """Simulate to the end."""
    _, scenario = read(words.split())
    simulation = Simulation(configuration(*programs, settings=settings), scenario)
    for _ in simulation.run():
        pass
    return simulation


def told(simulation: Simulation) -> list[str]:
    """Return the timeline, without the details."""
    return [
        f"{each.at:g} {each.name} {each.text}"
        if isinstance(each, Remark)
        else f"{each.at:g} {each.name} {each.after.value}"
        for each in simulation.timeline.entries
    ]


def details(simulation: Simulation) -> list[str]:
    return [each.detail for each in simulation.timeline.entries if not isinstance(each, Remark)]


class TestPolicies:
    def test_back_off_and_coming_up(self) -> None:
        web = simulated(program("web"), words="--crash web@0s,2s,7s --until 5m")
        assert told(web) == [
            *("0 web STARTING", "0 web BACKOFF", "1 web STARTING", "2 web RUNNING"),
            *("3 web BACKOFF", "5 web STARTING", "6 web RUNNING", "12 web STARTING"),
            "13 web RUNNING",
        ]
        assert details(web)[1] == "exited with code 1 after 0.0 s, too quickly; next try in 1 s"
        [stand] = web.standing()
        assert (stand.restarts, stand.since) == (3, 288)
        assert web.is_quiet

    def test_giving_up(self) -> None:
        web = simulated(program("web"), words="--crash web@2s:SEGV,...")
        assert told(web)[-1] == "9 web FATAL"
        assert details(web)[-1] == "given up after 3 quick deaths; ended by SIGSEGV after 2.0 s"

    def test_a_crash_exactly_at_the_limit_is_not_too_quick(self) -> None:
        web = simulated(program("web", backoff_limit=3), words="--crash web@2s,3s,... --until 1m")
        assert not [line for line in told(web)[3:] if "BACKOFF" in line]

    def test_restart_limit(self) -> None:
        web = program("web", restart_limit=2, restart_period=60.0)
        assert told(simulated(web, words="--crash web@5s,..."))[-1] == "15 web FATAL"

    def test_oneshot_and_depends_on(self) -> None:
        migration = program("migration", oneshot=True, exit_codes=frozenset({0}))
        web = program("web", depends_on=("migration",))
        words = "--crash migration@2s:1,2s:0"
        assert told(simulated(web, migration, words=words)) == [
            *("0 migration STARTING", "0 web WAITING", "1 migration RUNNING"),
            *("2 migration BACKOFF", "3 migration STARTING", "4 migration RUNNING"),
            *("5 migration EXITED", "5 web STARTING", "6 web RUNNING"),
        ]

    def test_essential(self) -> None:
        job = program("job", essential=True, auto_restart=AutoRestart.NEVER)
        simulation = simulated(job, program("web"), words="--crash job@5s:3 --start web@1m")
        assert told(simulation)[-4:] == [
            "5 supervisord shuts down, since an essential program has ended",
            "5 web STOPPING",
            "5 web STOPPED",
            "5 supervisord ends with exit code 3",
        ]
        assert simulation.exit_code == 3

    def test_what_is_asked_of_a_daemon_that_shuts_down_is_refused(self) -> None:
        job = program("job", essential=True, auto_restart=AutoRestart.NEVER)
        words = "--crash job@5s:3 --stop-takes web@8s --start web@6s --until 1m"
        simulation = simulated(job, program("web"), words=words)
        refused = "6 web start refused: supervisord is shutting down"
        assert refused in told(simulation)

    def test_turns(self) -> None:
        settings = replace(SETTINGS, max_starting=1, start_delay=5.0)
        simulation = simulated(program("a"), program("b"), settings=settings)
        assert told(simulation)[:4] == [
            "0 a STARTING",
            "0 b WAITING",
            "1 a RUNNING",
            "5 b STARTING",
        ]

    def test_what_cannot_be_started(self) -> None:
        simulation = simulated(program("web"), program("db"), words="--exec-fails web")
        assert told(simulation)[0] == "0 web FATAL"
        assert details(simulation)[0] == "cannot execute web"

    def test_readiness(self) -> None:
        web = program("web", notify=True, ready_seconds=10.0, auto_restart=AutoRestart.NEVER)
        assert told(simulated(web)) == ["0 web STARTING", "0 web RUNNING"]
        late = simulated(web, words="--ready-takes web@4s")
        assert told(late) == ["0 web STARTING", "4 web RUNNING"]
        never = simulated(web, words="--ready-takes all@never")
        assert told(never) == ["0 web STARTING", "10 web STOPPING", "10 web EXITED"]

    def test_who_is_watched_is_not_silent(self) -> None:
        web = program("web", notify=True, watchdog_seconds=5.0)
        assert told(simulated(web)) == ["0 web STARTING", "0 web RUNNING"]


class TestStops:
    @pytest.mark.parametrize("scope", StopScope)
    def test_a_process_ends_when_it_is_asked_to(self, scope: StopScope) -> None:
        web = program("web", stop_scope=scope)
        simulation = simulated(web, words="--stop web@5s --start web@8s --restart web@20s")
        assert told(simulation)[2:] == [
            *("5 web stop asked", "5 web STOPPING", "5 web STOPPED"),
            *("8 web start asked", "8 web STARTING", "9 web RUNNING"),
            *("20 web restart asked", "20 web STOPPING", "20 web STARTING", "21 web RUNNING"),
        ]

    def test_it_may_take_its_time(self) -> None:
        simulation = simulated(program("web"), words="--stop web@5s --stop-takes web@4s")
        assert told(simulation)[-1] == "9 web STOPPED"
        assert details(simulation)[-1] == "stopped; ended by SIGTERM after 9.0 s"

    @pytest.mark.parametrize("takes", ["15s", "never"])
    def test_the_ladder_ends_with_sigkill(self, takes: str) -> None:
        ladder = (
            StopStep(signal=signal.SIGINT, wait=2.0),
            StopStep(signal=signal.SIGTERM, wait=3.0),
        )
        web = program("web", stop_steps=ladder)
        simulation = simulated(web, words=f"--stop web@5s --stop-takes web@{takes}")
        assert told(simulation)[-1] == "10 web STOPPED"
        assert details(simulation)[-1] == "stopped; ended by SIGKILL after 10 s"

    def test_a_stop_command_asks_it_to_end(self) -> None:
        steps = (StopStep(signal=None, wait=10.0), StopStep(signal=signal.SIGTERM, wait=3.0))
        web = program("web", stop_steps=steps, stop_command=("quit",))
        simulation = simulated(web, words="--stop web@5s --stop-takes web@1s")
        assert details(simulation)[-1] == "stopped; exited with code 0 after 6.0 s"
        stubborn = simulated(web, words="--stop web@5s --stop-takes web@never")
        assert told(stubborn)[-1] == "18 web STOPPED"

    def test_a_crash_may_come_before(self) -> None:
        words = "--stop web@5s --stop-takes web@never --crash web@7s"
        simulation = simulated(program("web"), words=words)
        assert details(simulation)[-1] == "stopped; exited with code 1 after 7.0 s"


class TestNames:
    def test_of_several_the_last_one_holds(self) -> None:
        processes = program("web", group="site", processes=2, first_number=1)
        words = "--crash all@5s --crash site:web_2@6s --exec-fails db"
        simulation = simulated(processes, program("db"), words=words)
        assert [line for line in told(simulation) if line.endswith("STARTING")] == [
            *("0 site:web_1 STARTING", "0 site:web_2 STARTING"),
            *("5 site:web_1 STARTING", "6 site:web_2 STARTING"),
        ]

    @pytest.mark.parametrize(
        "option", ["--crash", "--stop-takes", "--ready-takes", "--start", "--stop", "--restart"]
    )
    def test_unknown_ones(self, option: str) -> None:
        with pytest.raises(ValueError, match="wbe: no such program; did you mean web"):
            simulated(program("web"), words=f"{option} wbe@5s")
        with pytest.raises(ValueError, match="x: no such program; there is web, db"):
            simulated(program("web"), program("db"), words=f"{option} x@5s")
        with pytest.raises(ValueError, match="all: no such program; there is none"):
            simulated(words=f"{option} all@5s")

    def test_who_is_up_turns_out_when_it_is_asked_for(self) -> None:
        simulation = simulated(program("web"), program("db"), words="--stop web@3s --stop up@5s")
        assert told(simulation)[-2:] == ["5 db STOPPING", "5 db STOPPED"]
        with pytest.raises(ValueError, match="up: no such program"):
            simulated(program("web"), words="--crash up@5s")


class TestNothingIsTouched:
    def test_what_a_program_names_need_not_exist(self) -> None:
        web = program(
            "web",
            command=("/nonexistent/web",),
            user="nobody-of-that-name",
            unix_group="no-group",
            directory="/nonexistent",
            cgroup=True,
            stdin=Stdin.PIPE,
            sockets=("http",),
            environment=(("SUPERVISOR_SPAWN_ID", "x"),),
            environment_files=("/nonexistent/env",),
            logfile="/nonexistent/log",
            stderr_logfile="/nonexistent/errors",
            remember=True,
        )
        simulation = simulated(web, words="--stop web@5s")
        assert told(simulation)[-1] == "5 web STOPPED"

    def test_no_process_is_made_and_nothing_is_signalled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*arguments: object) -> Callable[..., None]:
            raise AssertionError(arguments)

        for name in ("fork", "kill", "killpg", "posix_spawn", "execve", "mkdir", "unlink"):
            monkeypatch.setattr(os, name, never)
        simulated(program("web"), words="--crash web@1s,... --restart web@2m")


class TestJitter:
    def test_the_middle_is_the_default(self) -> None:
        web = program("web", restart_jitter=0.5)
        assert told(simulated(web, words="--crash web@0s"))[2] == "1 web STARTING"

    def test_a_seed_draws_it_and_always_the_same(self) -> None:
        web = program("web", restart_jitter=0.5)

        def second_start(seed: int) -> float:
            simulation = simulated(web, words=f"--crash web@0s --seed {seed}")
            return simulation.timeline.entries[2].at

        assert 0.5 <= second_start(1) <= 1.5
        assert second_start(1) == second_start(1) != second_start(2)


class TestBounds:
    def test_of_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LIMITS", replace(LIMITS, simulated_calls=500))
        restless = program("web", forever=True, restart_delay=0.0)
        simulation = simulated(restless, words="--crash web@0s,... --until 10y")
        assert simulation.cut_short
        [note] = [line for line in report(simulation) if line.startswith("note: given up")]
        assert "try a shorter --until" in note

    def test_of_lines(self) -> None:
        timeline = Timeline()
        for _ in range(LIMITS.simulated_lines + 3):
            timeline.add(Remark(at=0, name="web", text="stop asked"))
        assert (len(timeline.entries), timeline.left_out) == (LIMITS.simulated_lines, 3)


class TestReport:
    def test_of_a_whole_simulation(self) -> None:
        web, db = program("web", depends_on=("db",)), program("db")
        simulation = simulated(web, db, words="--crash db@1m5s:9 --stop db@80s --until 2m")
        assert report(simulation) == [
            "   0.000  db   STOPPED -> STARTING",
            "   0.000  web  STOPPED -> WAITING   waiting for db (STARTING)",
            "   1.000  db   STARTING -> RUNNING",
            "   1.000  web  WAITING -> STARTING",
            "   2.000  web  STARTING -> RUNNING",
            "1:05.000  db   RUNNING -> STARTING  the one before exited with code 9 after 1:05",
            "1:06.000  db   STARTING -> RUNNING",
            "1:20.000  db   stop asked",
            "1:20.000  db   RUNNING -> STOPPING  waiting for it to end",
            "1:20.000  db   STOPPING -> STOPPED  stopped; ended by SIGTERM after 15 s",
            "note: nothing else would ever happen",
            "",
            "NAME  STATE     FOR  RESTARTS  DETAIL",
            "web   RUNNING  1:59         0",
            "db    STOPPED  40 s         1  stopped; ended by SIGTERM after 15 s",
        ]

    def test_where_more_would_happen(self) -> None:
        simulation = simulated(program("web"), words="--crash web@5s,... --until 12s")
        assert not [line for line in report(simulation) if line.startswith("note")]
        assert report(simulation)[-1].split() == ["web", "RUNNING", "2.0", "s", "2"]

    def test_of_a_daemon_that_has_ended(self) -> None:
        job = program("job", essential=True, auto_restart=AutoRestart.NEVER)
        lines = report(simulated(job, words="--crash job@5s:3"))
        assert "5.000  supervisord  ends with exit code 3" in lines
        assert not [line for line in lines if line.startswith("note")]

    def test_lines_that_are_left_out_are_counted(self) -> None:
        simulation = simulated(program("web"), words="--crash web@3s,... --until 1h")
        more = simulation.timeline.left_out
        assert more > 0
        assert f"note: {more} more changes are not shown" in report(simulation)

    def test_of_no_program_at_all(self) -> None:
        assert report(simulated()) == [
            "note: nothing else would ever happen",
            "",
            "NAME  STATE  FOR  RESTARTS  DETAIL",
        ]

    @pytest.mark.parametrize(
        ("at", "text"),
        [
            (0, "0.000"),
            (3.0014, "3.001"),
            (59.9996, "1:00.000"),
            (63.2, "1:03.200"),
            (3723.5, "1:02:03.500"),
            (4 * 86_400 + 3723, "4 d 01:02:03.000"),
        ],
    )
    def test_moments(self, at: float, text: str) -> None:
        assert moment(at) == text
