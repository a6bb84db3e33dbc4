"""Records of what happens: as sentences, and as plain values that are not believed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST
from supervisortw.core.states import State

CHANGE = Happening(
    number=7,
    time=1e9,
    kind=Kind.STATE,
    name="web",
    text="ended by SIGKILL",
    before=State.RUNNING,
    after=State.BACKOFF,
    pid=0,
)
ASKED = Happening(number=8, time=1e9, kind=Kind.ASKED, name="web api", text="root asks: stop")
DAEMON = Happening(number=9, time=1e9, kind=Kind.DAEMON, text="shutting down")
ANSWER = EventsAnswer(
    epoch="abc", first=7, last=12, events=(CHANGE, ASKED, DAEMON), lost_from=3, lost_to=6
)


@pytest.mark.parametrize(
    ("happening", "sentence"),
    [
        (CHANGE, "web: RUNNING -> BACKOFF: ended by SIGKILL"),
        (replace(CHANGE, after=State.RUNNING, pid=12, text=""), "web: RUNNING -> RUNNING (pid 12)"),
        (ASKED, "root asks: stop web api"),
        (replace(ASKED, name="", text="root asks: reload"), "root asks: reload"),
        (DAEMON, "shutting down"),
        (replace(DAEMON, kind=Kind.LOG, name="web", text="disk full"), "web: disk full"),
    ],
)
def test_people_are_told_in_one_sentence(happening: Happening, sentence: str) -> None:
    assert happening.sentence == sentence


@pytest.mark.parametrize("happening", [CHANGE, replace(CHANGE, pid=12), ASKED, DAEMON])
def test_a_record_survives_the_way_to_plain_values_and_back(happening: Happening) -> None:
    assert Happening.from_plain(json.loads(json.dumps(happening.to_plain()))) == happening


@pytest.mark.parametrize(
    "answer", [ANSWER, EventsAnswer(epoch="", first=1, last=0), replace(ANSWER, events=())]
)
def test_so_does_an_answer(answer: EventsAnswer) -> None:
    assert EventsAnswer.from_plain(json.loads(json.dumps(answer.to_plain()))) == answer


def test_what_a_newer_daemon_tells_besides_is_left_alone() -> None:
    assert Happening.from_plain({**CHANGE.to_plain(), "mood": "good"}) == CHANGE
    assert EventsAnswer.from_plain({**ANSWER.to_plain(), "mood": "good"}) == ANSWER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("number", value) for value in (0, -1, True, 1.0, "1", None, LARGEST + 1)),
        *(("time", value) for value in (-1, True, "1", None, float("nan"), float("inf"), 1e300)),
        *(("kind", value) for value in ("", "nosuch", None, [], {}, 1)),
        *(("name", value) for value in (None, 1, [], "x" * (LIMITS.event_characters + 1))),
        *(("text", value) for value in (None, b"x", "x" * (LIMITS.event_characters + 1))),
        *(("before", value) for value in ("", "running", None, [], 3)),
        *(("after", value) for value in ("", "UNHEARD OF", {})),
        *(("pid", value) for value in (-1, 2.0, False, LARGEST + 1)),
    ],
)
def test_what_makes_no_sense_is_no_record(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Happening.from_plain({**CHANGE.to_plain(), name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epoch", value) for value in (None, 1, "x" * 65)),
        *(("first", value) for value in (0, None, 14)),
        *(("last", value) for value in (-1, None, 8)),
        *(("lost_from", value) for value in (0, 7, -1, None)),
        *(("lost_to", value) for value in (0, 2, 5, 7, LARGEST + 1)),
        *(("events", value) for value in (None, {}, [None], ["x"], [[]])),
        ("events", [CHANGE.to_plain(), DAEMON.to_plain()]),
        ("events", [ASKED.to_plain()]),
        ("events", [CHANGE.to_plain(), CHANGE.to_plain()]),
        ("events", [CHANGE.to_plain()] * (LIMITS.events + 1)),
    ],
)
def test_what_makes_no_sense_is_no_answer(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        EventsAnswer.from_plain({**ANSWER.to_plain(), name: value})


@pytest.mark.parametrize("plain", [None, [], "text", 7, b"", True])
def test_what_is_no_object_is_neither(plain: object) -> None:
    for kind in (Happening, EventsAnswer):
        with pytest.raises(ValueError, match="no object"):
            kind.from_plain(plain)


def test_an_answer_ends_with_its_last_event_or_with_what_is_lost() -> None:
    assert ANSWER.end == 9
    assert replace(ANSWER, events=()).end == 6
    assert EventsAnswer(epoch="abc", first=1, last=5).end == 0
