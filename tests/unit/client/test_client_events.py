"""Showing what has happened, and going on with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from fakes.events import WALL, FakeHistory
from fakes.logged import log_lines
from fakes.terminal import Terminal
from twisted.internet.defer import Deferred

from supervisortw.client.commands import run
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.render import event_line, gap_lines
from supervisortw.core.annals import Past
from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import Limits
from supervisortw.errors import Unreachable

A, B = "/run/a", "/run/b"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the time be that of Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def one() -> Terminal:
    terminal = Terminal(A)
    terminal.daemon().history.note(Kind.DAEMON, "supervisord started")
    for name in ("web", "api"):
        terminal.run(f"start {name}")
        terminal.pass_time(10)
    terminal.desk.printed()
    terminal.daemon().asked.clear()
    return terminal


def happen(terminal: Terminal, text: str, name: str = "", path: str = A) -> None:
    terminal.daemon(path).history.note(Kind.LOG, text, name)
    terminal.pass_time(0)


def forgetful(terminal: Terminal, events: int, path: str = A) -> FakeHistory:
    """Let a daemon remember only so many events; return them."""
    daemon = terminal.daemon(path)
    daemon.history = FakeHistory(terminal.clock, limits=Limits(events=events))
    return daemon.history


def sentences(lines: list[str]) -> list[str]:
    return [re.sub(r"^.*?#(\d+) ", r"\1 ", line) for line in lines]


class TestLines:
    def test_time_number_and_what_happened(self) -> None:
        event = Happening(number=12, time=WALL + 0.9, kind=Kind.DAEMON, text="shutting down")
        assert event_line(event) == "2001-09-09 01:46:40 #12 shutting down"

    @pytest.mark.parametrize("when", [0, 253_402_000_000.0])
    def test_any_time_that_may_come(self, when: float) -> None:
        event = Happening.from_plain({"number": 1, "time": when, "kind": "daemon"})
        assert re.fullmatch(r"(1970|9999)-\d\d-\d\d \d\d:\d\d:\d\d #1 ", event_line(event))

    def test_nothing_steers_the_terminal_or_forges_a_line(self) -> None:
        event = Happening(
            number=1, time=WALL, kind=Kind.ASKED, name="a\x1b[2J", text="x\n\r\u202e\udcff"
        )
        assert event_line(event).isprintable()
        assert event_line(event).endswith("#1 x\\n\\x0d\\u202e\\udcff a\\x1b[2J")

    @pytest.mark.parametrize(
        ("lost", "lines"),
        [
            ((0, 0), []),
            ((17, 203), ["-- events 17 to 203 are gone --"]),
            ((17, 17), ["-- event 17 is gone --"]),
        ],
    )
    def test_gaps(self, lost: tuple[int, int], lines: list[str]) -> None:
        told = EventsAnswer(epoch="", first=1, last=999, lost_from=lost[0], lost_to=lost[1])
        assert gap_lines(told) == lines


class TestLast:
    def test_all_of_them(self, one: Terminal) -> None:
        assert one.run("events") is ExitCode.OK
        assert sentences(one.desk.printed()) == [
            "1 supervisord started",
            "2 web: STOPPED -> STARTING (pid 101)",
            "3 web: STARTING -> RUNNING (pid 101)",
            "4 api: STOPPED -> STARTING (pid 102)",
            "5 api: STARTING -> RUNNING (pid 102)",
        ]
        assert one.desk.complaints() == []

    def test_as_many_as_are_asked_for(self, one: Terminal) -> None:
        one.run("events -2")
        assert [line.split()[0] for line in sentences(one.desk.printed())] == ["4", "5"]
        one.run("events -0")
        assert one.desk.out == ""

    def test_fifteen_otherwise(self, one: Terminal) -> None:
        for number in range(600):
            happen(one, str(number))
        one.run("events")
        assert sentences(one.desk.printed()) == [f"{n + 6} {n}" for n in range(585, 600)]
        one.run("events -550")
        assert len(one.desk.printed()) == 550

    def test_more_than_there_are(self, one: Terminal) -> None:
        history = forgetful(one, 3)
        for number in range(5):
            history.note(Kind.DAEMON, str(number))
        assert one.run("events -999999999999999999") is ExitCode.OK
        assert sentences(one.desk.printed()) == ["3 2", "4 3", "5 4"]
        assert one.desk.complaints() == []

    def test_none_has_happened(self) -> None:
        terminal = Terminal(A)
        assert terminal.run("events") is ExitCode.OK
        assert (terminal.desk.out, terminal.desk.err) == ("", "")

    def test_a_hole_is_told_where_it_is(self, one: Terminal) -> None:
        history = forgetful(one, 100)
        history.note(Kind.DAEMON, "one")
        history._next += 6
        history.note(Kind.DAEMON, "two")
        history._next += 1
        assert one.run("events") is ExitCode.OK
        assert sentences(one.desk.printed()) == ["1 one", "8 two"]
        assert one.desk.complaints() == ["-- events 2 to 7 are gone --", "-- event 9 is gone --"]

    @pytest.mark.parametrize("line", ["events -x", "events --follow", "events -", "events -c 5"])
    def test_unknown_options(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        assert one.desk.complaints()[-1] == "usage: events [-f] [-n N] [NAME ...]"

    def test_a_reader_who_has_seen_enough_is_left_in_peace(self, one: Terminal) -> None:
        one.desk.broken = True
        with log_lines() as lines, pytest.raises(BrokenPipeError):
            one.run("events")
        assert lines == []

    def test_of_several_daemons(self) -> None:
        two = Terminal(A, B)
        happen(two, "one", path=A)
        happen(two, "two", path=B)
        assert two.run("events") is ExitCode.OK
        marks = [line.partition(" | ")[0] for line in two.desk.printed()]
        assert marks == [A, B]

    def test_a_daemon_that_goes_round_in_circles_is_left(self, one: Terminal) -> None:
        async def events(after: int, limit: int) -> EventsAnswer:
            return EventsAnswer(epoch="", first=1, last=9, lost_from=1, lost_to=1)

        one.run("list")
        one.session().events = events  # type: ignore[attr-defined]
        assert one.run("events") is ExitCode.OK


class TestNames:
    def test_only_what_concerns_them(self, one: Terminal) -> None:
        assert one.run("events web") is ExitCode.OK
        assert [line.split()[1] for line in sentences(one.desk.printed())] == ["web:", "web:"]
        one.run("events -1 web api")
        assert [line.split()[0] for line in sentences(one.desk.printed())] == ["5"]

    def test_groups_and_words(self) -> None:
        terminal = Terminal(A, names=("shop:web", "shop:api", "db"))
        for name in terminal.daemon().programs:
            happen(terminal, "x", name)
        terminal.run("events shop:*")
        assert sentences(terminal.desk.printed()) == ["1 shop:web: x", "2 shop:api: x"]
        terminal.run("events down")
        assert len(terminal.desk.printed()) == 3

    def test_who_asked_for_them_or_for_all(self, one: Terminal) -> None:
        history = one.daemon().history
        for names in (["api"], ["db", "web"], ["all"], ["website"]):
            history.asked("root", "stop", names)
        one.run("events -2 web")
        assert sentences(one.desk.printed()) == [
            "7 root asks: stop db web",
            "8 root asks: stop all",
        ]

    def test_an_unknown_one(self, one: Terminal) -> None:
        assert one.run("events wbe") is ExitCode.SOME_FAILED
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]
        assert one.run("events -f wbe") is ExitCode.SOME_FAILED
        assert one.session().following == 0

    def test_one_that_is_not_there_any_more(self, one: Terminal) -> None:
        happen(one, "x", "gone")
        assert one.run("events gone") is ExitCode.OK
        assert sentences(one.desk.printed()) == ["6 gone: x"]

    def test_one_that_only_one_of_two_daemons_knows(self) -> None:
        two = Terminal(A, B)
        two.network.add(B, "db2")
        happen(two, "x", "db2", path=B)
        assert two.run("events db2") is ExitCode.OK
        assert len(two.desk.printed()) == 1


class TestFollow:
    def test_what_happens_from_now_on(self, one: Terminal) -> None:
        following = one.begin("events -f -1")
        assert [line.split()[0] for line in sentences(one.desk.printed())] == ["5"]
        happen(one, "more")
        happen(one, "and more")
        assert sentences(one.desk.printed()) == ["6 more", "7 and more"]
        assert not following.done
        assert one.session().following == 1

    def test_only_of_the_names(self, one: Terminal) -> None:
        one.begin("events -f -0 api")
        happen(one, "x", "web")
        happen(one, "y", "api")
        assert sentences(one.desk.printed()) == ["7 api: y"]

    def test_nothing_is_lost_between_the_last_and_the_first(self, one: Terminal) -> None:
        one.run("list")
        one.desk.printed()
        follow = one.session().follow_events

        async def slow_follow(*arguments: object) -> object:
            happen(one, "in between")
            return await follow(*arguments)  # type: ignore[arg-type]

        one.session().follow_events = slow_follow  # type: ignore[method-assign,assignment]
        one.begin("events -f -0")
        assert sentences(one.desk.printed()) == ["6 in between"]

    def test_a_gap_is_told(self, one: Terminal) -> None:
        history = forgetful(one, 3)
        one.begin("events -f")
        for _ in range(10):  # in one turn
            history.note(Kind.DAEMON, "x")
        one.pass_time(0)
        assert sentences(one.desk.printed()) == ["8 x", "9 x", "10 x"]
        assert one.desk.complaints() == ["-- events 1 to 7 are gone --"]

    def test_interrupted_it_stops_at_the_daemon_too(self, one: Terminal) -> None:
        codes: list[ExitCode] = []
        waiting = Deferred.fromCoroutine(run(one.desk, ["events", "-f"]))
        waiting.addCallback(codes.append)
        assert one.session().following == 1
        waiting.cancel()
        assert codes == [ExitCode.OK]
        assert one.session().following == 0
        one.desk.printed()
        happen(one, "unseen")
        assert one.desk.printed() == []

    def test_a_lost_connection_is_opened_again_and_it_goes_on_where_it_was(
        self, one: Terminal
    ) -> None:
        following = one.begin("events -f -0")
        happen(one, "before")
        one.session().lose()
        happen(one, "meanwhile")
        one.pass_time(1)
        happen(one, "after")
        assert sentences(one.desk.printed()) == ["6 before", "7 meanwhile", "8 after"]
        assert one.desk.complaints() == [
            "/run/a: the connection to supervisord was lost; trying again",
            "/run/a: connected again",
        ]
        assert not following.done

    def test_another_daemon_counts_anew(self, one: Terminal) -> None:
        one.begin("events -f -0")
        one.session().lose()
        one.daemon().history = FakeHistory(one.clock, Past(epoch="another"))
        happen(one, "started")
        one.pass_time(1)
        assert sentences(one.desk.printed()) == ["1 started"]
        assert one.desk.complaints()[-1] == (
            "-- supervisord was restarted: its events are counted anew --"
        )

    def test_a_reader_who_has_seen_enough_ends_it(self, one: Terminal) -> None:
        following = one.begin("events -f")
        one.desk.broken = True
        happen(one, "more")
        with pytest.raises(BrokenPipeError):
            assert following.answer

    def test_two_daemons_are_followed_side_by_side(self) -> None:
        two = Terminal(A, B)
        following = two.begin("events -f")
        history = forgetful(two, 1, B)  # not the one that is followed
        happen(two, "one", path=A)
        assert history.answer(0, 1).last == 0
        [line] = two.desk.printed()
        assert line.startswith(f"{A} | ")
        two.session(A).lose()
        two.pass_time(1)
        happen(two, "two", path=A)
        [line] = two.desk.printed()
        assert line.startswith(f"{A} | ")
        assert not following.done

    def test_one_that_cannot_be_reached_does_not_keep_it_from_the_other(self) -> None:
        two = Terminal(A, B)
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        following = two.begin("events -f")
        assert two.desk.complaints() == ["/run/a: nobody listens there"]
        happen(two, "two", path=B)
        assert sentences(two.desk.printed()) == ["1 two"]
        following.cancel()
        assert following.answer is ExitCode.UNREACHABLE
