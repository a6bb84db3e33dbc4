"""Histories that must not be are found out, and the like of them that may be are not."""

from __future__ import annotations

import pytest
from functional_chaos_rules import Instance, Rules, Slot, Told, Wish

SLOTS = [
    Slot(name="plain"),
    Slot(name="printer", prints=True),
    Slot(name="mortal", mortal=True),
    Slot(name="once", once=True),
    Slot(name="extra", renewed=True),
]
PLAIN = Instance("plain", 10, 1.0)
NEXT = Instance("plain", 11, 6.0)


class History:
    """Rules, and what happened so far; each look takes a tenth of a second."""

    def __init__(self) -> None:
        self.rules = Rules(SLOTS, [slot.name for slot in SLOTS])
        self.settle(0.0)

    def look(self, at: float, *living: Instance) -> None:
        self.rules.seen(at, at + 0.1, living)

    def ask(self, at: float, name: str, wish: Wish, answered: float | None = None) -> None:
        self.rules.asked(at, {name: wish})
        if answered is not None:
            self.rules.answered(answered, [name], done=True)

    def status(self, at: float, **rows: Told) -> None:
        self.rules.told(at, at + 0.1, rows)

    def settle(self, at: float, gone: str = "", **states: str) -> None:
        """All slots run but those of which something else is said."""
        names = [slot.name for slot in SLOTS if slot.name != gone]
        rows = {name: _told(state=states.get(name, "RUNNING")) for name in names}
        self.rules.settled(at, rows)

    @property
    def complaints(self) -> list[str]:
        """What was complained of, without the times."""
        return [each.partition(": ")[2] for each in self.rules.complaints]


def _told(
    state: str = "RUNNING", pid: int = 0, uptime: float = 0, restarts: int = 0, detail: str = ""
) -> Told:
    return Told(state=state, pid=pid, uptime=uptime, restarts=restarts, detail=detail)


@pytest.fixture
def history() -> History:
    return History()


