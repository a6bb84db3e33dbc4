"""Events past the gate: who asked for what, and events that are pushed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.control import FakeControl
from fakes.daemon import FakeDaemon, program
from fakes.events import FakeHistory
from fakes.logged import log_lines
from fakes.network import Network
from fakes.passing import pass_time
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.spread import pb

from supervisortw.auth.users import User
from supervisortw.core.happening import EventsAnswer, Kind
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.roles import Role
from supervisortw.errors import RemoteError
from supervisortw.remote import wire
from supervisortw.remote.avatar import ControlAvatar
from supervisortw.remote.follow import EventFollower, EventReceiver

WINDOW = LIMITS.chunks_unacknowledged


class Reference(pb.RemoteReference):
    """An object of a client's that takes events; the test acknowledges them."""

    def __init__(self) -> None:
        self.told: list[EventsAnswer] = []
        self.pending: list[Deferred[None]] = []

    def __del__(self) -> None: ...

    def callRemote(self, _name: str, *args: Any, **kw: Any) -> Deferred[None]:
        assert (_name, kw) == ("events", {})
        assert len(args[0]) <= LIMITS.page_bytes
        self.told.append(wire.unpack_events(args[0]))
        self.pending.append(Deferred())
        return self.pending[-1]

    def acknowledge(self) -> None:
        self.pending.pop(0).callback(None)


class Followed:
    """Events that are followed from a number on; ``limits`` are those of what is remembered."""

    def __init__(self, after: int = 0, limits: Limits = LIMITS, happened: int = 0) -> None:
        self.clock = Clock()
        self.control = FakeControl(self.clock)
        self.history = self.control.history = FakeHistory(self.clock, limits=limits)
        self.happen(happened)
        self.reference = Reference()
        self.follower = EventFollower(self.control, after, self.reference)

    def happen(self, times: int = 1) -> None:
        """Let something happen in one turn."""
        for _ in range(times):
            self.history.note(Kind.DAEMON, "x")
        pass_time(self.clock, 0)

    @property
    def numbers(self) -> list[list[int]]:
        return [[event.number for event in told.events] for told in self.reference.told]


class TestFollower:
    def test_what_there_is_comes_at_once_and_then_what_is_new(self) -> None:
        followed = Followed(after=1, happened=3)
        followed.happen(2)
        assert followed.numbers == [[2, 3], [4, 5]]

    def test_a_reader_that_stands_still_costs_nothing_and_loses_nothing_in_the_ring(self) -> None:
        followed = Followed()
        for _ in range(100):
            followed.happen()
        assert followed.numbers == [[1], [2], [3], [4]][:WINDOW]
        followed.reference.acknowledge()
        assert followed.numbers[WINDOW:] == [list(range(WINDOW + 1, 101))]

    def test_one_that_is_slower_than_the_ring_is_told_what_it_has_missed(self) -> None:
        followed = Followed(limits=Limits(events=10))
        for _ in range(50):
            followed.happen()
        followed.reference.acknowledge()
        late = followed.reference.told[-1]
        assert (late.lost_from, late.lost_to) == (WINDOW + 1, 40)
        assert followed.numbers[-1] == list(range(41, 51))

    def test_at_the_end_of_the_connection_it_stops(self) -> None:
        followed = Followed(happened=1)
        with log_lines() as lines:
            followed.reference.pending.pop().errback(pb.PBConnectionLost("gone"))
        followed.happen()
        assert (followed.numbers, lines) == ([[1]], [])
        assert followed.history._watchers == []

    def test_stopped_twice_is_stopped(self) -> None:
        followed = Followed()
        followed.follower.stop()
        followed.follower.stop()
        followed.happen()
        assert followed.numbers == []

    @given(st.lists(st.one_of(st.integers(1, 12), st.none()), max_size=40), st.integers(0, 5))
    def test_what_it_is_told_and_its_gaps_are_every_number_once(
        self, steps: list[int | None], before: int
    ) -> None:
        """A number lets so much happen in one turn, and None is an acknowledgement."""
        followed = Followed(limits=Limits(events=8, events_at_once=3), happened=before)
        for step in steps:
            if step is not None:
                followed.happen(step)
            elif followed.reference.pending:
                followed.reference.acknowledge()
            assert len(followed.reference.pending) <= WINDOW
        while followed.reference.pending:
            followed.reference.acknowledge()
        covered: list[int] = []
        for told in followed.reference.told:
            covered += range(told.lost_from, told.lost_to + 1) if told.lost_from else ()
            covered += [event.number for event in told.events]
        assert covered == list(range(1, followed.history.answer(0, 0).last + 1))


