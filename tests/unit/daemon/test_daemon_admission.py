"""Who may start now, and who has to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from fakes.daemon import process

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Process
from supervisortw.daemon.admission import Admission, Prospect


@dataclass(eq=False)
class Applicant:
    """One who wants to start; ``takes`` is how long its spawn keeps the reactor."""

    hall: Hall
    program: Process
    takes: float = 0.0
    let_in: int = 0
    is_starting: bool = False
    is_being_made: bool = False
    changes: int = 0

    def admitted(self) -> None:
        self.let_in += 1
        self.is_starting = True
        self.is_being_made = self.hall.slowly
        self.hall.order.append(self.program.name)
        self.hall.now += self.takes

    def prospects_changed(self) -> None:
        self.changes += 1

    def made(self) -> None:
        self.is_being_made = False
        self.hall.admission.moved(self)

    def up(self) -> None:
        self.is_starting = False
        self.hall.admission.moved(self)


@dataclass(eq=False)
class Call:
    at: float
    act: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Hall:
    """An Admission with a clock that stands still while a turn of the reactor goes on."""

    slowly: bool = False
    now: float = 0.0
    order: list[str] = field(default_factory=list)
    prospects: dict[str, Prospect] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def open(self, **keys: object) -> Hall:
        self.admission = Admission(self, lambda name: self.prospects[name], **keys)
        return self

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, act: Callable[..., object], *arguments: object) -> Call:
        call = Call(self.now + delay, lambda: act(*arguments))
        self.calls.append(call)
        return call

    def ask(self, name: str, *, takes: float = 0.0, depends_on: tuple[str, ...] = ()) -> Applicant:
        applicant = Applicant(self, process(name, depends_on=depends_on), takes)
        self.admission.ask(applicant)
        return applicant

    def turn(self, seconds: float = 0.0) -> list[str]:
        """Let time pass and the next turn happen; return who came in."""
        before = len(self.order)
        self.now += seconds
        due = [call for call in self.calls if call.at <= self.now and not call.cancelled]
        self.calls = [call for call in self.calls if call not in due]
        for call in due:
            call.act()
        return self.order[before:]


@pytest.fixture
def hall() -> Hall:
    return Hall().open()


READY = Prospect(ready=True, coming=True, text="")
COMING = Prospect(ready=False, coming=True, text="db (STARTING)")
HOPELESS = Prospect(ready=False, coming=False, text="cache (FATAL)")


class TestTurns:
    def test_who_asks_when_nobody_waits_comes_in_at_once(self, hall: Hall) -> None:
        assert hall.ask("a").let_in == 1

    def test_one_turn_takes_as_many_as_fit_and_the_next_go_on_in_order(self, hall: Hall) -> None:
        takes = LIMITS.turn_seconds / 2.5
        for name in "abcdefgh":
            hall.ask(name, takes=takes)
        assert hall.order == ["a", "b", "c"]
        assert hall.turn() == ["d", "e", "f"]
        assert hall.turn() == ["g", "h"]
        assert hall.turn() == []
        assert not hall.calls

    def test_who_comes_later_waits_behind_who_waits(self, hall: Hall) -> None:
        for name in "ab":
            hall.ask(name, takes=LIMITS.turn_seconds)
        hall.ask("c")
        assert hall.order == ["a"]
        hall.turn()
        assert hall.order == ["a", "b"]
        assert hall.turn() == ["c"]

    def test_who_cancels_does_not_come_in(self, hall: Hall) -> None:
        hall.ask("a", takes=LIMITS.turn_seconds)
        applicant = hall.ask("b")
        assert hall.admission.waits_for(applicant) == "waiting for its turn"
        hall.admission.cancel(applicant)
        assert hall.turn() == []

    def test_so_many_can_be_made_at_once_and_no_more(self) -> None:
        hall = Hall(slowly=True).open()
        applicants = [hall.ask(f"p{number}") for number in range(LIMITS.spawns_under_way + 2)]
        assert len(hall.order) == LIMITS.spawns_under_way
        assert hall.turn() == []
        half = LIMITS.spawns_under_way // 2
        for applicant in applicants[: half - 1]:
            applicant.made()
        assert len(hall.order) == LIMITS.spawns_under_way, "so that many come in together"
        applicants[half].made()
        assert hall.order[-2:] == [each.program.name for each in applicants[-2:]]
        hall.turn(1)
        assert hall.order[-1] == applicants[-1].program.name

    def test_nobody_waits_long_for_those_who_hang(self) -> None:
        hall = Hall(slowly=True).open()
        applicants = [hall.ask(f"p{number}") for number in range(LIMITS.spawns_under_way + 2)]
        applicants[0].made()
        assert hall.turn(LIMITS.crowded_seconds / 2) == []
        assert hall.turn(LIMITS.crowded_seconds) == [applicants[-2].program.name]
        applicants[1].made()
        assert hall.turn(LIMITS.crowded_seconds) == [applicants[-1].program.name]


class TestTogether:
    """Those who come in one after the other are made at the end of a context."""

    @staticmethod
    def hall_with(rounds: list[int]) -> Hall:
        hall = Hall()

        @contextmanager
        def together() -> Iterator[None]:
            before = len(hall.order)
            yield
            rounds.append(len(hall.order) - before)

        return hall.open(together=together)

    def test_all_whose_turn_it_is(self) -> None:
        rounds: list[int] = []
        hall = self.hall_with(rounds)
        with hall.admission.held:
            for number in range(20):
                hall.ask(f"p{number}")
        assert rounds == [20]

    def test_no_more_than_there_is_time_for(self) -> None:
        rounds: list[int] = []
        hall = self.hall_with(rounds)
        with hall.admission.held:
            for number in range(4):
                hall.ask(f"p{number}", takes=LIMITS.turn_seconds / 2)
        assert rounds == [2]
        hall.turn()
        assert rounds == [2, 2]

    def test_what_they_were_held_for_takes_its_time_as_well(self) -> None:
        rounds: list[int] = []
        hall = self.hall_with(rounds)
        with hall.admission.held:
            for number in range(3):
                hall.ask(f"p{number}", takes=LIMITS.turn_seconds / 2)
            hall.now += LIMITS.turn_seconds / 2
        assert rounds == [1]
        with hall.admission.held:
            hall.now += LIMITS.turn_seconds
        assert rounds == [1]
        hall.turn()
        assert rounds == [1, 2]

    def test_what_goes_wrong_at_its_end_does_not_keep_the_others_out(self) -> None:
        hall = Hall().open()
        wrong = Applicant(hall, process("wrong"))
        wrong.admitted = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(ZeroDivisionError), hall.admission.held:
            hall.admission.ask(wrong)
        hall.turn(LIMITS.turn_seconds)
        hall.ask("good")
        assert hall.order == ["good"]

    def test_nobody_comes_in_while_they_are_held(self, hall: Hall) -> None:
        with hall.admission.held:
            applicant = hall.ask("a")
            with hall.admission.held:
                hall.ask("b")
            assert hall.order == []
            assert hall.admission.is_next(applicant)
        assert hall.order == ["a", "b"]


class TestAtOnce:
    def test_so_many_are_made_at_once_and_others_come_in_when_half_of_them_are(self) -> None:
        most = [2]
        hall = Hall(slowly=True).open(at_once=lambda: most[0])
        applicants = [hall.ask(name) for name in "abcde"]
        assert hall.order == ["a", "b"]
        applicants[0].made()
        assert hall.order == ["a", "b", "c"]
        most[0] = 4
        applicants[1].made()
        assert hall.order == ["a", "b", "c", "d", "e"], "as many as are allowed now"


class TestMaxStarting:
    def test_so_many_are_starting_at_once(self) -> None:
        hall = Hall().open(max_starting=2)
        first, *_, last = [hall.ask(name) for name in "abc"]
        assert hall.order == ["a", "b"]
        assert hall.admission.waits_for(last) == "waiting for its turn (max-starting 2)"
        assert hall.turn(100) == []
        first.up()
        assert hall.order == ["a", "b", "c"]

    def test_a_higher_number_lets_more_in(self) -> None:
        hall = Hall().open(max_starting=1)
        for name in "abc":
            hall.ask(name)
        hall.admission.configure(2, 0.0)
        assert hall.order == ["a", "b"]
        hall.admission.configure(None, 0.0)
        assert hall.order == ["a", "b", "c"]


class TestStartDelay:
    def test_between_two_of_them_some_time_passes(self) -> None:
        hall = Hall().open(start_delay=5.0)
        for name in "abc":
            hall.ask(name)
        assert hall.order == ["a"]
        assert hall.turn(4.9) == []
        assert hall.turn(0.2) == ["b"]
        assert hall.turn(5.0) == ["c"]

    def test_who_asks_late_enough_does_not_wait(self) -> None:
        hall = Hall().open(start_delay=5.0)
        hall.ask("a")
        hall.turn(6.0)
        assert hall.ask("b").let_in == 1


class TestDependencies:
    def test_who_depends_on_nobody_ready_waits_until_they_are(self, hall: Hall) -> None:
        hall.prospects = {"db": COMING, "cache": READY}
        web = hall.ask("web", depends_on=("db", "cache"))
        assert (web.let_in, hall.admission.waits_for(web)) == (0, "waiting for db (STARTING)")
        hall.admission.look_again("db")
        assert (web.let_in, web.changes) == (0, 1)
        hall.prospects["db"] = READY
        hall.admission.look_again("other")
        assert web.let_in == 0
        hall.admission.look_again("db")
        assert web.let_in == 1

    def test_what_will_not_come_is_told_before_what_will(self, hall: Hall) -> None:
        hall.prospects = {"db": COMING, "cache": HOPELESS}
        web = hall.ask("web", depends_on=("db", "cache"))
        assert hall.admission.waits_for(web) == "waiting for cache (FATAL)"
        assert hall.admission.is_hopeless(web)
        hall.prospects["cache"] = READY
        assert not hall.admission.is_hopeless(web)

    def test_somebody_elses_move_lets_dependants_in(self, hall: Hall) -> None:
        hall.prospects = {"db": COMING}
        web = hall.ask("web", depends_on=("db",))
        db = hall.ask("db")
        hall.prospects["db"] = READY
        db.up()
        assert hall.order == ["db", "web"]
        assert web.let_in == 1

    def test_who_cancels_is_forgotten(self, hall: Hall) -> None:
        hall.prospects = {"db": COMING}
        web = hall.ask("web", depends_on=("db",))
        hall.admission.cancel(web)
        hall.prospects["db"] = READY
        hall.admission.look_again("db")
        assert web.let_in == 0

    def test_who_waits_for_others_keeps_nobody_waiting(self) -> None:
        hall = Hall(prospects={"db": COMING}).open(max_starting=1)
        hall.ask("web", depends_on=("db",))
        assert hall.ask("other").let_in == 1
