"""From one configuration to another: the least that has to happen."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import pytest
from fakes.daemon import SETTINGS, process
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.model import (
    ListeningSocket,
    Process,
    Settings,
    StopStep,
    TcpAddress,
    UnixAddress,
)
from supervisortw.core.plan import (
    APPLIED_AT_ONCE,
    FOR_THE_START_ONLY,
    NEVER_DIFFER,
    PROGRAM_SPELLINGS,
    SEEN_BY_THE_PROCESS,
    Layout,
    plan,
)

WEB, API, DB = process("web"), process("api"), process("db", auto_start=False)
EVERYTHING = {"web", "api", "db"}


def another(value: object, annotation: str) -> object:
    """Return a value of the same kind that differs from ``value``; a plan compares, and no more."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}2"
    if isinstance(value, tuple) and value and isinstance(value[0], StopStep):
        return (StopStep(signal=2, wait=1.0),)
    if isinstance(value, (tuple, frozenset)):
        return type(value)(["other"])
    return f"another {annotation}"


KEYS = [field.name for field in fields(Process) if field.name not in NEVER_DIFFER]
SETTINGS_KEYS = [field.name for field in fields(Settings)]
Record = TypeVar("Record", Process, Settings)


def changed(record: Record, key: str) -> Record:
    """Return ``record`` with another value for one key."""
    [field] = [field for field in fields(record) if field.name == key]
    return replace(record, **{key: another(getattr(record, key), str(field.type))})


def layout(
    *processes: Process, settings: Settings = SETTINGS, sockets: tuple[ListeningSocket, ...] = ()
) -> Layout:
    return Layout(
        settings=settings,
        processes={each.name: each for each in processes},
        sockets={each.name: each for each in sockets},
    )


def lines(old: list[Process], new: list[Process], up: set[str] = EVERYTHING) -> tuple[str, ...]:
    return plan(layout(*old), layout(*new), up).lines()


def test_nothing_differs() -> None:
    assert lines([WEB, API], [WEB, API]) == ()


def test_the_order_in_the_file_is_no_difference() -> None:
    assert lines([WEB, API], [API, WEB]) == ()


def test_added() -> None:
    assert lines([], [WEB, DB]) == ("web: added, to be started", "db: added, not started")


def test_removed() -> None:
    expected = ("web: removed, to be stopped", "api: removed")
    assert lines([WEB, API], [], {"web"}) == expected


def test_renamed_is_removed_and_added() -> None:
    expected = ("web: removed, to be stopped", "www: added, to be started")
    assert lines([WEB], [process("www")]) == expected


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_of_what_is_up(key: str) -> None:
    spelt = PROGRAM_SPELLINGS.get(key, key).replace("_", "-")
    step = "to be restarted" if key in SEEN_BY_THE_PROCESS else "updated in place"
    assert lines([WEB], [changed(WEB, key)]) == (f"web: {step} ({spelt} changed)",)


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_of_what_is_down_starts_nothing(key: str) -> None:
    [line] = lines([WEB], [changed(WEB, key)], set())
    assert line.startswith("web: updated in place")


def test_only_the_wait_of_a_stop_is_told_as_such() -> None:
    new = replace(WEB, stop_steps=(StopStep(signal=WEB.stop_steps[0].signal, wait=1.0),))
    assert lines([WEB], [new]) == ("web: updated in place (stop-wait-seconds changed)",)


def test_several_keys_are_told_in_the_order_of_the_alphabet() -> None:
    new = replace(WEB, user="www", command=("web2",), priority=3)
    assert lines([WEB], [new]) == ("web: to be restarted (command, priority, user changed)",)


def test_what_the_process_sees_are_keys_of_a_program() -> None:
    assert set(KEYS) >= SEEN_BY_THE_PROCESS


@pytest.mark.parametrize("key", SETTINGS_KEYS)
def test_a_changed_key_of_the_daemon(key: str) -> None:
    spelt = "socket-name" if key == "sockets" else key.replace("_", "-")
    new = changed(SETTINGS, key)
    found = plan(layout(), layout(settings=new), set()).lines()
    if key in FOR_THE_START_ONLY:
        assert found == ()
    elif key in APPLIED_AT_ONCE:
        assert found == (f"supervisord: {spelt} changed",)
    else:
        later = "it takes effect when supervisord is started anew"
        assert found == (f"supervisord: {spelt} changed; {later}",)


HTTP = ListeningSocket(name="http", address=TcpAddress(host="", port=80))
LOCAL = ListeningSocket(name="local", address=UnixAddress(path="/run/app.sock"))


def test_sockets_are_told() -> None:
    old = layout(sockets=(HTTP, LOCAL))
    new = layout(sockets=(replace(HTTP, backlog=5), replace(LOCAL, name="other")))
    assert plan(old, new, set()).lines() == (
        "socket local: closed",
        "socket http: changed",
        "socket other: added",
    )


@pytest.mark.parametrize("keys", [{"sockets": ("http",)}, {"stdin_socket": "http"}])
def test_whose_socket_is_another_one_is_restarted(keys: dict[str, object]) -> None:
    web = process("web", **keys)
    moved = replace(HTTP, address=TcpAddress(host="", port=81))
    old, new = layout(web, API, sockets=(HTTP,)), layout(web, API, sockets=(moved,))
    assert plan(old, new, {"web", "api"}).lines() == (
        "web: to be restarted (sockets changed)",
        "socket http: changed",
    )
    deeper = layout(web, API, sockets=(replace(HTTP, backlog=5),))
    assert plan(old, deeper, {"web", "api"}).programs == ()


programs = st.lists(
    st.builds(
        process,
        st.sampled_from("abcdef"),
        priority=st.integers(1, 3),
        auto_start=st.booleans(),
        user=st.sampled_from([None, "www"]),
    ),
    unique_by=lambda each: each.name,
    max_size=6,
)


@given(programs, programs, st.sets(st.sampled_from("abcdef")))
def test_each_program_has_at_most_one_step_and_it_is_the_right_one(
    old: list[Process], new: list[Process], up: set[str]
) -> None:
    found = plan(layout(*old), layout(*new), up)
    steps = {each.name: each for each in found.programs}
    assert len(steps) == len(found.programs)
    before = {each.name: each for each in old}
    after = {each.name: each for each in new}
    for name in before.keys() | after.keys():
        one, other = before.get(name), after.get(name)
        told = steps[name].step.value if name in steps else None
        if one == other:
            assert told is None
        elif one is None or other is None:
            assert told == ("add" if one is None else "remove")
        else:
            assert told == ("restart" if one.user != other.user and name in up else "update")
