"""Programs without which the daemon ends."""

from __future__ import annotations

import pytest
from fakes.asking import Asked
from fakes.daemon import FakeDaemon, program

from supervisortw.core.model import AutoRestart


def booted(**keys: object) -> FakeDaemon:
    daemon = FakeDaemon(program("web", essential=True, **keys), program("db"))
    daemon.supervisor.boot()
    daemon.pass_time(5)
    return daemon


@pytest.mark.parametrize(
    ("end", "code"), [({"code": 3}, 3), ({"code": 0}, 0), ({"signal": 9}, 137)]
)
def test_its_end_for_good_ends_the_daemon_with_its_code(end: dict[str, int], code: int) -> None:
    daemon = booted(auto_restart=AutoRestart.NEVER)
    daemon.spawner.exit(daemon.pid("web"), **end)
    daemon.pass_time(5)
    assert (daemon.ended, daemon.exit_code) == (1, code)
    assert not daemon.spawner.alive


def test_as_long_as_it_is_started_again_all_is_well() -> None:
    daemon = booted()
    daemon.pass_time(60)
    daemon.spawner.exit(daemon.pid("web"), code=3)
    daemon.pass_time(5)
    assert daemon.ended == 0


def test_given_up_is_for_good() -> None:
    daemon = booted(start_retries=0)
    Asked(daemon.supervisor.restart(["web"]))
    daemon.pass_time(2)
    daemon.spawner.exit(daemon.pid("web"), code=4)
    daemon.pass_time(5)
    assert (daemon.ended, daemon.exit_code) == (1, 4)


def test_what_cannot_even_start_is_a_failure() -> None:
    daemon = FakeDaemon(program("web", essential=True))
    daemon.spawner.broken["web"] = "command not found: web"
    daemon.supervisor.boot()
    daemon.pass_time(5)
    assert (daemon.ended, daemon.exit_code) == (1, 1)


def test_who_stops_it_by_hand_does_not_end_the_daemon() -> None:
    daemon = booted()
    Asked(daemon.supervisor.stop(["web"]))
    daemon.pass_time(5)
    assert daemon.ended == 0


def test_an_ordinary_shutdown_has_the_code_0() -> None:
    daemon = booted()
    Asked(daemon.supervisor.shutdown())
    daemon.pass_time(5)
    assert (daemon.ended, daemon.exit_code) == (1, 0)
