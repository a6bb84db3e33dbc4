"""Stops by operators that outlast the daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.logged import log_lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred

from supervisortw.daemon.remembered import Remembered
from supervisortw.errors import LocalError


class Threads:
    """Calls that wait in a thread until the test lets them go on."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, function, arguments))
        return done

    def go_on(self) -> None:
        [(done, function, arguments)] = self.waiting
        self.waiting.clear()
        maybeDeferred(function, *arguments).chainDeferred(done)


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def remembered(state: Path, threads: Threads) -> Remembered:
    return Remembered(str(state), threads)


def next_daemons(state: Path) -> list[str]:
    """Return what a daemon knows that is started now."""
    found = Remembered(str(state), Threads())
    with log_lines() as told:
        found.load()
    assert told == []
    return list(found)


def test_at_first_there_is_nothing(state: Path) -> None:
    assert next_daemons(state) == []


def test_a_stop_is_remembered_once_it_is_told(
    remembered: Remembered, threads: Threads, state: Path
) -> None:
    saved = Asked(remembered.stopped(["web:web_1", "db"]))
    assert "db" in remembered
    assert "web" not in remembered
    assert not saved.done
    assert next_daemons(state) == []
    threads.go_on()
    assert saved.answer is None
    assert next_daemons(state) == ["db", "web:web_1"]


def test_a_start_is_the_end_of_it(remembered: Remembered, threads: Threads, state: Path) -> None:
    Asked(remembered.stopped(["web", "db"]))
    threads.go_on()
    saved = Asked(remembered.started(["web", "other"]))
    assert list(remembered) == ["db"]
    threads.go_on()
    assert saved.done
    assert next_daemons(state) == ["db"]


def test_what_changes_nothing_writes_nothing(remembered: Remembered, threads: Threads) -> None:
    assert Asked(remembered.started(["web"])).done
    Asked(remembered.stopped(["web"]))
    threads.go_on()
    assert Asked(remembered.stopped(["web"])).done
    assert threads.waiting == []


def test_those_who_come_meanwhile_are_written_together(
    remembered: Remembered, threads: Threads, state: Path
) -> None:
    first = Asked(remembered.stopped(["a"]))
    later = [Asked(remembered.stopped([name])) for name in "bcd"]
    later.append(Asked(remembered.started(["a"])))
    threads.go_on()
    assert first.done
    assert not any(each.done for each in later)
    assert next_daemons(state) == ["a"]
    threads.go_on()
    assert all(each.done for each in later)
    assert next_daemons(state) == ["b", "c", "d"]
    assert threads.waiting == []


def test_one_who_takes_it_back_meanwhile_waits_until_that_is_written(
    remembered: Remembered, threads: Threads, state: Path
) -> None:
    Asked(remembered.stopped(["a"]))
    undone = Asked(remembered.started(["a"]))
    threads.go_on()
    assert not undone.done
    threads.go_on()
    assert undone.done
    assert next_daemons(state) == []


def test_what_cannot_be_written_is_told_and_written_the_next_time(
    remembered: Remembered, threads: Threads, state: Path
) -> None:
    moved = state.with_name("moved")
    state.rename(moved)
    saved = [Asked(remembered.stopped([name])) for name in "ab"]
    for each in saved:
        threads.go_on()
        with pytest.raises(LocalError, match="does not exist"):
            _ = each.answer
    assert list(remembered) == ["a", "b"]
    moved.rename(state)
    again = Asked(remembered.stopped(["a"]))
    threads.go_on()
    assert again.answer is None
    assert next_daemons(state) == ["a", "b"]


def test_there_is_a_bound(state: Path, threads: Threads) -> None:
    remembered = Remembered(str(state), threads, most=2)
    Asked(remembered.stopped(["a", "b"]))
    threads.go_on()
    refused = Asked(remembered.stopped(["c"]))
    with pytest.raises(LocalError, match=r"^more than 2 stopped programs cannot be remembered$"):
        _ = refused.answer
    assert list(remembered) == ["a", "b"]
    assert threads.waiting == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it cannot be decoded"),
        ("ä", "it cannot be decoded"),
        ("[" * 100_000, "it cannot be decoded"),
        ("[]", "it is something else"),
        ('{"version": 1}', "it is something else"),
        ('{"version": 2, "stopped": []}', "it is of another version"),
        ('{"version": 1, "stopped": "web"}', "it is of another version"),
        ('{"version": 1, "stopped": [["web"]]}', "there is something in it that is no name"),
        ('{"version": 1, "stopped": ["web", ""]}', "there is something in it that is no name"),
        ('{"version": 1, "stopped": ["web:"]}', "there is something in it that is no name"),
        ('{"version": 1, "stopped": ["a:b:c"]}', "there is something in it that is no name"),
        ('{"version": 1, "stopped": ["all"]}', "there is something in it that is no name"),
    ],
)
def test_a_damaged_file_is_set_aside(
    remembered: Remembered, state: Path, text: str, reason: str
) -> None:
    path = state / "stopped.json"
    path.write_text(text)
    path.chmod(0o600)
    with log_lines() as told:
        remembered.load()
    assert told == [f"{path} is not used: {reason}; it is stopped.json.damaged now"]
    assert list(remembered) == []
    assert os.listdir(state) == ["stopped.json.damaged"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["stopped", "started", "go on"]), st.sets(st.sampled_from("abc"))
        ),
        max_size=12,
    )
)
def test_what_was_told_to_be_saved_is_saved(state: Path, steps: list[tuple[str, set[str]]]) -> None:
    """Whenever nobody waits, the next daemon knows what this one does."""
    for name in os.listdir(state):
        (state / name).unlink()
    threads = Threads()
    remembered = Remembered(str(state), threads)
    expected: set[str] = set()
    asked = []
    for step, names in steps:
        if step == "stopped":
            expected |= names
            asked.append(Asked(remembered.stopped(names)))
        elif step == "started":
            expected -= names
            asked.append(Asked(remembered.started(names)))
        elif threads.waiting:
            threads.go_on()
        assert set(remembered) == expected
        assert len(threads.waiting) <= 1
        if all(each.done for each in asked):
            assert next_daemons(state) == sorted(expected)
    while threads.waiting:
        threads.go_on()
    assert all(each.answer is None for each in asked)
    assert next_daemons(state) == sorted(expected)
