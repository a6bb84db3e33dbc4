"""How processes have ended: what is told, and what is read again."""

from __future__ import annotations

import json

import pytest
from fakes.daemon import process

from supervisortw.core import chronicle
from supervisortw.core.ended import Ended
from supervisortw.core.exits import Exit, Oom, is_right
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import AutoRestart

CODE_3 = Exit(when=1.5, ended=Ended(code=3, signal=None, core=False, uptime=0.5), expected=False)
KILLED = Exit(
    when=1_700_000_000.25,
    ended=Ended(code=None, signal=9, core=True, uptime=60.5),
    expected=True,
    oom=Oom.PERHAPS,
    stopped_by="root",
)
UNKNOWN = Exit(
    when=0.0,
    ended=Ended(code=None, signal=None, core=False, uptime=0.0),
    expected=False,
    oom=Oom.YES,
)
OPENING = chronicle.opening("boot 1", "abc", 7)


@pytest.mark.parametrize("exit", [CODE_3, KILLED, UNKNOWN])
def test_each_can_be_written_down(exit: Exit) -> None:
    line = chronicle.exited("web", exit)
    assert chronicle.exit_in(line) == exit
    left = chronicle.read(f"{OPENING}\n{line}\n".encode())
    assert list(left.exits["web"]) == [exit]


@pytest.mark.parametrize(
    "change",
    [
        {"when": "now"},
        {"when": -1},
        {"ended": []},
        {"ended": [1, None, False]},
        {"ended": ["1", None, False, 1.0]},
        {"expected": 1},
        {"oom": "never"},
        {"oom": []},
        {"stopped_by": 7},
        {"exit": ""},
    ],
)
def test_what_makes_no_sense_is_damage(change: dict[str, object]) -> None:
    plain = {**json.loads(chronicle.exited("web", KILLED)), **change}
    left = chronicle.read(f"{OPENING}\n{json.dumps(plain)}\n".encode())
    assert (left.damaged, left.exits) == (1, {})


def test_only_the_last_ones_count_and_none_of_who_is_gone() -> None:
    lines = [chronicle.exited("web", CODE_3)]
    lines += [chronicle.exited("web", KILLED)] * LIMITS.exits_kept
    lines += [chronicle.exited("db", CODE_3), chronicle.gone("db")]
    left = chronicle.read("\n".join([OPENING, *lines, ""]).encode())
    assert list(left.exits["web"]) == [KILLED] * LIMITS.exits_kept
    assert "db" not in left.exits
    assert not left.damaged


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (CODE_3, "exited with code 3 after 0.5 s"),
        (
            KILLED,
            "ended by SIGKILL, core dumped after 1:00, perhaps for lack of memory, stopped by root",
        ),
        (UNKNOWN, "ended for an unknown reason after 0.0 s, out of memory"),
    ],
)
def test_in_words(exit: Exit, text: str) -> None:
    assert str(exit) == text


@pytest.mark.parametrize(
    ("auto_restart", "codes", "right"),
    [
        (AutoRestart.ALWAYS, (), set()),
        (AutoRestart.ALWAYS, (7,), {7}),
        (AutoRestart.UNEXPECTED, (), {0}),
        (AutoRestart.UNEXPECTED, (7,), {7}),
        (AutoRestart.NEVER, (), {0}),
        (AutoRestart.NEVER, (7,), {7}),
    ],
)
def test_which_codes_are_right(
    auto_restart: AutoRestart, codes: tuple[int, ...], right: set[int]
) -> None:
    web = process("web", auto_restart=auto_restart, exit_codes=frozenset(codes))
    assert {code for code in (0, 1, 7, None) if is_right(web, code)} == right
