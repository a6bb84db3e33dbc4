"""What every `Control` promises, as checks that any of them can be put through.

A check is a function that takes a `World`: a Control, and a way to let time pass and programs act.
Each world has the programs web, api and db, all down and none of them started by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import pytest
from fakes.asking import Asked

from supervisortw.core.exits import Oom
from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST
from supervisortw.core.states import State
from supervisortw.core.status import Outcome, ProgramStatus, Result
from supervisortw.errors import Refused
from supervisortw.interfaces import Cancel, Control

NAMES = ["web", "api", "db"]
LONG = 100.0  # seconds; longer than anything takes

Answer = TypeVar("Answer")
Check = Callable[["World"], None]
CHECKS: list[Check] = []


class World(Protocol):
    """A Control under test, and what surrounds it."""

    control: Control

    @property
    def ended(self) -> int:
        """How often the daemon was told to end."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that follows."""

    def watch(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        """Watch a log, in whatever way this Control offers it."""

    def watch_events(self, told: Callable[[], None]) -> Cancel:
        """Watch what happens from now on, in whatever way this Control offers it."""

    def write(self, name: str | None, data: bytes) -> None:
        """Let a program, or with None the daemon itself, write into its log."""

    def break_program(self, name: str, reason: str) -> None:
        """Let every start of a program fail from now on."""

    def break_configuration(self, problem: str) -> None:
        """Put a mistake into the configuration file."""


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def begin(world: World, wait: Coroutine[Any, Any, Answer]) -> Asked[Answer]:
    """Ask for something, and let the request arrive."""
    asked = Asked(wait)
    world.pass_time(0)
    return asked


def ask(world: World, wait: Coroutine[Any, Any, Answer]) -> Answer:
    """Ask for something, and wait as long as it takes."""
    asked = begin(world, wait)
    if not asked.done:
        world.pass_time(LONG)
    return asked.answer


def stand(world: World, words: Sequence[str]) -> list[ProgramStatus]:
    return list(ask(world, world.control.status(words)).programs)


def state(world: World, name: str) -> State:
    return stand(world, [name])[0].state


def pid(world: World, name: str) -> int:
    return stand(world, [name])[0].pid


def results(outcomes: Sequence[Outcome]) -> list[tuple[str, Result]]:
    return [(outcome.name, outcome.result) for outcome in outcomes]


def refusal(world: World, wait: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(Refused) as caught:
        ask(world, wait)
    return str(caught.value)


@check
def no_names_mean_all_of_them(world: World) -> None:
    assert [each.name for each in stand(world, [])] == NAMES


@check
def up_and_down_mean_what_is_up_and_down(world: World) -> None:
    assert stand(world, ["up"]) == []
    ask(world, world.control.start(["api"]))
    assert [each.name for each in stand(world, ["up"])] == ["api"]
    assert [each.name for each in stand(world, ["down"])] == ["web", "db"]
    assert [each.name for each in stand(world, ["down", "all"])] == ["web", "db", "api"]


@check
def an_empty_selection_is_an_answer(world: World) -> None:
    status = ask(world, world.control.status(["up"]))
    assert (status.programs, status.unknown) == ((), ())
    for verb in (world.control.stop, world.control.restart, world.control.clear):
        assert ask(world, verb(["up"])) == []
    assert ask(world, world.control.signal("TERM", ["up"])) == []


@check
def answers_come_in_the_order_asked_and_once_each(world: World) -> None:
    outcomes = ask(world, world.control.start(["db", "web", "db"]))
    assert results(outcomes) == [("db", Result.STARTED), ("web", Result.STARTED)]


@check
def an_unknown_name_is_an_outcome_that_names_the_nearest(world: World) -> None:
    for verb in (world.control.start, world.control.stop, world.control.restart):
        known, unknown = ask(world, verb(["ap", "api"]))
        assert (known.name, known.good) == ("api", True)
        assert (unknown.name, unknown.result) == ("ap", Result.UNKNOWN)
        assert unknown.text == "no such program; did you mean api?"
    [cleared, unknown] = ask(world, world.control.clear(["nosuchthing", "api"]))
    assert cleared.result is Result.CLEARED
    assert unknown.text == "no such program; 'list' shows what there is"
    [unknown] = ask(world, world.control.signal("TERM", ["ap"]))
    assert unknown.result is Result.UNKNOWN


@check
def status_tells_unknown_names_apart(world: World) -> None:
    status = ask(world, world.control.status(["wbe", "db"]))
    assert [each.name for each in status.programs] == ["db"]
    assert results(status.unknown) == [("wbe", Result.UNKNOWN)]


@check
def why_tells_the_state_and_how_processes_have_ended(world: World) -> None:
    [before] = ask(world, world.control.why(["web"])).programs
    assert before.cause.startswith("web is STOPPED: ")
    assert before.exits == ()
    ask(world, world.control.start(["web"]))
    ask(world, world.control.stop(["web"]))
    world.break_program("api", "command not found: /bin/api")
    ask(world, world.control.start(["api"]))
    explained = ask(world, world.control.why(["api", "web", "ap"]))
    api, web = explained.programs
    assert api.cause.startswith("api is FATAL: ")
    assert "command not found: /bin/api" in api.cause
    assert web.cause.startswith("web is STOPPED: ")
    [last] = web.exits
    assert (last.ended.signal, last.expected, last.oom) == (15, True, Oom.NO)
    assert web.status == stand(world, ["web"])[0]
    assert web.log == "web"
    assert results(explained.unknown) == [("ap", Result.UNKNOWN)]


@check
def start_waits_until_it_is_up(world: World) -> None:
    starting = begin(world, world.control.start(["web"]))
    world.pass_time(0.5)
    assert not starting.done
    assert state(world, "web") is State.STARTING
    world.pass_time(LONG)
    [outcome] = starting.answer
    assert outcome.result is Result.STARTED
    assert str(pid(world, "web")) in outcome.text
    assert state(world, "web") is State.RUNNING


@check
def what_is_up_is_left_alone_by_start(world: World) -> None:
    ask(world, world.control.start(["web"]))
    before = pid(world, "web")
    assert results(ask(world, world.control.start(["web"]))) == [("web", Result.ALREADY_UP)]
    assert pid(world, "web") == before


@check
def two_starts_at_once_make_one_process_and_are_both_answered(world: World) -> None:
    first = begin(world, world.control.start(["web"]))
    before = pid(world, "web")
    second = begin(world, world.control.start(["web"]))
    world.pass_time(LONG)
    assert results(first.answer) == results(second.answer) == [("web", Result.STARTED)]
    assert pid(world, "web") == before


@check
def a_start_that_fails_tells_the_reason(world: World) -> None:
    world.break_program("web", "command not found: /bin/web")
    failed, started = ask(world, world.control.start(["web", "api"]))
    assert failed.result is Result.FAILED
    assert failed.text == "command not found: /bin/web"
    assert started.result is Result.STARTED
    [status] = stand(world, ["web"])
    assert (status.state, status.detail) == (State.FATAL, "command not found: /bin/web")


@check
def stop_waits_until_it_is_gone(world: World) -> None:
    ask(world, world.control.start(["web"]))
    stopping = Asked(world.control.stop(["web"]))
    assert not stopping.done
    world.pass_time(LONG)
    assert results(stopping.answer) == [("web", Result.STOPPED)]
    [status] = stand(world, ["web"])
    assert (status.state, status.pid, status.wanted) == (State.STOPPED, 0, False)


@check
def stopping_what_is_down_is_no_failure(world: World) -> None:
    [outcome] = ask(world, world.control.stop(["web"]))
    assert (outcome.result, outcome.good) == (Result.ALREADY_DOWN, True)


@check
def restart_makes_a_new_process(world: World) -> None:
    ask(world, world.control.start(["web"]))
    before = pid(world, "web")
    outcomes = ask(world, world.control.restart(["web", "api"]))
    assert results(outcomes) == [("web", Result.RESTARTED), ("api", Result.RESTARTED)]
    assert pid(world, "web") not in (0, before)
    assert state(world, "api") is State.RUNNING


@check
def a_restart_goes_on_when_the_one_who_asked_goes_away(world: World) -> None:
    ask(world, world.control.start(["web"]))
    before = pid(world, "web")
    Asked(world.control.restart(["web"])).cancel()
    world.pass_time(LONG)
    assert state(world, "web") is State.RUNNING
    assert pid(world, "web") != before


@check
def a_start_that_meets_a_stop_is_superseded(world: World) -> None:
    starting = begin(world, world.control.start(["web"]))
    stopping = begin(world, world.control.stop(["web"]))
    world.pass_time(LONG)
    assert results(starting.answer) == [("web", Result.SUPERSEDED)]
    assert results(stopping.answer) == [("web", Result.STOPPED)]
    assert not starting.answer[0].good


@check
def a_stop_that_meets_a_start_is_superseded(world: World) -> None:
    ask(world, world.control.start(["web"]))
    stopping = Asked(world.control.stop(["web"]))
    starting = Asked(world.control.start(["web"]))
    world.pass_time(LONG)
    assert results(stopping.answer) == [("web", Result.SUPERSEDED)]
    assert results(starting.answer) == [("web", Result.STARTED)]


@check
def signals_go_to_what_is_up(world: World) -> None:
    ask(world, world.control.start(["web"]))
    up, down = ask(world, world.control.signal("HUP", ["web", "api"]))
    assert (up.result, down.result) == (Result.SIGNALLED, Result.FAILED)
    assert state(world, "web") is State.RUNNING


@check
def an_unknown_signal_is_refused(world: World) -> None:
    assert refusal(world, world.control.signal("NOSUCH", ["all"])) == "no such signal: NOSUCH"


@check
def tail_gives_the_last_lines(world: World) -> None:
    world.write("web", b"one\ntwo\nthree\n")
    piece = ask(world, world.control.tail("web", 2))
    assert (piece.offset, piece.size, piece.data) == (4, 14, b"two\nthree\n")
    assert ask(world, world.control.tail("web", 100)).data == b"one\ntwo\nthree\n"
    assert ask(world, world.control.tail("web", 0)).data == b""
    assert ask(world, world.control.tail("api", 5)).data == b""


@check
def half_a_line_at_the_end_is_a_line(world: World) -> None:
    world.write("web", b"one\ntwo")
    assert ask(world, world.control.tail("web", 1)).data == b"two"


@check
def reading_begins_at_an_offset(world: World) -> None:
    world.write("web", b"0123456789")
    piece = ask(world, world.control.read_log("web", 3, 4))
    assert (piece.offset, piece.size, piece.data) == (3, 10, b"3456")
    assert ask(world, world.control.read_log("web", 8, 100)).data == b"89"


@check
def reading_beyond_the_end_gives_nothing_and_the_size(world: World) -> None:
    world.write("web", b"0123456789")
    for offset in (10, 11, 2**62):
        piece = ask(world, world.control.read_log("web", offset, 5))
        assert (piece.offset, piece.size, piece.data) == (10, 10, b"")


@check
def a_piece_is_never_too_large(world: World) -> None:
    world.write("web", b"x" * (LIMITS.piece_bytes + 1))
    piece = ask(world, world.control.read_log("web", 0, 10 * LIMITS.piece_bytes))
    assert len(piece.data) == LIMITS.piece_bytes


@check
def without_a_name_it_is_the_log_of_the_daemon(world: World) -> None:
    world.write(None, b"supervisord started\n")
    assert ask(world, world.control.tail(None, 1)).data == b"supervisord started\n"
    assert ask(world, world.control.read_log(None, 12, 7)).data == b"started"


@check
def the_log_of_an_unknown_program_is_refused(world: World) -> None:
    expected = "ap: no such program; did you mean api?"
    assert refusal(world, world.control.tail("ap", 5)) == expected
    assert refusal(world, world.control.read_log("ap", 0, 5)) == expected


@check
def clear_empties_the_log(world: World) -> None:
    world.write("web", b"one\n")
    world.write("api", b"two\n")
    assert results(ask(world, world.control.clear(["web"]))) == [("web", Result.CLEARED)]
    piece = ask(world, world.control.read_log("web", 0, 5))
    assert (piece.offset, piece.size, piece.data) == (4, 4, b"")
    assert ask(world, world.control.read_log("api", 0, 5)).size == 4


@check
def a_watcher_is_told_of_each_change_until_it_stops(world: World) -> None:
    told: list[int] = []
    cancel = world.watch("web", lambda: told.append(1))
    world.pass_time(0)
    told.clear()
    world.write("api", b"other\n")
    world.pass_time(0)
    assert not told
    world.write("web", b"one\n")
    world.pass_time(0)
    assert told
    cancel()
    world.pass_time(0)
    told.clear()
    world.write("web", b"two\n")
    world.pass_time(0)
    assert not told


def happened(world: World, after: int = 0, limit: int = LIMITS.events) -> EventsAnswer:
    return ask(world, world.control.events(after, limit))


@check
def what_happens_is_numbered_and_told_in_order(world: World) -> None:
    before = happened(world, LARGEST, 0).last
    ask(world, world.control.start(["web", "api"]))
    told = happened(world, before)
    numbers = [event.number for event in told.events]
    assert numbers == list(range(before + 1, told.last + 1))
    assert (told.lost_from, told.lost_to) == (0, 0)
    changes = [(event.before, event.after) for event in told.events if event.name == "web"]
    assert changes == [(State.STOPPED, State.STARTING), (State.STARTING, State.RUNNING)]
    assert {event.pid for event in told.events if event.name == "api"} == {pid(world, "api")}
    assert happened(world, told.last).end == 0


@check
def as_much_is_told_as_was_asked_for(world: World) -> None:
    ask(world, world.control.start(["web", "api", "db"]))
    last = happened(world).last
    told = happened(world, last - 4, 3)
    assert [event.number for event in told.events] == [last - 3, last - 2, last - 1]
    none = happened(world, 0, 0)
    assert (none.events, none.last, none.epoch) == ((), last, told.epoch)


@check
def a_number_that_was_not_given_yet_is_followed_by_nothing(world: World) -> None:
    told = happened(world, LARGEST)
    assert (told.events, told.lost_from, told.lost_to) == ((), 0, 0)


@check
def who_watches_events_is_told_until_it_stops(world: World) -> None:
    told: list[int] = []
    cancel = world.watch_events(lambda: told.append(1))
    world.pass_time(0)
    assert not told
    ask(world, world.control.start(["web"]))
    assert told
    cancel()
    world.pass_time(0)
    told.clear()
    ask(world, world.control.stop(["web"]))
    assert not told


@check
def a_problem_in_the_configuration_is_a_refusal(world: World) -> None:
    world.break_configuration("/etc/test.conf:3: no such key")
    for verb in (world.control.reload, world.control.reread):
        assert "/etc/test.conf:3: no such key" in refusal(world, verb())
    assert [each.name for each in stand(world, [])] == NAMES


@check
def reloading_what_has_not_changed_does_nothing(world: World) -> None:
    for verb in (world.control.reread, world.control.reload):
        answer = ask(world, verb())
        assert (answer.changed, answer.lines, answer.outcomes) == (False, (), ())
        assert answer.source == "/etc/test.conf"


@check
def shutdown_stops_everything_and_then_ends_the_daemon(world: World) -> None:
    ask(world, world.control.start(["web", "api"]))
    ending = Asked(world.control.shutdown())
    assert not ending.done
    assert not world.ended
    world.pass_time(LONG)
    told = dict(results(ending.answer))
    assert told["web"] is told["api"] is Result.STOPPED
    assert world.ended == 1


@check
def after_shutdown_nothing_is_started_any_more(world: World) -> None:
    ask(world, world.control.start(["web"]))
    Asked(world.control.shutdown())
    world.pass_time(0)
    for verb in (world.control.start, world.control.restart):
        assert refusal(world, verb(["api"])) == "supervisord is shutting down"
    assert refusal(world, world.control.reload()) == "supervisord is shutting down"
    assert ask(world, world.control.status([])).shutting_down
    world.pass_time(LONG)
    assert stand(world, ["up"]) == []


@check
def shutdown_asked_twice_happens_once_and_answers_both(world: World) -> None:
    ask(world, world.control.start(["web"]))
    first, second = Asked(world.control.shutdown()), Asked(world.control.shutdown())
    world.pass_time(LONG)
    assert ("web", Result.STOPPED) in results(first.answer)
    assert second.done
    assert world.ended == 1
