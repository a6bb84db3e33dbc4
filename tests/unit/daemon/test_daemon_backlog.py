"""What waits for a target: oldest first, bounded, and fair."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.giver import FakeGiver

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.backlog import Backlog


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, target_bytes=20, target_share_bytes=8)
    monkeypatch.setattr("supervisortw.daemon.backlog.LIMITS", limits)


def write_all(backlog: Backlog) -> bytes:
    data = b""
    while backlog:
        part = bytes(backlog.oldest()[:3])
        data += part
        backlog.written(len(part))
    return data


def test_the_oldest_comes_first_and_whole() -> None:
    backlog, one, two = Backlog(), FakeGiver(), FakeGiver()
    backlog.add(one, b"first\n")
    backlog.add(two, b"second\n")
    backlog.add(one, b"third\n")
    assert write_all(backlog) == b"first\nsecond\nthird\n"
    assert not backlog


def test_who_gives_too_much_leaves_room_for_others() -> None:
    backlog, loud, quiet = Backlog(), FakeGiver(), FakeGiver()
    given = 0
    while backlog.has_room(loud):
        backlog.add(loud, b"1234")
        given += 4
    assert given == 8
    assert backlog.has_room(quiet)


def test_there_is_room_for_so_much_in_all() -> None:
    backlog = Backlog()
    givers = [FakeGiver() for _ in range(10)]
    for giver in givers:
        if backlog.has_room(giver):
            backlog.add(giver, b"1234567")
    assert len(write_all(backlog)) == 21


def test_who_was_refused_hears_when_what_it_gave_is_written() -> None:
    backlog, giver, other = Backlog(), FakeGiver(), FakeGiver()
    backlog.add(giver, b"12345678")
    assert not backlog.has_room(giver)
    backlog.add(other, b"1234")
    backlog.written(5)
    assert giver.rooms == 0
    backlog.written(3)
    assert giver.rooms == 1
    assert backlog.has_room(giver)
    write_all(backlog)
    assert (giver.rooms, other.rooms) == (1, 0), "once, and only who was refused"


def test_who_was_refused_for_others_hears_when_half_is_free() -> None:
    backlog, giver = Backlog(), FakeGiver()
    for _ in range(3):
        backlog.add(FakeGiver(), b"12345678")
    assert not backlog.has_room(giver)
    backlog.written(8)
    assert giver.rooms == 0
    backlog.written(8)
    assert giver.rooms == 1


def test_who_gives_again_at_once_when_there_is_room_is_served() -> None:
    backlog, giver = Backlog(), FakeGiver()
    giver.when_room = lambda: backlog.add(giver, b"again")
    backlog.add(giver, b"12345678")
    assert not backlog.has_room(giver)
    assert write_all(backlog) == b"12345678again"


def test_what_cannot_be_written_is_told_to_who_gave_it() -> None:
    backlog, one, two = Backlog(), FakeGiver(), FakeGiver()
    backlog.add(one, b"a")
    backlog.add(two, b"b")
    backlog.add(one, b"c")
    backlog.drop()
    assert one.lost_data == [b"a"]
    backlog.drop_all()
    assert (one.lost_data, two.lost_data) == ([b"a", b"c"], [b"b"])
    assert not backlog


def test_who_is_forgotten_hears_nothing() -> None:
    backlog, giver = Backlog(), FakeGiver()
    backlog.add(giver, b"12345678")
    assert not backlog.has_room(giver)
    backlog.forget(giver)
    write_all(backlog)
    assert giver.rooms == 0