class TestInstances:
    def test_two_at_once(self, history: History) -> None:
        history.look(2, PLAIN)
        history.look(7, PLAIN, NEXT)
        assert history.complaints == [
            "alive at once: plain (pid 10, born 1.00), plain (pid 11, born 6.00)"
        ]

    def test_two_that_have_met(self, history: History) -> None:
        history.rules.recorded(7, NEXT, ["double", "plain", "10"])
        assert history.complaints == ["plain (pid 11, born 6.00) has met another one: plain 10"]

    def test_one_after_the_other(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.kills(3, PLAIN)
        history.look(4)
        history.look(7, NEXT)
        assert history.complaints == []


class TestDeaths:
    def test_one_that_nobody_wanted(self, history: History) -> None:
        history.look(2, PLAIN)
        history.look(3)
        assert history.complaints == [
            "plain (pid 10, born 1.00) has ended, and nobody has told it to"
        ]

    def test_one_whose_number_another_has_got(self, history: History) -> None:
        history.look(2, PLAIN)
        history.look(7, Instance("plain", PLAIN.pid, 6.0))
        assert len(history.complaints) == 1

    def test_one_that_is_hidden_by_the_next(self, history: History) -> None:
        history.look(2, PLAIN)
        history.look(7, NEXT)
        assert len(history.complaints) == 1

    def test_its_own_exit(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.recorded(3, PLAIN, ["exit", "7"])
        history.look(3.1)
        assert history.complaints == []

    def test_the_exit_of_another(self, history: History) -> None:
        history.look(7, NEXT)
        history.rules.recorded(3, PLAIN, ["exit", "7"])
        history.look(8)
        assert len(history.complaints) == 1

    def test_while_it_is_stopped(self, history: History) -> None:
        history.look(2, PLAIN)
        history.ask(2.5, "plain", Wish.DOWN, answered=2.9)
        history.look(3)
        assert history.complaints == []

    def test_while_another_is_stopped(self, history: History) -> None:
        history.look(2, PLAIN)
        history.ask(2.5, "printer", Wish.DOWN, answered=2.9)
        history.look(3)
        assert len(history.complaints) == 1

    def test_after_a_restart_is_over(self, history: History) -> None:
        history.ask(1.5, "plain", Wish.UP, answered=1.9)
        history.look(2, PLAIN)
        history.look(3)
        assert len(history.complaints) == 1

    def test_long_after_a_client_was_killed(self, history: History) -> None:
        history.ask(1.5, "plain", Wish.UP)
        history.look(2, PLAIN)
        history.look(3)
        assert history.complaints == []
        history.look(6.5, NEXT)
        history.settle(7, plain="RUNNING")
        history.look(8, NEXT)
        history.look(9)
        assert len(history.complaints) == 1

    def test_with_the_daemon(self, history: History) -> None:
        mortal = Instance("mortal", 12, 1.0)
        history.look(2, PLAIN, mortal)
        history.rules.kills_daemon(2.5)
        history.look(3)
        assert len(history.complaints) == 1
        assert history.complaints[0].startswith("plain")

    def test_by_a_pipe_that_nobody_has(self, history: History) -> None:
        printer = Instance("printer", 12, 1.0)
        history.look(2, PLAIN, printer)
        history.rules.kills_holder(2.2)
        history.rules.deserts(2.5)
        history.rules.guarded(3.0, holder=True)
        history.look(9)
        assert len(history.complaints) == 1
        assert history.complaints[0].startswith("plain")

    def test_by_a_pipe_that_the_holder_has(self, history: History) -> None:
        history.look(2, Instance("printer", 12, 1.0))
        history.rules.kills_daemon(2.2)
        history.look(3)
        assert len(history.complaints) == 1

    def test_not_with_the_daemon(self, history: History) -> None:
        mortal = Instance("mortal", 12, 1.0)
        history.rules.kills_daemon(2.5)
        history.look(5, mortal)
        assert history.complaints == []
        history.look(20, mortal)
        history.look(21, mortal)
        assert history.complaints == [
            "mortal (pid 12, born 1.00) has outlived the daemon that was killed at 2.50"
        ]


class TestWishes:
    def test_one_that_is_alive_though_it_was_stopped(self, history: History) -> None:
        history.look(2, PLAIN)
        history.ask(2.5, "plain", Wish.DOWN, answered=2.9)
        history.look(3)
        history.look(7, NEXT)
        history.look(8, NEXT)
        assert history.complaints == [
            "plain (pid 11, born 6.00) is alive, though it was stopped at 2.90"
        ]

    def test_one_that_was_still_alive_when_the_stop_had_been_answered(
        self, history: History
    ) -> None:
        history.ask(2.5, "plain", Wish.DOWN, answered=2.9)
        history.look(3, PLAIN)
        assert len(history.complaints) == 1

    def test_a_cut_stop_counts_from_when_it_is_known(self, history: History) -> None:
        history.ask(2.5, "plain", Wish.DOWN)
        history.look(3, PLAIN)
        history.look(4)
        history.settle(5, plain="STOPPED")
        assert history.complaints == []
        history.look(7, NEXT)
        assert len(history.complaints) == 1

    @pytest.mark.parametrize("state", ["RUNNING", "FATAL", "EXITED", "STOPPING"])
    def test_one_that_was_stopped_is_told_otherwise(self, history: History, state: str) -> None:
        history.ask(2.5, "plain", Wish.DOWN, answered=2.9)
        history.settle(5, plain=state)
        assert history.complaints == [f"plain was stopped, and is {state}"]

    @pytest.mark.parametrize("state", ["STOPPED", "FATAL", "EXITED"])
    def test_one_that_is_wanted_is_told_otherwise(self, history: History, state: str) -> None:
        history.settle(5, plain=state)
        assert history.complaints == [f"plain was started, and is {state}"]

    def test_one_that_was_scaled_away_has_gone(self, history: History) -> None:
        history.ask(2.5, "extra", Wish.DOWN, answered=2.9)
        history.settle(5, gone="extra")
        assert history.complaints == []

    def test_one_that_is_wanted_has_gone(self, history: History) -> None:
        history.settle(5, gone="extra")
        assert history.complaints == ["extra was started, and is not there any more"]

    def test_who_has_ended_for_good_is_started(self, history: History) -> None:
        once = Instance("once", 12, 1.0)
        history.look(2, once)
        history.rules.recorded(3, once, ["exit", "7"])
        history.look(3.5)
        assert history.complaints == []
        history.look(7, Instance("once", 13, 6.0))
        assert history.complaints == [
            "once (pid 13, born 6.00) was started, though it had ended for good"
        ]

    def test_who_has_ended_for_good_is_started_by_somebody(self, history: History) -> None:
        once = Instance("once", 12, 1.0)
        history.look(2, once)
        history.rules.recorded(3, once, ["exit", "7"])
        history.look(3.5)
        history.ask(4, "once", Wish.UP, answered=6.5)
        history.look(7, Instance("once", 13, 6.0))
        assert history.complaints == []

    def test_nobody_is_asked_for_twice_at_once(self, history: History) -> None:
        history.ask(2, "plain", Wish.DOWN)
        assert "plain" not in history.rules.free()
        history.settle(5, plain="RUNNING")
        assert "plain" in history.rules.free()
        assert history.rules.wanted_up("plain")


class TestComingBack:
    def test_who_is_not_back_is_named(self, history: History) -> None:
        history.look(2, PLAIN)
        assert "plain is not up" not in history.rules.awaited(3, {})
        history.rules.kills(3, PLAIN)
        history.look(4)
        assert "plain is not up" in history.rules.awaited(5, {})
        history.look(7, NEXT)
        assert "plain is not up" not in history.rules.awaited(5, {})

    def test_who_has_been_up_meanwhile_is_not(self, history: History) -> None:
        history.look(7, NEXT)
        history.rules.recorded(8, NEXT, ["exit", "7"])
        history.look(8)
        assert "plain is not up" not in history.rules.awaited(5, {})

    def test_what_is_on_its_way_is_awaited(self, history: History) -> None:
        history.ask(2, "plain", Wish.DOWN)
        assert "plain is still STOPPING" in history.rules.awaited(3, {"plain": _told("STOPPING")})
        assert "plain is still STOPPED" not in history.rules.awaited(3, {"plain": _told("STOPPED")})


class TestStatus:
    def test_another_pid(self, history: History) -> None:
        history.look(2, PLAIN)
        history.look(4, PLAIN)
        history.status(3, plain=_told(pid=11, uptime=2))
        assert history.complaints == ["status tells pid 11 of plain (pid 10, born 1.00)"]

    def test_no_pid_of_one_that_is_alive(self, history: History) -> None:
        history.look(2, PLAIN)
        history.status(3, plain=_told(state="STOPPED"))
        assert len(history.complaints) == 1

    def test_another_pid_of_one_that_may_be_new(self, history: History) -> None:
        history.look(7, NEXT)
        history.status(6.5, plain=_told(pid=10, uptime=5.5))
        assert history.complaints == []

    @pytest.mark.parametrize("uptime", [0.0, 35.0])
    def test_an_uptime_that_cannot_be(self, history: History, uptime: float) -> None:
        history.look(2, PLAIN)
        history.status(21, plain=_told(pid=10, uptime=uptime))
        assert len(history.complaints) == 1
        assert "which is 20.0 s to 20.1 s old" in history.complaints[0]

    def test_an_uptime_that_goes_back(self, history: History) -> None:
        history.look(2, PLAIN)
        history.status(21, plain=_told(pid=10, uptime=20))
        history.status(22, plain=_told(pid=10, uptime=19))
        assert history.complaints == ["uptime of plain went back from 20 s to 19 s"]

    def test_restarts_that_go_back(self, history: History) -> None:
        history.status(2, plain=_told(pid=10, restarts=3))
        history.status(3, plain=_told(pid=11, restarts=2))
        assert history.complaints == ["restarts of plain went back from 3 to 2"]

    def test_restarts_of_one_that_was_away(self, history: History) -> None:
        history.status(2, extra=_told(pid=10, restarts=3))
        history.status(4, extra=_told(pid=11, restarts=0))
        assert history.complaints == []
        history.status(5, extra=_told(pid=11, restarts=3))
        history.status(6, extra=_told(pid=11, restarts=2))
        assert len(history.complaints) == 1


class TestCodes:
    @pytest.fixture
    def ended(self, history: History) -> History:
        history.look(2, PLAIN)
        history.rules.recorded(3, PLAIN, ["exit", "7"])
        history.look(3)
        return history

    def test_the_right_one(self, ended: History) -> None:
        ended.status(
            4, plain=_told("BACKOFF", detail="exited with code 7 after 2.0 s, too quickly")
        )
        ended.rules.logged(4, "plain", "exited with code 7 after 2.0 s")
        assert ended.complaints == []

    def test_one_that_nobody_has_exited_with(self, ended: History) -> None:
        ended.rules.logged(4, "plain", "exited with code 0 after 2.0 s")
        assert ended.complaints == [
            "the log tells 'exited with code 0 after 2.0 s' of plain, which has never exited with "
            "that code"
        ]

    def test_one_of_an_earlier_process(self, ended: History) -> None:
        ended.look(7, NEXT)
        ended.rules.recorded(8, NEXT, ["exit", "9"])
        ended.look(8)
        ended.status(9, plain=_told("EXITED", detail="exited with code 7 after 2.0 s"))
        assert ended.complaints == [
            "status tells 'exited with code 7 after 2.0 s', but plain (pid 11, born 6.00) wrote 9"
        ]

    def test_unknown_under_a_holder(self, ended: History) -> None:
        ended.rules.kills_daemon(2.5)
        ended.rules.logged(4, "plain", "ended for an unknown reason after 2.0 s")
        assert len(ended.complaints) == 1

    def test_unknown_without_a_holder(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.kills_holder(2.5)
        history.rules.recorded(3, PLAIN, ["exit", "7"])
        history.look(3)
        history.rules.logged(4, "plain", "ended for an unknown reason after 2.0 s")
        history.status(4, plain=_told("BACKOFF", detail="ended for an unknown reason after 2.0 s"))
        assert history.complaints == []
        assert history.rules.unknown_ends == 1

    def test_unknown_long_after_both_have_died(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.kills_holder(2.5)
        history.rules.deserts(2.5)
        history.rules.guarded(3, holder=True)
        history.settle(4)
        history.rules.recorded(5, PLAIN, ["exit", "7"])
        history.look(5)
        history.look(7, NEXT)
        history.rules.logged(7, "plain", "ended for an unknown reason after 2.0 s")
        assert history.complaints == []
        history.rules.recorded(8, NEXT, ["exit", "7"])
        history.look(8)
        history.settle(9)
        history.rules.logged(9, "plain", "ended for an unknown reason after 2.0 s")
        assert len(history.complaints) == 1


class TestSockets:
    def test_a_refusal(self, history: History) -> None:
        history.rules.kills_daemon(2.5)
        history.rules.refused(3, "plain")
        assert history.complaints == ["the socket of plain has refused a connection"]

    def test_a_refusal_when_nobody_is_there(self, history: History) -> None:
        history.rules.deserts(2.5)
        history.rules.refused(3, "plain")
        history.look(4)
        history.rules.guarded(5, holder=True)
        assert history.complaints == []
        history.rules.refused(6, "plain")
        assert len(history.complaints) == 1

    def test_a_refusal_when_only_the_program_is_there(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.deserts(2.5)
        history.rules.refused(3, "plain")
        history.look(4, PLAIN)
        assert len(history.complaints) == 1

    def test_a_refusal_when_the_program_was_just_killed(self, history: History) -> None:
        history.look(2, PLAIN)
        history.rules.deserts(2.5)
        history.rules.kills(2.6, PLAIN)
        history.rules.refused(2.7, "plain")
        history.look(2.8)
        assert history.complaints == []


class TestStreams:
    def test_a_standard_input_that_was_closed(self, history: History) -> None:
        history.rules.kills_daemon(2.5)
        history.rules.recorded(3, PLAIN, ["eof"])
        assert history.complaints == ["the standard input of plain (pid 10, born 1.00) was closed"]

    def test_when_nobody_was_there_to_hold_it(self, history: History) -> None:
        history.rules.deserts(2.5)
        history.rules.guarded(4, holder=True)
        history.rules.recorded(3, PLAIN, ["eof"])
        assert history.complaints == []
