"""Why a process is in its state, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.daemon import process

from supervisortw.core.descriptors import FOR_START, OWN, needed
from supervisortw.core.ended import Ended
from supervisortw.core.lifecycle import Life
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Stdin
from supervisortw.core.restart import Tally
from supervisortw.core.states import State
from supervisortw.core.telling import History, detail, not_ready, silent

WEB = process("web", watchdog_seconds=5.0)
CODE_3 = Ended(code=3, signal=None, core=False, uptime=0.5)
PLAIN = History(before=State.RUNNING, last=CODE_3, alive=False)


@pytest.mark.parametrize(
    ("life", "history", "text"),
    [
        (Life(State.RUNNING), PLAIN, ""),
        (Life(State.STARTING), PLAIN, ""),
        (Life(State.EXITED), PLAIN, "exited with code 3 after 0.5 s"),
        (Life(State.STOPPED), PLAIN, "stopped; exited with code 3 after 0.5 s"),
        (Life(State.STOPPED), replace(PLAIN, before=State.WAITING), "stopped"),
        (Life(State.STOPPED), replace(PLAIN, before=State.BACKOFF), "stopped"),
        (Life(State.STOPPING), replace(PLAIN, alive=True), "waiting for it to end"),
        (
            Life(State.STOPPING),
            PLAIN,
            "exited with code 3 after 0.5 s; ending what it left behind",
        ),
        (
            Life(State.STOPPING),
            replace(PLAIN, alive=True, fault=silent(WEB)),
            "silent for 5.0 s (watchdog); ending it",
        ),
        (
            Life(State.BACKOFF, delay=2.04),
            PLAIN,
            "exited with code 3 after 0.5 s, too quickly; next try in 2 s",
        ),
        (
            Life(State.BACKOFF, delay=1.0),
            replace(PLAIN, fault=not_ready(60.0)),
            "not ready after 1:00; next try in 1 s",
        ),
        (
            Life(State.BACKOFF, delay=1.0),
            replace(PLAIN, spawn_error="no memory", fault="older"),
            "no memory; next try in 1 s",
        ),
        (Life(State.FATAL), replace(PLAIN, spawn_error="not found"), "not found"),
        (
            Life(State.FATAL, tally=Tally(quick_deaths=3)),
            PLAIN,
            "given up after 3 quick deaths; exited with code 3 after 0.5 s",
        ),
        (
            Life(State.FATAL, tally=Tally(quick_deaths=1)),
            replace(PLAIN, fault=not_ready(5.0)),
            "given up after 1 quick death; not ready after 5.0 s",
        ),
    ],
)
def test_each_state_has_its_reason(life: Life, history: History, text: str) -> None:
    assert detail(WEB, life, history) == text


def test_too_many_restarts_are_told_as_such() -> None:
    limited = process("web", restart_limit=2, restart_period=60.0)
    life = Life(State.FATAL, tally=Tally(restarts=(1.0, 2.0, 3.0)))
    assert detail(limited, life, PLAIN).startswith("given up after 2 restarts in 1:00; ")


@pytest.mark.parametrize(
    ("ended", "code", "text"),
    [
        (CODE_3, 3, "exited with code 3 after 0.5 s"),
        (replace(CODE_3, code=None, signal=9), 137, "ended by SIGKILL after 0.5 s"),
        (
            replace(CODE_3, code=None, signal=11, core=True),
            139,
            "ended by SIGSEGV, core dumped after 0.5 s",
        ),
        (replace(CODE_3, code=None), 1, "ended for an unknown reason after 0.5 s"),
    ],
)
def test_how_a_process_ended(ended: Ended, code: int, text: str) -> None:
    assert (ended.exit_code, str(ended)) == (code, text)


def test_how_many_descriptors_are_needed() -> None:
    own = OWN + LIMITS.sessions
    assert needed([], 2) == own + 2
    plain = process("a")
    rich = process("b", stderr_logfile="/var/log/b.err", stdin=Stdin.PIPE, notify=True)
    assert needed([plain], 0) == own + 2 + FOR_START
    assert needed([plain, rich], 0) == own + 2 + 6 + 2 * FOR_START
    most = LIMITS.spawns_under_way
    assert needed([plain] * (most + 1), 0) == own + 2 * (most + 1) + most * FOR_START
    with_sockets = process("c", sockets=("http", "https"))
    assert needed([with_sockets], 0) == own + 2 + FOR_START + 2
