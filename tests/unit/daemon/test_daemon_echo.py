"""The log on standard output: whole lines, in order, and never a wait for who reads them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import Logger, LogPublisher, formatEvent

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.echo import Echo, opened_again

PIPE_BYTES = 4 * select.PIPE_BUF
LINE = b"a line of some length\n"


class Pipe:
    """A pipe with an echo at one end; the test reads at the other."""

    def __init__(self, *, again: bool) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.again = opened_again(self.write_end) if again else None
        self.echo = Echo(self.write_end, self.again)

    def fill(self) -> int:
        """Write until the pipe is full; return how many bytes it has."""
        count = 0
        while select.select([], [self.write_end], [], 0)[1]:
            count += os.write(self.write_end, b"." * select.PIPE_BUF)
        return count

    def read(self) -> bytes:
        """Read all that is there."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self.read_end, 65536):
                data += more
        return data

    def close(self) -> None:
        for number in (self.read_end, self.write_end, self.again):
            if number is not None:
                with contextlib.suppress(OSError):
                    os.close(number)


@pytest.fixture(
    params=[pytest.param(True, marks=pytest.mark.needs_linux), False],
    ids=["a description of our own", "a shared one"],
)
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    made = Pipe(again=request.param)
    assert (made.again is not None) == request.param
    yield made
    made.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is logged."""
    events: list[Any] = []
    logger = Logger(namespace="supervisor", observer=LogPublisher(events.append))
    monkeypatch.setattr("supervisortw.daemon.echo.log", logger)
    return events


def test_lines_are_shown_at_once(pipe: Pipe) -> None:
    pipe.echo.write(LINE)
    assert pipe.read() == LINE


def test_a_full_pipe_is_not_waited_for(pipe: Pipe) -> None:
    full = pipe.fill()
    pipe.echo.write(b"first\n")
    pipe.echo.write(b"second\n")
    assert pipe.read() == b"." * full
    pipe.echo.write(b"third\n")
    assert pipe.read() == b"first\nsecond\nthird\n"


def test_the_flags_of_the_pipe_stay_as_they_are(pipe: Pipe) -> None:
    pipe.fill()
    pipe.echo.write(LINE)
    assert os.get_blocking(pipe.write_end)


def test_a_line_that_is_longer_than_the_pipe_is_shown_whole_in_the_end(pipe: Pipe) -> None:
    long = b"x" * 3 * PIPE_BYTES + b"\n"
    shown = b""
    pipe.echo.write(long)
    for _ in range(10):
        shown += pipe.read()
        pipe.echo.write(LINE)
    shown += pipe.read()
    assert shown == long + LINE * 10


def test_so_much_waits_and_no_more_and_what_is_left_out_is_told_once(
    pipe: Pipe, told: list[Any]
) -> None:
    pipe.fill()
    room = LIMITS.echo_bytes // len(LINE)
    for _ in range(room + 7):
        pipe.echo.write(LINE)
    assert not told
    pipe.read()
    shown = b""
    for _ in range(2 * LIMITS.echo_bytes // PIPE_BYTES):
        pipe.echo.write(LINE)
        shown += pipe.read()
    assert len(shown) >= room * len(LINE)
    assert shown == LINE * (len(shown) // len(LINE))
    pipe.echo.write(LINE)
    [event] = told
    assert formatEvent(event) == "standard output is read again; lines missing there: 7"


def test_a_reader_that_is_gone_does_no_harm(pipe: Pipe, told: list[Any]) -> None:
    pipe.fill()
    for _ in range(LIMITS.echo_bytes // len(LINE) + 2):
        pipe.echo.write(LINE)
    os.close(pipe.read_end)
    pipe.echo.write(LINE)
    pipe.echo.write(LINE)
    assert not told, "nobody reads again"


def test_a_stream_that_is_closed_does_no_harm() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    assert opened_again(write_end) is None
    Echo(write_end, None).write(LINE)


def test_a_terminal_that_nobody_reads_is_not_waited_for() -> None:
    ours, theirs = pty.openpty()
    again = opened_again(theirs)
    assert again is not None
    echo = Echo(theirs, again)
    for _ in range(LIMITS.echo_bytes // len(LINE)):
        echo.write(LINE)
    assert os.get_blocking(theirs)
    assert os.read(ours, 100).startswith(LINE.replace(b"\n", b"\r\n"))
    for number in (ours, theirs, again):
        os.close(number)


def test_a_file_is_written_as_it_is(tmp_path: Any) -> None:
    path = tmp_path / "said"
    with open(path, "wb") as file:
        again = opened_again(file.fileno())
        assert again is None
        Echo(file.fileno(), again).write(LINE)
    assert path.read_bytes() == LINE
