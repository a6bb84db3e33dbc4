"""What has happened: numbered, bounded, told, and left to the next daemon."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.events import WALL, FakeHistory
from fakes.logged import log_lines
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from supervisortw.core import annals
from supervisortw.core.annals import Past
from supervisortw.core.happening import EventsAnswer, Happening, Kind
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.states import State
from supervisortw.daemon import keptlines
from supervisortw.daemon.events import StateChanged
from supervisortw.daemon.history import ROOM_FOR_ANSWER, History, events_left

SMALL = Limits(events=5, events_at_once=3)


def numbers(answer: EventsAnswer) -> list[int]:
    return [event.number for event in answer.events]


def event(number: int) -> Happening:
    return Happening(number=number, time=WALL, kind=Kind.DAEMON, text="x")


class TestWhatIsRemembered:
    def test_each_kind(self) -> None:
        clock = Clock()
        history = FakeHistory(clock)
        history.note(Kind.DAEMON, "started")
        clock.advance(1.5)
        history.asked("root", "start", ["web", "api"])
        history.changed(
            StateChanged(
                time=WALL + 1.0,
                name="web",
                before=State.STOPPED,
                after=State.STARTING,
                pid=7,
                detail="why",
            )
        )
        history.note(Kind.LOG, "disk full", "web")
        told = history.answer(0, 10).events
        assert [each.sentence for each in told] == [
            "started",
            "root asks: start web api",
            "web: STOPPED -> STARTING (pid 7): why",
            "web: disk full",
        ]
        assert [each.number for each in told] == [1, 2, 3, 4]
        assert [each.time for each in told] == [WALL, WALL + 1.5, WALL + 1.0, WALL + 1.5]

    def test_no_more_than_so_many(self) -> None:
        history = FakeHistory(Clock())
        for _ in range(LIMITS.events + 3):
            history.note(Kind.DAEMON, "x")
        told = history.answer(LIMITS.events, 10)
        assert (told.first, told.last) == (4, LIMITS.events + 3)
        assert len(history._entries) == LIMITS.events

    def test_no_more_than_so_many_bytes(self) -> None:
        history = FakeHistory(Clock(), limits=Limits(events_bytes=10_000))
        for _ in range(100):
            history.asked("root", "stop", ["\U0001f600" * 100])  # twelve bytes each
        held = sum(len(line) for _, line in history._entries)
        assert 8_000 < held <= 10_000
        assert history.answer(99, 1).events[0].name == "\U0001f600" * 100

    def test_texts_are_cut(self) -> None:
        history = FakeHistory(Clock())
        history.asked("root", "stop", ["x" * 200] * 1000)
        history.note(Kind.DAEMON, "y" * (LIMITS.event_characters + 1))
        asked, noted = history.answer(0, 2).events
        assert len(asked.name) == len(noted.text) == LIMITS.event_characters
        assert asked.name.endswith("x...")
        assert noted.text.endswith("y...")
        assert Happening.from_plain(asked.to_plain()) == asked


class TestAnswers:
    @pytest.fixture
    def history(self) -> FakeHistory:
        """Return one that holds the numbers from 4 to 8."""
        made = FakeHistory(Clock(), limits=SMALL)
        for _ in range(8):
            made.note(Kind.DAEMON, "x")
        return made

    @pytest.mark.parametrize(
        ("after", "limit", "told", "lost"),
        [
            (5, 10, [6, 7, 8], (0, 0)),
            (3, 10, [4, 5, 6], (0, 0)),
            (2, 10, [4, 5, 6], (3, 3)),
            (0, 1, [4], (1, 3)),
            (0, 0, [], (1, 3)),
            (6, 1, [7], (0, 0)),
            (8, 10, [], (0, 0)),
            (2**62, 10, [], (0, 0)),
        ],
    )
    def test_tell_what_follows_on_a_number(
        self, history: FakeHistory, after: int, limit: int, told: list[int], lost: tuple[int, int]
    ) -> None:
        answer = history.answer(after, limit)
        assert numbers(answer) == told
        assert (answer.lost_from, answer.lost_to) == lost
        assert (answer.first, answer.last) == (4, 8)

    def test_end_before_a_hole_and_tell_of_it_next(self) -> None:
        past = Past(epoch="abc", next=12, events=(event(3), event(4), event(7)))
        history = FakeHistory(Clock(), past)
        answers = [history.answer(after, 10) for after in (2, 4, 7)]
        assert [(numbers(each), each.lost_from, each.lost_to) for each in answers] == [
            ([3, 4], 0, 0),
            ([7], 5, 6),
            ([], 8, 11),
        ]
        assert {each.epoch for each in answers} == {"abc"}

    def test_with_nothing_known(self) -> None:
        answer = FakeHistory(Clock()).answer(0, 10)
        assert (answer.first, answer.last, answer.events, answer.end) == (1, 0, (), 0)

    def test_fit_into_a_page(self) -> None:
        history = FakeHistory(Clock())
        for _ in range(40):
            history.asked("root", "stop", ["\U0001f600" * LIMITS.event_characters])
        answer = history.answer(0, 40)
        size = len(json.dumps(answer.to_plain(), separators=(",", ":")))
        assert LIMITS.page_bytes // 2 < size < LIMITS.page_bytes
        assert 0 < len(answer.events) < 40

    def test_the_longest_event_fits_into_a_page(self) -> None:
        longest = "\U0001f600" * LIMITS.event_characters
        line = annals.line(
            Happening(number=2**53, time=WALL + 0.1, kind=Kind.ASKED, name=longest, text=longest)
        )
        assert len(line) < LIMITS.page_bytes - ROOM_FOR_ANSWER


class TestWatching:
    def test_once_a_turn_and_not_at_once(self) -> None:
        clock = Clock()
        history = FakeHistory(clock)
        told: list[int] = []
        stop = history.watch(lambda: told.append(history.answer(0, 0).last))
        history.note(Kind.DAEMON, "x")
        history.note(Kind.DAEMON, "x")
        assert told == []
        clock.advance(0)
        assert told == [2]
        history.note(Kind.DAEMON, "x")
        clock.advance(0)
        assert told == [2, 3]
        history.note(Kind.DAEMON, "x")
        stop()
        clock.advance(0)
        history.note(Kind.DAEMON, "x")
        assert (told, clock.getDelayedCalls()) == ([2, 3], [])

    def test_one_that_fails_harms_nobody(self) -> None:
        clock = Clock()
        history = FakeHistory(clock)
        told: list[int] = []

        def fail() -> None:
            raise KeyError("a mistake of ours")

        history.watch(fail)
        history.watch(lambda: told.append(1))
        history.note(Kind.DAEMON, "x")
        with log_lines() as lines:
            clock.advance(0)
        assert told == [1]
        assert lines[0] == "somebody could not be told of events"


class TestOverTheEndOfTheDaemon:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        directory = tmp_path / "state"
        directory.mkdir(0o700)
        return directory / "events"

    @pytest.fixture
    def begin(self, path: Path) -> Iterator[Callable[..., History]]:
        made: list[History] = []

        def next_daemon(world: str = "boot 1", limits: Limits = LIMITS) -> History:
            left = events_left(str(path.parent), world)
            made.append(History(Clock(), lambda: WALL, left, limits))
            return made[-1]

        yield next_daemon
        for history in made:
            history.close()

    def test_numbers_go_on_in_the_same_epoch(self, begin: Callable[..., History]) -> None:
        one = begin()
        one.note(Kind.DAEMON, "one")
        one.note(Kind.DAEMON, "two")
        two = begin()
        two.note(Kind.DAEMON, "three")
        told = begin().answer(0, 10)
        assert [each.text for each in told.events] == ["one", "two", "three"]
        assert (numbers(told), told.lost_from) == ([1, 2, 3], 0)
        assert told.epoch == one.answer(0, 0).epoch

    def test_nothing_is_kept_beyond_a_clean_end(
        self, path: Path, begin: Callable[..., History]
    ) -> None:
        one = begin()
        one.note(Kind.DAEMON, "one")
        one.forget()
        one.note(Kind.DAEMON, "two")
        assert not path.exists()
        two = begin().answer(0, 10)
        assert (two.last, two.epoch != one.answer(0, 0).epoch) == (0, True)

    def test_nothing_is_kept_beyond_a_restart_of_the_machine(
        self, begin: Callable[..., History]
    ) -> None:
        one = begin()
        one.note(Kind.DAEMON, "one")
        two = begin("boot 2")
        assert two.answer(0, 10).last == 0
        assert two.answer(0, 0).epoch != one.answer(0, 0).epoch

    def test_it_is_nobody_elses_to_read(self, path: Path, begin: Callable[..., History]) -> None:
        begin().note(Kind.DAEMON, "one")
        assert path.stat().st_mode & 0o777 == 0o600

    def test_the_file_does_not_grow_without_end(
        self, path: Path, begin: Callable[..., History]
    ) -> None:
        limits = Limits(events=50, events_bytes=8 * 1024)
        history = begin(limits=limits)
        sizes = []
        for _ in range(2000):
            history.note(Kind.DAEMON, "x" * 100)
            sizes.append(path.stat().st_size)
        assert max(sizes) <= 2 * (limits.events_bytes + ROOM_FOR_ANSWER)
        assert sum(after < before for before, after in pairwise(sizes)) > 5
        told = begin().answer(1990, 10)
        assert numbers(told) == list(range(1991, 2001))

    def test_a_damaged_one_is_told_and_leaves_a_gap(
        self, path: Path, begin: Callable[..., History]
    ) -> None:
        history = begin()
        for _ in range(3):
            history.note(Kind.DAEMON, "x")
        lines = path.read_bytes().split(b"\n")
        lines[2] = b"\xff" * len(lines[2])
        path.write_bytes(b"\n".join(lines))
        with log_lines() as told:
            after = begin()
        assert told == [f"{path} is damaged: 1 line makes no sense"]
        after.note(Kind.DAEMON, "more")
        answer = after.answer(1, 10)
        assert (answer.lost_from, answer.lost_to, numbers(answer)) == (2, 2, [3, 4])

    def test_one_without_sense_is_set_aside_and_an_epoch_begins(
        self, path: Path, begin: Callable[..., History]
    ) -> None:
        path.write_bytes(b"\0" * 100 + b"\n")
        path.chmod(0o600)
        with log_lines() as told:
            history = begin()
        assert told == [
            f"{path} is not used: its beginning makes no sense; it is events.damaged now"
        ]
        history.note(Kind.DAEMON, "x")
        assert numbers(history.answer(0, 10)) == [1]

    def test_one_that_somebody_else_could_have_written_is_not_believed(
        self, path: Path, begin: Callable[..., History]
    ) -> None:
        path.symlink_to("/etc/passwd")
        with log_lines() as told:
            assert begin().answer(0, 1).last == 0
        assert "is not used" in told[0]

    def test_an_endless_one_is_not_read(self, path: Path, begin: Callable[..., History]) -> None:
        with path.open("wb") as file:
            file.truncate(3 * LIMITS.events_bytes)
        path.chmod(0o600)
        with log_lines() as told:
            assert begin().answer(0, 1).last == 0
        assert "more than" in told[0]

    def test_a_full_disk_is_told_once_and_no_number_is_given_twice(
        self, path: Path, begin: Callable[..., History], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history = begin()
        history.note(Kind.DAEMON, "one")

        def refuse(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with log_lines() as told:
            with monkeypatch.context() as patched:
                patched.setattr(keptlines.os, "write", refuse)
                history.note(Kind.DAEMON, "two")
                assert begin().answer(0, 0).epoch != history.answer(0, 0).epoch
            history.note(Kind.DAEMON, "three")
        error, again = told
        assert f"cannot write {path}: No space left on device; if supervisord is killed" in error
        assert again == "the file of events is written again"
        assert [each.text for each in begin().answer(0, 10).events] == ["one", "two", "three"]


@given(st.lists(st.integers(1, 9), max_size=12), st.data())
def test_whoever_asks_again_and_again_hears_of_every_number_once(
    bursts: list[int], data: st.DataObject
) -> None:
    history = FakeHistory(Clock(), limits=SMALL)
    told: list[int] = []

    def ask() -> bool:
        answer = history.answer(told[-1] if told else 0, data.draw(st.integers(1, 4)))
        told.extend(range(answer.lost_from, answer.lost_to + 1) if answer.lost_from else ())
        told.extend(numbers(answer))
        return bool(answer.end)

    for burst in bursts:
        for _ in range(burst):
            history.note(Kind.DAEMON, "x")
        if data.draw(st.booleans()):  # killed, and something is lost
            cut = data.draw(st.integers(0, 200))
            whole = history.file.data
            kept = whole[: max(whole.index(b"\n") + 1, len(whole) - cut)]
            history.file.data = kept + b"\0" * (len(whole) - len(kept))
            history = FakeHistory(Clock(), history.left, limits=SMALL)
        if data.draw(st.booleans()):
            ask()
    while ask():
        pass
    assert told == list(range(1, history.answer(0, 0).last + 1))
    assert len(told) >= sum(bursts)
