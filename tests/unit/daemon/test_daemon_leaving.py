"""What an answer to a stop says of processes that have left the session."""

from __future__ import annotations

import pytest
from fakes.asking import Asked
from fakes.daemon import FakeDaemon, program
from twisted.internet.defer import Deferred

from supervisortw.core.status import Outcome, Result
from supervisortw.interfaces import Ending, Escaped


def booted() -> FakeDaemon:
    daemon = FakeDaemon(program("web"), program("db"))
    daemon.supervisor.boot()
    daemon.pass_time(5)
    return daemon


def escape(daemon: FakeDaemon, *pids: int) -> None:
    daemon.sessions.escaped["web"] = tuple(Escaped(pid=pid, command="helper") for pid in pids)


def stop(daemon: FakeDaemon, *names: str, all_of_it: bool = False) -> list[Outcome]:
    asked = Asked(daemon.supervisor.stop(names, all_of_it=all_of_it))
    daemon.pass_time(5)
    return asked.answer


def test_who_has_left_is_named_and_left_alone() -> None:
    daemon = booted()
    escape(daemon, 71, 72)
    web, db = stop(daemon, "web", "db")
    assert web.result is Result.STOPPED
    assert web.text.endswith(
        "; 2 processes left its session: 71 (helper), 72 (helper) (stop --all-of-it ends them)"
    )
    assert "left" not in db.text
    assert daemon.sessions.endings == []


def test_of_very_many_only_some_are_named() -> None:
    daemon = booted()
    escape(daemon, *range(100, 200))
    [web] = stop(daemon, "web")
    assert "100 processes left its session: 100 (helper), " in web.text
    assert "104 (helper) and 95 more (stop" in web.text


def test_all_of_it_ends_them() -> None:
    daemon = booted()
    escape(daemon, 71)
    [web] = stop(daemon, "web", all_of_it=True)
    assert web.result is Result.STOPPED
    assert web.text.endswith("; ended 1 process that left its session: 71 (helper)")


def test_also_those_of_a_program_that_is_down_already() -> None:
    daemon = booted()
    stop(daemon, "web")
    escape(daemon, 71)
    [web] = stop(daemon, "web")
    assert web.text == "already down"
    [web] = stop(daemon, "web", all_of_it=True)
    assert (web.result, web.text) == (
        Result.ALREADY_DOWN,
        "already down; ended 1 process that left its session: 71 (helper)",
    )


def test_who_cannot_be_ended_makes_it_a_failure() -> None:
    daemon = booted()
    escape(daemon, 71)
    daemon.sessions.unendable[71] = "no permission"
    [web] = stop(daemon, "web", all_of_it=True)
    assert web.result is Result.FAILED
    assert web.text.endswith("; 71 (helper) is still there: no permission")


def test_what_was_never_started_has_left_nothing() -> None:
    daemon = FakeDaemon(program("web", auto_start=False))
    [web] = stop(daemon, "web", all_of_it=True)
    assert web.text == "already down"
    assert daemon.sessions.endings == []


def test_it_is_not_started_before_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = booted()
    ending: Deferred[Ending] = Deferred()
    monkeypatch.setattr(daemon.sessions, "end_escaped", lambda *_: ending)
    stopping = Asked(daemon.supervisor.stop(["web"], all_of_it=True))
    daemon.pass_time(5)
    starting = Asked(daemon.supervisor.start(["web"]))
    daemon.pass_time(5)
    assert daemon.stand("web").pid == 0
    ending.callback(Ending())
    daemon.pass_time(5)
    assert stopping.answer[0].result is Result.STOPPED
    assert starting.answer[0].result is Result.STARTED


def test_a_reload_that_removes_the_program_meanwhile_harms_nothing() -> None:
    daemon = booted()
    stopping = Asked(daemon.supervisor.stop(["web"]))
    removing = Asked(daemon.supervisor._renewal.remove_all(["web"]))
    daemon.pass_time(5)
    assert stopping.answer[0].name == "web"
    assert removing.done
