"""Work in small portions."""

from __future__ import annotations

from collections.abc import Callable

from supervisortw.daemon.turns import Turns


class Work:
    """Things to be done, each of which takes a while, in turns of 4 ms; a clock for them as well."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[Callable[[], object]] = []
        self.done: list[int] = []
        self.turns = Turns(self, seconds=0.004)

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, callable: Callable[[], object]) -> None:
        assert delay == 0
        self.later.append(callable)

    def ask(self, number: int, seconds: float = 0.0015) -> Callable[[], None]:
        def act() -> None:
            self.now += seconds
            self.done.append(number)

        return self.turns.take(act)

    def turn(self) -> list[int]:
        """Let the next turn of the reactor happen; return what was done in it."""
        before = len(self.done)
        due, self.later = self.later, []
        for call in due:
            call()
        return self.done[before:]


def test_what_is_asked_for_when_nothing_waits_is_done_at_once() -> None:
    work = Work()
    work.ask(1)
    assert work.done == [1]


def test_one_turn_does_as_much_as_fits_and_the_next_go_on_in_order() -> None:
    work = Work()
    for number in range(8):
        work.ask(number)
    assert work.done == [0, 1, 2]
    assert work.turn() == [3, 4, 5]
    assert work.turn() == [6, 7]
    assert work.turn() == []
    assert not work.later


def test_what_comes_later_waits_behind_what_waits() -> None:
    work = Work()
    for number in range(4):
        work.ask(number)
    work.turn()
    work.ask(4, seconds=0.0)
    assert work.done == [0, 1, 2, 3, 4]


def test_what_is_cancelled_is_not_done() -> None:
    work = Work()
    for number in range(3):
        work.ask(number)
    cancel = work.ask(3)
    work.ask(4)
    cancel()
    assert work.turn() == [4]


def test_what_was_done_cannot_be_cancelled() -> None:
    work = Work()
    work.ask(1)()
    assert work.done == [1]


def test_asked_for_within_the_work_it_is_done_as_well() -> None:
    work = Work()
    work.turns.take(lambda: work.ask(1) and None)
    assert work.done == [1]
