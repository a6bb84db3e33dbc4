"""What a daemon writes down, and what a later one makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core import chronicle
from supervisortw.core.anchor import Anchor
from supervisortw.core.born import Born
from supervisortw.core.chronicle import Foreign, Left
from supervisortw.core.lifecycle import Life
from supervisortw.core.memory import Memory
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State

OPENING = chronicle.opening("boot 1", "abc", 7)
UP = Memory(
    life=Life(state=State.RUNNING, wanted=True, spawned=True), pid=12, sid=12, born=Born(9.0, 9.5)
)


def read(*lines: str) -> Left:
    return chronicle.read("\n".join([*lines, ""]).encode())


def test_the_last_line_about_something_holds() -> None:
    left = read(
        OPENING,
        chronicle.process("web", Memory()),
        chronicle.process("db", UP),
        chronicle.process("web", UP),
        chronicle.scaled("pool", 2, 5),
        chronicle.scaled("pool", 2, 1),
        chronicle.scaled("other", 1, 9),
        chronicle.unscaled("other"),
    )
    assert left == Left(
        world="boot 1",
        token="abc",
        spawns=7,
        processes={"web": UP, "db": UP},
        scaled={"pool": (2, 1)},
    )


def test_a_process_that_was_not_seen_to_yet_is_known() -> None:
    mark = SpawnId(daemon="abc", name="web", number=3)
    starting = Memory(life=Life(state=State.STARTING, wanted=True), spawn=mark, started=1.0)
    there = replace(starting, pid=12, sid=12, started=9.25, born=Born(9.0, 9.5))
    lines = [OPENING, chronicle.process("web", starting), chronicle.made("web", there)]
    assert read(*lines).processes == {"web": there}
    assert read(*lines, chronicle.process("web", UP)).processes == {"web": UP}
    other = replace(there, spawn=mark._replace(number=2))
    for line in (chronicle.made("web", other), chronicle.made("db", there)):
        left = read(*lines[:2], line)
        assert (left.processes, left.damaged) == ({"web": starting}, 0)


ANCHOR = Anchor(epoch="0123abcd", start=10, floor=4, file=(2049, 77))


def test_where_the_files_of_logs_begin() -> None:
    later = replace(ANCHOR, start=20, file=(2049, 78))
    left = read(OPENING, chronicle.log("web", ANCHOR), chronicle.log("web", later))
    assert left.logs == {"web": later}


def test_who_is_gone_is_forgotten() -> None:
    left = read(
        OPENING,
        chronicle.process("web", UP),
        *(chronicle.log(name, ANCHOR) for name in ("web", "web/stderr", "web2")),
        chronicle.gone("web"),
        chronicle.gone("db"),
    )
    assert left.processes == {}
    assert left.logs == {"web2": ANCHOR}
    assert not left.damaged


def test_a_daemon_may_have_been_ending() -> None:
    assert not read(OPENING).ending
    left = read(OPENING, chronicle.ending(7))
    assert (left.ending, left.exit_code) == (True, 7)


def test_the_highest_number_of_a_mark_counts_whoever_had_it() -> None:
    def marked(number: int) -> Memory:
        return Memory(spawn=SpawnId(daemon="abc", name="web", number=number))

    lines = [chronicle.process("web", marked(number)) for number in (8, 12, 9)]
    assert read(OPENING, *lines, chronicle.gone("web")).spawns == 12


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no json",
        "3",
        "[" * 10_000,
        '{"unknown":1}',
        '{"process":"web","state":"SLEEPING"}',
        '{"process":""}',
        '{"process":7}',
        '{"made":"web","number":1,"pid":-1,"started":1.0,"born":[1,2]}',
        '{"made":"web","number":"1","pid":1,"started":1.0,"born":[1,2]}',
        '{"made":"web","number":1,"pid":1,"started":1.0,"born":[1]}',
        '{"made":7}',
        '{"gone":null}',
        '{"scaled":"web","said":-1,"count":2}',
        '{"ending":null}',
        '{"log":"web","epoch":"a","start":1,"floor":0}',
        '{"log":"web","epoch":"a","start":1,"floor":0,"file":[1]}',
        '{"log":"web","epoch":"a","start":1,"floor":0,"file":[1,"2"]}',
        '{"log":"web","epoch":"","start":1,"floor":0,"file":[1,2]}',
        '{"log":"web","epoch":"a","start":-1,"floor":0,"file":[1,2]}',
        '{"journal":1,"world":"w","token":"no hexadecimal","spawns":0}',
        '{"journal":1,"world":"w","token":"abc","spawns":true}',
    ],
)
def test_a_line_without_sense_is_counted_and_the_others_hold(line: str) -> None:
    left = read(OPENING, line, chronicle.process("web", UP))
    assert (left.damaged, left.processes) == (1, {"web": UP})


def test_a_last_line_that_was_cut_short_is_damaged() -> None:
    data = f"{OPENING}\n{chronicle.process('web', UP)}".encode()
    assert chronicle.read(data) == Left(world="boot 1", token="abc", spawns=7, damaged=1)


def test_another_form_is_foreign() -> None:
    with pytest.raises(Foreign, match="its format is 2, and ours is 1"):
        read('{"journal":2}')


@given(st.binary(max_size=200), st.integers(0, 300))
def test_whatever_is_damaged_what_is_left_can_be_told(damage: bytes, place: int) -> None:
    data = "\n".join([OPENING, chronicle.process("web", UP), chronicle.ending(0), ""]).encode()
    place = min(place, len(data))
    try:
        left = chronicle.read(data[:place] + damage + data[place + len(damage) :])
    except Foreign:
        return
    assert left.processes.keys() <= {"web"} or left.damaged or damage
