"""Why a process is as it is, in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.daemon import process

from supervisortw.core.ended import Ended
from supervisortw.core.exits import NOT_READY, RELOAD, SHUTDOWN, Exit, Oom
from supervisortw.core.lifecycle import Life
from supervisortw.core.limits import LIMITS
from supervisortw.core.memory import Memory
from supervisortw.core.model import AutoRestart, Process, StopStep
from supervisortw.core.restart import MOST_DOUBLINGS, Tally
from supervisortw.core.states import State
from supervisortw.core.status import ProgramStatus, WaitsFor, Why, from_plain, to_plain
from supervisortw.core.why import Known, cause, roughly, why

NOW = 10_000.0
WEB = process("web")
CODE_1 = Ended(code=1, signal=None, core=False, uptime=0.2)
FAILED = Exit(when=0.0, ended=CODE_1, expected=False)
KILLED = Exit(
    when=0.0, ended=Ended(code=None, signal=9, core=False, uptime=20.0), expected=False, oom=Oom.YES
)
STOPPED = Exit(
    when=0.0,
    ended=Ended(code=None, signal=15, core=False, uptime=20.0),
    expected=True,
    stopped_by="root",
)
LAST = "it exited with code 1 after 0.2 s"


def status(memory: Memory, detail: str) -> ProgramStatus:
    return ProgramStatus(
        name="web",
        program="web",
        group="web",
        state=memory.life.state,
        wanted=memory.life.wanted,
        pid=memory.pid,
        since=NOW - (memory.started if memory.pid else memory.since),
        restarts=0,
        detail=detail,
    )


def known(
    state: State,
    *exits: Exit,
    tally: Tally = Tally(),
    after: State = State.STOPPED,
    step: int = 0,
    spawned: bool = True,
    waits_for: tuple[WaitsFor, ...] = (),
    detail: str = "",
    **remembered: object,
) -> Known:
    life = Life(state=state, tally=tally, next=after, stop_step=step, spawned=spawned)
    own = {"before": State.RUNNING, "since": NOW - 180, "due": NOW + 2, **remembered}
    memory = Memory(life=life, last=exits[-1].ended if exits else None, **own)  # type: ignore[arg-type]
    return Known(
        status=status(memory, detail), memory=memory, now=NOW, exits=exits, waits_for=waits_for
    )


UP = {"pid": 7, "started": NOW - 3 * 3600}
DB_FATAL = WaitsFor(name="db", state=State.FATAL, detail="no such command: db")
API_WAITING = WaitsFor(name="api", state=State.WAITING, detail="waiting for db (FATAL)")

CASES: list[tuple[Process, Known, str]] = [
    (WEB, known(State.RUNNING, **UP), "RUNNING: up for 3 h"),
    (
        WEB,
        known(State.RUNNING, FAILED, KILLED, **UP),
        "RUNNING: up for 3 h; last end: ended by SIGKILL after 20 s, out of memory",
    ),
    (
        WEB,
        known(State.RUNNING, STOPPED, detail="busy", **UP),
        "RUNNING: up for 3 h; it says: busy; last end: ended by SIGTERM after 20 s, stopped by root",
    ),
    (WEB, known(State.STARTING, spawned=False), "STARTING: its process is being made"),
    (WEB, known(State.STARTING, pid=7), "STARTING: up in 2.0 s"),
    (
        process("web", notify=True),
        known(State.STARTING, pid=7, detail="loading"),
        "STARTING: it has to say that it is ready, within 2.0 s; it says: loading",
    ),
    (
        WEB,
        known(State.WAITING, detail="waiting for its turn (max-starting 5)"),
        "WAITING for its turn (max-starting 5)",
    ),
    (
        WEB,
        known(State.WAITING, waits_for=(API_WAITING, DB_FATAL)),
        "WAITING for api, which is WAITING for db, which is FATAL: no such command: db",
    ),
    (
        WEB,
        known(
            State.WAITING,
            waits_for=(WaitsFor(name="db", state=State.STARTING, detail=""),),
        ),
        "WAITING for db, which is STARTING",
    ),
    (
        WEB,
        known(State.BACKOFF, FAILED, tally=Tally(1)),
        f"BACKOFF: {LAST}, too quickly; next try in 2.0 s, and 1 more after that",
    ),
    (
        WEB,
        known(State.BACKOFF, FAILED, tally=Tally(2)),
        f"BACKOFF: {LAST}, too quickly, 2 times in a row; next try in 2.0 s, the last one",
    ),
    (
        process("web", forever=True),
        known(State.BACKOFF, FAILED, tally=Tally(MOST_DOUBLINGS)),
        f"BACKOFF: {LAST}, too quickly, at least 32 times in a row; next try in 2.0 s",
    ),
    (
        WEB,
        known(State.BACKOFF, spawn_error="no memory", tally=Tally(1)),
        "BACKOFF: it could not be started: no memory; next try in 2.0 s, and 1 more after that",
    ),
    (
        WEB,
        known(State.BACKOFF, FAILED, fault="not ready after 5.0 s", tally=Tally(2)),
        "BACKOFF: it was ended, 2 times in a row: not ready after 5.0 s; next try in 2.0 s, "
        "the last one",
    ),
    (
        WEB,
        known(State.FATAL, FAILED, tally=Tally(3)),
        f"FATAL: {LAST}, too quickly, 3 times in a row; it stays down until somebody starts it",
    ),
    (
        WEB,
        known(State.FATAL, spawn_error="no such command: /bin/web"),
        "FATAL: it could not be started: no such command: /bin/web; it stays down until somebody "
        "starts it",
    ),
    (
        process("web", restart_limit=2, restart_period=60.0),
        known(State.FATAL, KILLED, tally=Tally(0, (1.0, 2.0, 3.0))),
        "FATAL: more than 2 restarts in 1:00, and then it ended by SIGKILL after 20 s, out of memory; "
        "it stays down until somebody starts it",
    ),
    (
        process("web", auto_restart=AutoRestart.NEVER),
        known(State.EXITED, FAILED),
        f"EXITED: {LAST}, 3 min ago; a failure, but auto-restart is false",
    ),
    (
        process("web", exit_codes=frozenset({1})),
        known(State.EXITED, FAILED),
        f"EXITED: {LAST}, 3 min ago; exit-codes has that code",
    ),
    (
        process("web", auto_restart=AutoRestart.UNEXPECTED),
        known(State.EXITED, replace(FAILED, ended=replace(CODE_1, code=0))),
        "EXITED: it exited with code 0 after 0.2 s, 3 min ago; auto-restart is unexpected",
    ),
    (WEB, known(State.STOPPED, before=None), "STOPPED: it was not started yet"),
    (
        process("web", auto_start=False),
        known(State.STOPPED, before=None),
        "STOPPED: it was not started yet (auto-start is false)",
    ),
    (
        WEB,
        known(State.STOPPED, STOPPED, before=State.STOPPING, stopped_by="root"),
        "STOPPED: root stopped it 3 min ago; it ended by SIGTERM after 20 s",
    ),
    (
        WEB,
        known(State.STOPPED, STOPPED, before=State.STOPPING, stopped_by=RELOAD),
        "STOPPED: a reload stopped it 3 min ago; it ended by SIGTERM after 20 s",
    ),
    (
        WEB,
        known(State.STOPPED, FAILED, before=State.BACKOFF, stopped_by="root"),
        "STOPPED: root stopped it 3 min ago, when it was BACKOFF",
    ),
    (
        WEB,
        known(State.STOPPED, before=State.WAITING),
        "STOPPED: somebody stopped it 3 min ago, when it was WAITING",
    ),
    (
        WEB,
        known(State.STOPPING, pid=7, stopped_by="root"),
        "STOPPING: root has asked for that, 3 min ago; SIGKILL follows in 2.0 s",
    ),
    (
        process("web", stop_steps=(StopStep(signal=2, wait=5.0), StopStep(signal=None, wait=5.0))),
        known(State.STOPPING, pid=7, after=State.WAITING, stopped_by=SHUTDOWN),
        "STOPPING: the shutdown of supervisord has asked for that, 3 min ago, and it is to be started "
        "again; the stop command follows in 2.0 s",
    ),
    (
        WEB,
        known(State.STOPPING, pid=7, step=1, stopped_by="root"),
        "STOPPING: root has asked for that, 3 min ago; it does not even end by SIGKILL",
    ),
    (
        WEB,
        known(State.STOPPING, pid=7, fault="not ready after 5.0 s", stopped_by=NOT_READY),
        "STOPPING: it is being ended: not ready after 5.0 s; SIGKILL follows in 2.0 s",
    ),
    (
        WEB,
        known(State.STOPPING, FAILED),
        f"STOPPING: {LAST}; what it left behind is being ended",
    ),
]


@pytest.mark.parametrize(("process", "known", "text"), CASES)
def test_the_cause(process: Process, known: Known, text: str) -> None:
    assert cause(process, known) == f"web is {text}"


def test_there_is_a_case_for_each_state() -> None:
    assert {each.memory.life.state for _, each, _ in CASES} == set(State)


def test_an_end_that_nobody_wrote_down_is_told_as_far_as_it_is_known() -> None:
    found = known(State.FATAL, tally=Tally(3))
    assert "it had no process" in cause(WEB, found)
    found.memory.last = CODE_1
    assert LAST in cause(WEB, found)


def test_what_is_left() -> None:
    web = process("web", start_retries=4, restart_limit=3, restart_period=60.0)
    told = why(web, known(State.BACKOFF, tally=Tally(2, (NOW - 61, NOW - 59, NOW))), "web/stderr")
    assert (told.next_try, told.tries_left, told.restarts_left) == (2.0, 3, 1)
    assert told.log == "web/stderr"


def test_what_has_no_bound_is_told_as_none() -> None:
    told = why(process("web", forever=True), known(State.RUNNING, **UP), "")
    assert (told.next_try, told.tries_left, told.restarts_left) == (None, None, None)


def test_what_is_never_started_again_has_no_tries() -> None:
    web = process("web", auto_restart=AutoRestart.NEVER)
    assert why(web, known(State.RUNNING, **UP), "").tries_left == 0


@pytest.mark.parametrize(
    ("stable", "uptime", "left"),
    [(None, 2.9, 1), (None, 3.0, 3), (60.0, 59.0, 1), (60.0, 60.0, 3), (0.0, 1.0, 1)],
)
def test_a_stable_run_gives_all_tries_back(stable: float | None, uptime: float, left: int) -> None:
    web = process("web", stable_seconds=stable)
    found = known(State.RUNNING, pid=7, started=NOW - uptime, tally=Tally(2))
    assert why(web, found, "").tries_left == left


def test_it_goes_over_the_wire() -> None:
    told = why(WEB, known(State.WAITING, FAILED, KILLED, waits_for=(DB_FATAL,)), "web")
    assert from_plain(Why, to_plain(told)) == told
    many = why(WEB, known(State.RUNNING, *[KILLED] * LIMITS.exits_kept, **UP), "web")
    assert from_plain(Why, to_plain(many)) == many


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0.4, "0.4 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (86399, "23 h"),
        (86400, "1 d"),
    ],
)
def test_roughly(duration: float, text: str) -> None:
    assert roughly(duration) == text
