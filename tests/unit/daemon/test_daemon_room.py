"""Room for the files of all processes, under a limit that is too low for them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest
from fakes.daemon import SETTINGS, process

from supervisortw.core.limits import LIMITS
from supervisortw.core.plan import Layout
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.room import FileRoom
from supervisortw.errors import SpawnError

NOFILE = resource.RLIMIT_NOFILE
SOFT = 200


class Limit(FileLimit):
    """A limit that cannot be raised beyond SOFT."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def raise_to(self, needed: int) -> str | None:
        self.asked = needed
        return f"{needed} open files are needed and {SOFT} are allowed" if needed > 1000 else None


def layout(count: int) -> Layout:
    names = [f"p{number}" for number in range(count)]
    processes = {name: process(name) for name in names}
    return Layout(settings=SETTINGS, processes=processes, sockets={})


FEW, MANY = layout(1), layout(300)


@pytest.fixture(autouse=True)
def _low_limit() -> Iterator[None]:
    before = resource.getrlimit(NOFILE)
    resource.setrlimit(NOFILE, (SOFT, before[1]))
    yield
    resource.setrlimit(NOFILE, before)


@pytest.fixture
def ours() -> Iterator[list[int]]:
    ours: list[int] = []
    yield ours
    for descriptor in ours:
        os.close(descriptor)


def open_all(ours: list[int], but: int) -> None:
    """Open files until so many more can be opened."""
    try:
        while True:
            ours.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(but):
            os.close(ours.pop())


def test_each_process_needs_more_of_it() -> None:
    limit = Limit()
    room = FileRoom(limit)
    most = LIMITS.spawns_under_way
    room.make(layout(most))
    first = limit.asked
    room.make(layout(most + 1))
    assert limit.asked == first + 2, "a log and its pipe"


def test_what_is_made_at_once_has_room() -> None:
    limit = Limit()
    room = FileRoom(limit)
    most = room.starts_at_once()
    assert most == LIMITS.spawns_under_way
    room.make(layout(0))
    least = limit.asked
    room.make(layout(most))
    assert limit.asked == least + most * (2 + 4), "three streams, and who tells of it"
    with_sockets = process("web", sockets=("http", "https"))
    room.make(Layout(settings=SETTINGS, processes={"web": with_sockets}, sockets={}))
    assert limit.asked == least + 2 + 4 + 2
    room.make(MANY)
    assert 3 * room.starts_at_once() < LIMITS.files_kept, "in a room that is too small"


def test_too_little_is_told_once() -> None:
    room = FileRoom(Limit())
    room.make(MANY)
    note = room.note
    assert note is not None
    assert "open files are needed and 200 are allowed" in note
    room.make(MANY)
    assert room.note == note
    room.make(FEW)
    assert room.note is None


def test_the_last_files_are_kept_from_programs(ours: list[int]) -> None:
    room = FileRoom(Limit())
    room.make(MANY)
    open_all(ours, but=LIMITS.files_kept + 1)
    room.check()
    ours.append(os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(SpawnError, match="too many open files: 200 are allowed") as caught:
        room.check()
    assert not caught.value.permanent
    open_all(ours, but=0)
    with pytest.raises(SpawnError, match="too many open files"):
        room.check()
    room.make(FEW)
    room.check()  # nothing has to be kept where there is enough


def test_it_counts_how_many_are_left_and_not_which_number_is_next(ours: list[int]) -> None:
    room = FileRoom(Limit())
    room.make(MANY)
    open_all(ours, but=LIMITS.files_kept - 1)
    os.close(ours.pop(0))  # a low number is free, and as many are left as have to be kept
    with pytest.raises(SpawnError, match="too many open files"):
        room.check()
    os.close(ours.pop(0))
    room.check()
