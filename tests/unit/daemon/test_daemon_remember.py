"""Stops that operators want to last longer than the daemon."""

from __future__ import annotations

from fakes.asking import Asked
from fakes.daemon import FakeDaemon, configuration, program
from fakes.logged import log_lines

from supervisortw.core.states import State
from supervisortw.core.status import Result

WEB = program("web", remember=True)
DB = program("db")


def booted(*programs: object, stopped: tuple[str, ...] = ()) -> FakeDaemon:
    daemon = FakeDaemon(*(programs or (WEB, DB)))  # type: ignore[arg-type]
    daemon.remembered.disk = frozenset(stopped)
    daemon.supervisor.boot()
    daemon.pass_time(2)
    return daemon


def test_a_stop_is_remembered_where_the_program_says_so() -> None:
    daemon = booted()
    stopping = Asked(daemon.supervisor.stop(["all"]))
    daemon.pass_time()
    assert all(outcome.good for outcome in stopping.answer)
    assert daemon.remembered.disk == {"web"}


def test_at_the_next_start_it_stays_down() -> None:
    daemon = booted(stopped=("web",))
    assert daemon.up() == ["db"]
    assert daemon.stand("web").state is State.STOPPED


def test_whoever_starts_it_wants_it_up_again() -> None:
    daemon = booted(stopped=("web",))
    Asked(daemon.supervisor.start(["web"]))
    assert daemon.remembered.disk == frozenset()
    daemon.pass_time(2)
    Asked(daemon.supervisor.stop(["web"]))
    daemon.pass_time()
    Asked(daemon.supervisor.restart(["web"]))
    assert daemon.remembered.disk == frozenset()


def test_the_end_of_the_daemon_is_no_operators_stop() -> None:
    daemon = booted()
    Asked(daemon.supervisor.shutdown())
    daemon.pass_time()
    assert daemon.exit_code == 0
    assert daemon.remembered.disk == frozenset()


def test_what_is_not_there_any_more_is_forgotten() -> None:
    daemon = booted(WEB, program("cache", remember=False), stopped=("web", "cache", "gone"))
    assert daemon.remembered.disk == {"web"}
    assert daemon.up() == ["cache"]
    daemon.next = configuration(program("web", remember=False))
    Asked(daemon.supervisor.reload())
    daemon.pass_time()
    assert daemon.remembered.disk == frozenset()


def test_an_operator_learns_that_it_will_not_be_remembered() -> None:
    daemon = booted()
    daemon.remembered.trouble = "cannot write /var/lib/stopped.json: No space left on device"
    stopping = Asked(daemon.supervisor.stop(["all"]))
    daemon.pass_time()
    web, db = stopping.answer
    assert web.result is Result.FAILED
    assert web.text.endswith(
        "; it will not be remembered: cannot write /var/lib/stopped.json: No space left on device"
    )
    assert db.good
    assert daemon.stand("web").state is State.STOPPED


def test_trouble_at_the_start_is_logged() -> None:
    daemon = FakeDaemon(WEB)
    daemon.remembered.disk = frozenset({"gone"})
    daemon.remembered.trouble = "disk full"
    with log_lines() as told:
        daemon.supervisor.boot()
    assert "disk full" in told
