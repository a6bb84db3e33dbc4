"""More or fewer processes of a program, while the others go on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.asking import Asked
from fakes.daemon import FakeDaemon, configuration, program

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Program
from supervisortw.core.status import Result
from supervisortw.errors import Refused

WEB = program("web", processes=2, logfile="/var/log/%(process_name)s.log")


def booted(*programs: Program) -> FakeDaemon:
    daemon = FakeDaemon(*programs)
    daemon.supervisor.boot()
    daemon.pass_time(5)
    return daemon


def scale(daemon: FakeDaemon, name: str, count: int) -> list[tuple[str, Result]]:
    asked = Asked(daemon.supervisor.scale(name, count))
    daemon.pass_time(30)
    return [(each.name, each.result) for each in asked.answer]


def pids(daemon: FakeDaemon) -> dict[str, int]:
    return {each.program.name: each.pid for each in daemon.supervisor.roster}


def test_more_are_started_and_the_others_left_alone() -> None:
    daemon = booted(WEB, program("db"))
    before = pids(daemon)
    assert scale(daemon, "web", 4) == [
        ("web:web_2", Result.STARTED),
        ("web:web_3", Result.STARTED),
    ]
    assert list(pids(daemon)) == ["web:web_0", "web:web_1", "web:web_2", "web:web_3", "db"]
    assert {name: pids(daemon)[name] for name in before} == before


def test_fewer_means_that_the_last_ones_go() -> None:
    daemon = booted(WEB)
    first = pids(daemon)["web:web_0"]
    assert scale(daemon, "web", 1) == [("web:web_1", Result.STOPPED)]
    assert pids(daemon) == {"web:web_0": first}
    assert daemon.output("web:web_1").closed
    assert scale(daemon, "web", 0) == [("web:web_0", Result.STOPPED)]
    assert scale(daemon, "web", 1) == [("web:web_0", Result.STARTED)]


def test_as_many_as_there_are_is_no_change() -> None:
    assert scale(booted(WEB), "web", 2) == []


def test_one_without_processes_is_not_an_unknown_one() -> None:
    daemon = booted(WEB)
    scale(daemon, "web", 0)
    for word in ("web", "web:*"):
        (outcome,) = Asked(daemon.supervisor.start([word])).answer
        assert outcome.result is Result.FAILED
        assert outcome.text == "has no processes; 'scale web NUMBER' gives it some"


def test_what_is_down_stays_down() -> None:
    daemon = booted(WEB)
    Asked(daemon.supervisor.stop(["web"]))
    daemon.pass_time(5)
    assert scale(daemon, "web", 3) == []
    assert pids(daemon)["web:web_2"] == 0


def test_a_reload_keeps_it_unless_the_file_says_another_number_now() -> None:
    daemon = booted(WEB)
    scale(daemon, "web", 3)
    daemon.next = configuration(replace(WEB, priority=5))
    Asked(daemon.supervisor.reload())
    daemon.pass_time(5)
    assert len(pids(daemon)) == 3
    for file, count in ((1, 1), (2, 2)):  # what it was scaled to is forgotten
        daemon.next = configuration(replace(WEB, processes=file))
        Asked(daemon.supervisor.reload())
        daemon.pass_time(5)
        assert len(pids(daemon)) == count


@pytest.mark.parametrize(
    ("name", "count", "reason"),
    [
        ("db", 2, "db: has no key 'processes'"),
        ("wbe", 2, "wbe: no such program; did you mean web?"),
        ("web:web_0", 2, "web:web_0: no such program"),
        ("web", LIMITS.processes_per_program + 1, "web: at most"),
        ("shared", 2, "shared: its logfile needs"),
        ("rival", 3, "rival: that of another program already: site:worker_2"),
    ],
)
def test_what_cannot_be_scaled(name: str, count: int, reason: str) -> None:
    shared = program("shared", processes=1)
    rival = program(
        "rival",
        processes=1,
        first_number=1,
        process_name="worker_%(process_num)d",
        group="site",
        logfile="/var/log/%(process_num)d.log",
    )
    other = program("other", process_name="worker_2", processes=1, group="site", logfile="none")
    daemon = booted(WEB, program("db"), shared, rival, other)
    before = pids(daemon)
    with pytest.raises(Refused, match=reason):
        scale(daemon, name, count)
    assert pids(daemon) == before


def test_dependants_wait_for_all_of_them() -> None:
    app = program("app", depends_on=("web",))
    daemon = booted(WEB, app)
    scale(daemon, "web", 3)
    assert daemon.stand("app").pid


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_who_waited_to_start_one_that_is_removed_meanwhile_starts_nothing(verb: str) -> None:
    daemon = booted(WEB)
    name = "web:web_1"
    Asked(daemon.supervisor.stop([name]))
    daemon.pass_time(30)
    Asked(daemon.supervisor.stop([name], all_of_it=True))  # nobody starts before that is over
    asked = Asked(getattr(daemon.supervisor, verb)([name]))
    scaled = Asked(daemon.supervisor.scale("web", 1))
    made = len(daemon.spawner.requests)
    assert scaled.done
    assert not asked.done
    daemon.pass_time(30)
    [outcome] = asked.answer
    assert (outcome.result, outcome.text) == (Result.FAILED, "was removed meanwhile")
    assert len(daemon.spawner.requests) == made
