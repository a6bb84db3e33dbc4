"""What is remembered of a process slot survives being written down, and nonsense is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.born import Born
from supervisortw.core.ended import Ended
from supervisortw.core.lifecycle import Life
from supervisortw.core.memory import Memory
from supervisortw.core.plain import LONGEST
from supervisortw.core.restart import Tally
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State

seconds = st.integers(0, 10**15).map(lambda microseconds: microseconds / 1e6)
numbers = st.integers(0, 2**40)
lives = st.builds(
    Life,
    state=st.sampled_from(State),
    wanted=st.booleans(),
    tally=st.builds(Tally, numbers, st.lists(seconds, max_size=3).map(tuple)),
    next=st.sampled_from(State),
    delay=seconds,
    stop_step=numbers,
    spawned=st.booleans(),
    ready=st.booleans(),
)
endings = st.builds(
    Ended,
    code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    core=st.booleans(),
    uptime=seconds,
)
marks = st.builds(
    SpawnId,
    daemon=st.text("0123456789abcdef", min_size=1, max_size=16),
    name=st.sampled_from(["web", "web:web_1", "a:b"]),
    number=numbers,
)
texts = st.text(max_size=20)
memories = st.builds(
    Memory,
    life=lives,
    before=st.none() | st.sampled_from(State),
    since=seconds,
    pid=numbers,
    born=st.none() | st.builds(Born, seconds, seconds),
    sid=numbers,
    spawn=st.none() | marks,
    started=seconds,
    due=seconds,
    asked=st.booleans(),
    restarts=numbers,
    last=st.none() | endings,
    spawn_error=texts,
    fault=texts,
    outdated=st.booleans(),
)


def plain_of(memory: Memory) -> Any:
    """Return what is read of what is written down."""
    return json.loads(f"{{{memory.to_json()}}}")


@given(memories)
def test_what_was_written_down_is_remembered(memory: Memory) -> None:
    assert Memory.from_plain(plain_of(memory)) == memory


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=4,
)


@given(memories, st.data())
def test_nonsense_is_refused_or_makes_a_memory(memory: Memory, data: st.DataObject) -> None:
    plain = plain_of(memory)
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(anything)
    try:
        found = Memory.from_plain(plain)
    except ValueError:
        return
    told = plain_of(found)
    assert plain_of(Memory.from_plain(told)) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "SLEEPING"),
        ("pid", -1),
        ("pid", True),
        ("pid", 2**60),
        ("since", float("nan")),
        ("since", "soon"),
        ("wanted", 1),
        ("spawn", "no mark"),
        ("last", [1, 2]),
        ("last", [1, -2, False, 1.0]),
        ("lately", 3),
        ("born", [1.0]),
        ("born", [1.0, "x"]),
        ("fault", "x" * (LONGEST + 1)),
    ],
)
def test_a_value_without_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Memory.from_plain({**plain_of(Memory()), name: value})


def test_long_texts_are_cut() -> None:
    plain = plain_of(Memory(spawn_error="x" * 10_000))
    assert Memory.from_plain(plain).spawn_error == "x" * LONGEST
