"""Room for so many at once: who gets in, in which order, and how many can wait."""

from __future__ import annotations

import pytest
from fakes.asking import Asked
from twisted.internet.defer import CancelledError, Deferred

from supervisortw.client.places import Places


class Room:
    """A room with places, and who is inside."""

    def __init__(self, number: int) -> None:
        self.places = Places(number)
        self.inside: list[int] = []
        self.gates: dict[int, Deferred[None]] = {}

    async def stay(self, who: int) -> int:
        async with self.places:
            self.inside.append(who)
            try:
                await self.gates.setdefault(who, Deferred())
            finally:
                self.inside.remove(who)
        return who


def test_so_many_are_inside_and_the_first_who_waits_comes_next() -> None:
    room = Room(2)
    staying = [Asked(room.stay(who)) for who in range(4)]
    assert (room.inside, room.places.free) == ([0, 1], 0)
    room.gates[1].callback(None)
    assert (room.inside, staying[1].answer) == ([0, 2], 1)
    for who in (0, 2, 3):
        room.gates[who].callback(None)
    assert [each.answer for each in staying] == [0, 1, 2, 3]
    assert room.places.free == 2


def test_who_goes_away_is_not_let_in_and_leaves_their_place() -> None:
    room = Room(1)
    staying = [Asked(room.stay(who)) for who in range(3)]
    staying[1].cancel()
    staying[0].cancel()
    assert room.inside == [2]
    for each in staying[:2]:
        with pytest.raises(CancelledError):
            assert each.answer
    room.gates[2].callback(None)
    assert room.places.free == 1


def test_an_error_leaves_the_place_to_others() -> None:
    room = Room(1)
    failing, waiting = Asked(room.stay(0)), Asked(room.stay(1))
    room.gates[0].errback(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        assert failing.answer
    room.gates[1].callback(None)
    assert waiting.answer == 1


def test_many_who_leave_at_once_are_not_inside_of_each_other() -> None:
    room = Room(1)
    room.gates = {who: Deferred() for who in range(5000)}
    for who in range(1, 5000):
        room.gates[who].callback(None)
    staying = [Asked(room.stay(who)) for who in range(5000)]
    room.gates[0].callback(None)
    assert [each.answer for each in staying] == list(range(5000))