class TestReceiver:
    def test_events_are_acknowledged_when_they_have_been_dealt_with(self) -> None:
        dealt_with: Deferred[None] = Deferred()
        told = EventsAnswer(epoch="abc", first=1, last=5, lost_from=1, lost_to=5)
        received: list[EventsAnswer] = []

        def receive(answer: EventsAnswer) -> Deferred[None]:
            received.append(answer)
            return dealt_with

        assert EventReceiver(receive).remote_events(wire.pack_events(told)) is dealt_with
        assert received == [told]

    @pytest.mark.parametrize(
        "data",
        [
            b"rubbish",
            b"",
            7,
            None,
            wire.pack(wire.answer([])),
            wire.pack(wire.answer({"epoch": "abc", "first": 1, "last": 0, "events": [{}]})),
            wire.pack(wire.answer({"epoch": "abc", "first": 9, "last": 0})),
            wire.pack(wire.failure("internal", "x")),
            b"\x00" + b"[" * 100_000,
        ],
    )
    def test_what_is_no_events(self, data: Any) -> None:
        with pytest.raises(RemoteError):
            EventReceiver(lambda told: None).remote_events(data)


class Bench:
    """A session of root's with a supervisor, over the wire."""

    def __init__(self) -> None:
        self.daemon = FakeDaemon(program("web", auto_start=False))
        self.network = Network(self.daemon.supervisor, self.daemon.clock)
        self.session = self.network.log_in()

    def ask(self, question: Any) -> Any:
        asked = Asked(question)
        self.network.pass_time(20)
        return asked.answer


class TestOverTheWire:
    def test_they_come_as_they_were(self) -> None:
        bench = Bench()
        bench.ask(bench.session.start(["web"]))
        told = bench.ask(bench.session.events(0, 10))
        assert told == bench.daemon.history.answer(0, 10)
        assert len(told.events) == 2

    def test_as_many_as_a_page_holds_are_one_page(self) -> None:
        bench = Bench()
        for _ in range(LIMITS.events):
            bench.daemon.history.note(Kind.LOG, "x" * 200, "web")
        told = bench.ask(bench.session.events(0, LIMITS.events))
        assert 100 < len(told.events) <= LIMITS.events_at_once

    def test_followed_until_told_to_stop(self) -> None:
        bench = Bench()
        received: list[EventsAnswer] = []
        stop = bench.ask(bench.session.follow_events(0, received.append))
        bench.daemon.history.note(Kind.DAEMON, "\x1b\udcff\n")
        bench.network.pass_time()
        assert [event.text for told in received for event in told.events] == ["\x1b\udcff\n"]
        stop()
        bench.network.pass_time()
        bench.daemon.history.note(Kind.DAEMON, "more")
        bench.network.pass_time()
        assert len(received) == 1
        assert bench.daemon.history._watchers == []

    def test_logs_and_events_count_together(self) -> None:
        bench = Bench()
        for number in range(LIMITS.subscriptions_per_session):
            if number % 2:
                bench.ask(bench.session.follow_events(0, lambda told: None))
            else:
                bench.ask(bench.session.follow("web", 0, lambda piece: None))
        for one_more in (
            bench.session.follow_events(0, lambda told: None),
            bench.session.follow("web", 0, lambda piece: None),
        ):
            with pytest.raises(Exception, match="at most 16 logs and events at a time"):
                bench.ask(one_more)

    def test_the_end_of_the_session_ends_it(self) -> None:
        bench = Bench()
        bench.ask(bench.session.follow_events(0, lambda told: None))
        assert len(bench.daemon.history._watchers) == 1
        bench.session.close()
        bench.network.pass_time()
        assert bench.daemon.history._watchers == []

    def test_a_daemon_that_tells_nonsense_is_not_understood(self) -> None:
        bench = Bench()
        answer = bench.daemon.history.answer
        bench.daemon.history.answer = lambda *_: Nonsense()  # type: ignore[method-assign]
        with pytest.raises(RemoteError, match="the daemon's events are not understood"):
            bench.ask(bench.session.events(0, 10))
        bench.daemon.history.answer = answer  # type: ignore[method-assign]


class Nonsense:
    def to_plain(self) -> Any:
        return {"epoch": "abc", "first": 1, "last": 1, "events": json.loads("[[[[]]]]")}


class TestWhoAskedForWhat:
    def test_is_an_event_before_what_comes_of_it(self) -> None:
        daemon = FakeDaemon(program("web", auto_start=False))
        root = User(name="root", via="peer", role=Role.ADMIN)
        avatar = ControlAvatar(daemon.supervisor, root, daemon.history.asked)
        for question in (
            avatar.perspective_start(["web"]),
            avatar.perspective_stop_all_of_it(["web", "nosuch"]),
            avatar.perspective_write_stdin(b"secret", ["web"]),
            avatar.perspective_reload(),
            avatar.perspective_status([]),
            avatar.perspective_shutdown(),
        ):
            Asked(question)
            daemon.pass_time(20)
        told = [event.sentence for event in daemon.history.answer(0, 100).events]
        assert told == [
            "root asks: start web",
            "web: STOPPED -> STARTING (pid 101)",
            "web: STARTING -> RUNNING (pid 101)",
            "root asks: stop --all-of-it web nosuch",
            "web: RUNNING -> STOPPING (pid 101): waiting for it to end",
            "web: STOPPING -> STOPPED: stopped; ended by SIGTERM after 20 s",
            "root asks: write 6 bytes web",
            "root asks: reload",
            "reloaded /etc/test.conf; changes: 0",
            "root asks: shutdown",
            "shutting down",
        ]
