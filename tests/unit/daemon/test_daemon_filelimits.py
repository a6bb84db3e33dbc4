"""The limit of open files: raised for the daemon, not for its children."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator

import pytest

from supervisortw.core.model import Limit
from supervisortw.daemon.filelimits import FileLimit

NOFILE = resource.RLIMIT_NOFILE
SOFT = 200


@pytest.fixture(autouse=True)
def hard() -> Iterator[int]:
    """Start with a low soft limit; return the hard one."""
    before = resource.getrlimit(NOFILE)
    resource.setrlimit(NOFILE, (SOFT, before[1]))
    yield before[1]
    resource.setrlimit(NOFILE, before)


def soft() -> int:
    return resource.getrlimit(NOFILE)[0]


def test_it_is_raised_as_far_as_needed(hard: int) -> None:
    limit = FileLimit()
    assert limit.raise_to(300) is None
    assert resource.getrlimit(NOFILE) == (300, hard)
    assert limit.original == (SOFT, hard)


def test_it_is_never_lowered() -> None:
    limit = FileLimit()
    assert limit.raise_to(SOFT) is None
    assert limit.raise_to(3) is None
    assert soft() == SOFT
    assert limit.for_message() == ()


def test_what_the_hard_limit_forbids_is_told_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (SOFT, 250))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: asked.append(pair))
    told = FileLimit().raise_to(300)
    assert told is not None
    assert told.startswith("300 open files are needed and 250 are allowed; raise the limit before")
    assert asked == [(250, 250)], "as far as possible"


def test_a_system_may_have_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    limit = FileLimit()
    monkeypatch.setattr(resource, "setrlimit", refuse)
    told = limit.raise_to(300)
    assert told is not None
    assert "300 open files are needed and 200 are allowed" in told
    assert limit.for_message() == ()


def test_without_a_hard_limit_nothing_stands_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(SOFT, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: pairs[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: pairs.append(pair))
    limit = FileLimit()
    assert limit.raise_to(10**9) is None
    assert pairs[-1] == (10**9, resource.RLIM_INFINITY)
    assert limit.for_message() == (Limit(name="nofile", soft=SOFT, hard=None),)


def test_without_a_soft_limit_nothing_has_to_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda which: (unlimited, unlimited))
    assert FileLimit().raise_to(10**9) is None


def test_children_have_the_original_one(hard: int) -> None:
    limit = FileLimit()
    streams = (0, 1, 2)
    with limit.for_child(streams):
        assert soft() == SOFT
    limit.raise_to(300)
    with limit.for_child(streams):
        assert resource.getrlimit(NOFILE) == (SOFT, hard)
    assert soft() == 300
    with pytest.raises(KeyError), limit.for_child(streams):
        raise KeyError
    assert soft() == 300


def test_it_is_lowered_only_while_no_thread_could_notice() -> None:
    limit = FileLimit()
    limit.thread_begins()
    assert limit.can_be_lowered(), "one that was not raised is not lowered"
    limit.raise_to(300)
    assert not limit.can_be_lowered()
    limit.thread_begins()
    limit.thread_ends()
    assert not limit.can_be_lowered()
    limit.thread_ends()
    assert limit.can_be_lowered()


def test_streams_have_numbers_that_the_original_limit_allows() -> None:
    limit = FileLimit()
    limit.raise_to(300)
    read_end, write_end = os.pipe()
    high = fcntl.fcntl(write_end, fcntl.F_DUPFD_CLOEXEC, SOFT + 5)
    os.close(write_end)
    try:
        with limit.for_child((read_end, read_end, read_end)) as low:
            assert low == (read_end, read_end, read_end)
        with limit.for_child((0, high, high)) as low:
            assert max(low) < SOFT
            os.write(low[1], b"x")
            assert not any(map(os.get_inheritable, low))
        os.close(high)
        assert os.read(read_end, 10) == b"x"
        assert os.read(read_end, 10) == b"", "somebody still holds the pipe"
    finally:
        os.close(read_end)
        limit.close()


def test_streams_stay_what_they_are_where_nothing_was_raised() -> None:
    with FileLimit().for_child((0, 900, 900)) as streams:
        assert streams == (0, 900, 900)
