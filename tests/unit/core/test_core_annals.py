"""The lines by which events are left to the next daemon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core import annals
from supervisortw.core.annals import MOST, SHORTEST, Past, Senseless
from supervisortw.core.happening import Happening, Kind
from supervisortw.core.limits import LIMITS

WORLD = "boot 1"


def event(number: int, text: str = "x") -> Happening:
    return Happening(number=number, time=1e9, kind=Kind.DAEMON, text=text)


def lines(*numbers: int, following: int = 1) -> bytes:
    events = [annals.line(event(number)) for number in numbers]
    return b"".join([annals.opening(WORLD, "abc", following), *events])


def read(data: bytes) -> Past:
    past = annals.read(data, WORLD)
    assert past is not None
    return past


def test_what_was_written_is_read() -> None:
    assert read(lines(4, 5, 6)) == Past(epoch="abc", next=7, events=(event(4), event(5), event(6)))


def test_without_events_the_opening_knows_what_comes_next() -> None:
    assert read(lines(following=12)) == Past(epoch="abc", next=12)


def test_numbers_may_be_missing() -> None:
    assert [each.number for each in read(lines(1, 2, 7)).events] == [1, 2, 7]
    assert not read(lines(1, 2, 7)).damaged


def test_of_another_boot_nothing_counts() -> None:
    assert annals.read(lines(1), "boot 2") is None


def test_only_the_last_are_read() -> None:
    past = read(lines(*range(1, LIMITS.events + 4)))
    assert len(past.events) == LIMITS.events
    assert (past.events[0].number, past.next) == (4, LIMITS.events + 4)


def test_the_number_of_a_line_that_was_cut_short_is_not_given_again() -> None:
    past = read(lines(1, 2, 3)[:-5])
    assert ([each.number for each in past.events], past.damaged) == ([1, 2], 1)
    assert 4 <= past.next <= 6


def test_damage_in_the_middle_is_a_gap() -> None:
    one, two, three = (annals.line(event(number)) for number in (1, 2, 3))
    past = read(lines() + one + b"\0" * len(two) + b"\n" + three)
    assert ([each.number for each in past.events], past.next, past.damaged) == ([1, 3], 4, 1)


def test_damage_at_the_end_takes_all_the_numbers_that_may_have_been_there() -> None:
    past = read(lines(1) + b"\0" * (5 * SHORTEST) + b"\n")
    assert (past.next, past.damaged) == (2 + 6, 1)


@pytest.mark.parametrize("number", [1, 2, MOST + 1])
def test_a_number_that_cannot_be_is_damage(number: int) -> None:
    past = read(lines(1, 2) + annals.line(event(number)))
    assert ([each.number for each in past.events], past.damaged) == ([1, 2], 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"rubbish\n",
        b"[]\n",
        b'{"journal":1}\n',
        b'{"events":2,"world":"boot 1","epoch":"abc","next":1}\n',
        b'{"events":1,"world":"boot 1","epoch":"abc","next":0}\n',
        b'{"events":1,"world":"boot 1","epoch":"","next":1}\n',
        b'{"events":1,"world":"boot 1","epoch":"abc","next":%d}\n' % (MOST + 1),
        b'{"events":1,"world":1,"epoch":"abc","next":1}\n',
        b'{"events":1,"world":"boot 1","epoch":7,"next":1}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_without_a_beginning_it_is_of_no_use(data: bytes) -> None:
    with pytest.raises(Senseless, match=r".+"):
        annals.read(data, WORLD)


def test_no_line_is_shorter_than_the_shortest() -> None:
    least = Happening(number=1, time=0, kind=min(Kind, key=lambda kind: len(kind.value)))
    assert len(annals.line(least)) > SHORTEST


def test_a_line_that_blanks_have_swallowed_is_not_given_again() -> None:
    text = lines(1, 2).rstrip(b"\n")
    last = text.rindex(b"\n")
    past = read(text[:last] + b" " * (len(text) - last) + b"\n")
    assert past.next > 2


@given(st.data())
def test_whatever_is_damaged_no_number_is_given_again(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 20))
    text = bytearray(lines(*range(1, count + 1)))
    begin = data.draw(st.integers(len(lines()), len(text)))
    end = data.draw(st.integers(begin, len(text)))
    text[begin:end] = data.draw(st.sampled_from([b"\0", b" ", b"\n"])) * (end - begin)
    past = read(bytes(text))
    assert past.next > count
    assert [each.number for each in past.events] == sorted({each.number for each in past.events})
