"""Records as plain values and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.states import ALIVE, UNSETTLED, State
from supervisortw.core.status import (
    GOOD_RESULTS,
    DaemonStatus,
    LogPiece,
    Outcome,
    ProgramStatus,
    ReloadAnswer,
    Result,
    from_plain,
    to_plain,
)

texts = st.text(max_size=8)
lists = st.lists(texts, max_size=3).map(tuple)
outcomes = st.builds(Outcome, name=texts, result=st.sampled_from(Result), text=texts)
programs = st.builds(
    ProgramStatus,
    name=texts,
    state=st.sampled_from(State),
    wanted=st.booleans(),
    pid=st.integers(0, 2**31),
    since=st.floats(0, 1e9),
    restarts=st.integers(0, 10**6),
    detail=texts,
)
statuses = st.builds(
    DaemonStatus,
    version=texts,
    pid=st.integers(1, 2**31),
    sockets=lists,
    source=texts,
    uptime=st.floats(0, 1e9),
    shutting_down=st.booleans(),
    notes=lists,
    programs=st.lists(programs, max_size=2).map(tuple),
    unknown=st.lists(outcomes, max_size=2).map(tuple),
)
answers = st.builds(
    ReloadAnswer,
    source=texts,
    lines=lists,
    warnings=lists,
    outcomes=st.lists(outcomes, max_size=2).map(tuple),
)
STATUS = DaemonStatus(
    version="1.2.3",
    pid=7,
    sockets=("/run/x",),
    source="/etc/x",
    uptime=1.5,
    shutting_down=False,
    notes=(),
    programs=(
        ProgramStatus(
            name="web",
            program="web",
            group="web",
            state=State.RUNNING,
            wanted=True,
            pid=12,
            since=3.0,
            restarts=0,
            detail="",
        ),
    ),
    unknown=(Outcome(name="wbe", result=Result.UNKNOWN, text="no such program"),),
)


@given(st.one_of(statuses, answers, outcomes, programs))
def test_every_record_comes_back(record: DaemonStatus | ReloadAnswer | Outcome) -> None:
    told = json.loads(json.dumps(to_plain(record)))
    assert from_plain(type(record), told) == record


def test_as_plain_values() -> None:
    assert to_plain(STATUS) == {
        "version": "1.2.3",
        "pid": 7,
        "sockets": ["/run/x"],
        "source": "/etc/x",
        "uptime": 1.5,
        "shutting_down": False,
        "notes": [],
        "programs": [
            {
                "name": "web",
                "program": "web",
                "group": "web",
                "state": "RUNNING",
                "wanted": True,
                "pid": 12,
                "since": 3.0,
                "restarts": 0,
                "detail": "",
            }
        ],
        "unknown": [{"name": "wbe", "result": "unknown", "text": "no such program"}],
    }
    assert to_plain([STATUS.unknown[0]]) == [to_plain(STATUS.unknown[0])]
    assert to_plain({"pid": 7}) == {"pid": 7}


def test_what_a_newer_peer_tells_besides_is_left_out() -> None:
    told = {**to_plain(STATUS), "weather": "fine"}
    told["programs"][0]["memory"] = 4096
    assert from_plain(DaemonStatus, told) == STATUS


def test_what_an_older_peer_does_not_tell_has_its_default() -> None:
    told = to_plain(STATUS)
    del told["unknown"]
    assert from_plain(DaemonStatus, told) == replace(STATUS, unknown=())


def test_a_field_without_a_default_is_never_guessed() -> None:
    told = to_plain(STATUS)
    del told["version"]
    with pytest.raises(TypeError, match="version"):
        from_plain(DaemonStatus, told)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Outcome, {"name": "web", "result": "splendid", "text": ""}),
        (Outcome, {"name": "web", "result": None, "text": ""}),
        (Outcome, {"name": "web", "result": ["started"], "text": ""}),
        (DaemonStatus, {**to_plain(STATUS), "sockets": None}),
        (DaemonStatus, {**to_plain(STATUS), "programs": 3}),
        (DaemonStatus, {**to_plain(STATUS), "programs": [{"state": "RUNNING"}]}),
        (DaemonStatus, {**to_plain(STATUS), "programs": ["web"]}),
        (DaemonStatus, {**to_plain(STATUS), "unknown": [None]}),
        (ReloadAnswer, {"source": "", "lines": 1, "warnings": []}),
        (ReloadAnswer, ["source", "lines"]),
        (ReloadAnswer, None),
        (ReloadAnswer, "source"),
    ],
)
def test_what_is_no_record_is_an_error_of_the_promised_kind(kind: type[Any], told: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_plain(kind, told)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (ProgramStatus, "pid", "12"),
        (ProgramStatus, "since", None),
        (ProgramStatus, "name", 5),
        (ProgramStatus, "wanted", "yes"),
        (DaemonStatus, "uptime", []),
        (DaemonStatus, "version", {}),
        (DaemonStatus, "pid", 1.5),
        (Outcome, "text", 5),
        (ReloadAnswer, "source", None),
    ],
)
def test_a_value_that_cannot_be_what_the_record_says(
    kind: type[Any], key: str, value: object
) -> None:
    good = {
        ProgramStatus: STATUS.programs[0],
        DaemonStatus: STATUS,
        Outcome: STATUS.unknown[0],
        ReloadAnswer: ReloadAnswer(source="/etc/x", lines=(), warnings=()),
    }[kind]
    assert key in {field.name for field in fields(kind)}
    with pytest.raises((ValueError, TypeError)):
        from_plain(kind, {**to_plain(good), key: value})


@pytest.mark.parametrize("kind", [DaemonStatus, ProgramStatus, Outcome, ReloadAnswer])
def test_every_field_of_an_answer_can_be_read(kind: type[Any]) -> None:
    known = {"str", "int", "bool", "float", "State", "Result"}
    for field in fields(kind):
        assert str(field.type) in known or str(field.type).startswith("tuple["), field


def test_a_whole_number_is_a_number() -> None:
    told = {**to_plain(STATUS), "uptime": 3}
    assert from_plain(DaemonStatus, told).uptime == 3.0


class TestWords:
    def test_failures_are_what_is_not_good(self) -> None:
        bad = {Result.FAILED, Result.SUPERSEDED, Result.UNKNOWN}
        assert set(Result) - GOOD_RESULTS == bad
        for result in Result:
            outcome = Outcome(name="web", result=result, text="")
            assert outcome.good is (result not in bad)

    def test_up_means_a_process(self) -> None:
        [status] = STATUS.programs
        assert status.up
        assert not replace(status, pid=0).up

    def test_changed_means_lines(self) -> None:
        answer = ReloadAnswer(source="/etc/x", lines=(), warnings=("careful",))
        assert not answer.changed
        assert replace(answer, lines=("web: added",)).changed

    def test_what_is_unsettled_is_alive_or_waits_to_be(self) -> None:
        assert UNSETTLED - {State.WAITING} < ALIVE
        assert UNSETTLED | {State.RUNNING} == ALIVE | {State.WAITING}

    def test_a_piece_of_a_log_keeps_its_bytes(self) -> None:
        piece = LogPiece(offset=3, size=10, data=b"\x00\xff")
        assert to_plain(piece)["data"] == b"\x00\xff"
