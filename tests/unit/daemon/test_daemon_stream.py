"""Streams: whole lines, in order, and never a wait for who reads them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.giver import FakeGiver
from fakes.reactor import FakeReactor

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import ways
from supervisortw.daemon.stream import OwnStream, SpecialFile, Stream, is_special
from supervisortw.daemon.ways import OwnWay, SharedWay, SocketWay, way_to
from supervisortw.errors import LocalError, UnsafePath

PIPE_BYTES = 4 * select.PIPE_BUF
LINE = b"a line of some length\n"


def read(descriptor: int) -> bytes:
    """Read all that is there."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(descriptor, 65536):
            data += more
    return data


class Pipe:
    """A pipe that is a stream of the daemon's own; the test reads at the other end."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.reactor = FakeReactor()
        self.stream = Stream(OwnStream(self.write_end, "stdout"), self.reactor, self.reactor)
        self.giver = FakeGiver()

    def put(self, *lines: bytes) -> None:
        assert self.stream.has_room(self.giver)
        self.stream.put(self.giver, lines)

    def fill(self) -> int:
        """Write until the pipe is full; return how many bytes it has."""
        count = 0
        while select.select([], [self.write_end], [], 0)[1]:
            count += os.write(self.write_end, b"." * select.PIPE_BUF)
        return count

    def read_on(self) -> bytes:
        """Read all that comes."""
        data = read(self.read_end)
        while self.reactor.write():
            data += read(self.read_end)
        return data

    def close(self) -> None:
        self.stream.close()
        for number in (self.read_end, self.write_end):
            with contextlib.suppress(OSError):
                os.close(number)


@pytest.fixture(
    params=[pytest.param(True, marks=pytest.mark.needs_linux), False],
    ids=["a description of our own", "a shared one"],
)
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    if not request.param:
        monkeypatch.setattr(ways, "opened_again", lambda stream: None)
    made = Pipe()
    yield made
    made.close()


class TestPipe:
    def test_lines_are_written_at_once(self, pipe: Pipe) -> None:
        pipe.put(LINE)
        assert read(pipe.read_end) == LINE
        assert pipe.reactor.writers == []

    def test_a_full_pipe_is_not_waited_for(self, pipe: Pipe) -> None:
        full = pipe.fill()
        pipe.put(b"first\n")
        pipe.put(b"second\n", b"third\n")
        assert read(pipe.read_end) == b"." * full
        assert pipe.read_on() == b"first\nsecond\nthird\n"
        assert pipe.reactor.writers == []

    def test_the_flags_of_the_pipe_stay_as_they_are(self, pipe: Pipe) -> None:
        pipe.fill()
        pipe.put(LINE)
        assert os.get_blocking(pipe.write_end)

    def test_what_is_longer_than_the_pipe_gets_there_whole(self, pipe: Pipe) -> None:
        long = b"x" * 3 * PIPE_BYTES + b"\n"
        pipe.put(long)
        pipe.put(LINE)
        assert pipe.read_on() == long + LINE

    def test_so_much_waits_and_no_more(self, pipe: Pipe) -> None:
        pipe.fill()
        count = 0
        while pipe.stream.has_room(pipe.giver):
            pipe.stream.put(pipe.giver, [LINE])
            count += 1
        assert 0 <= count * len(LINE) - LIMITS.target_share_bytes < len(LINE)
        assert pipe.stream.trouble == "it is not read fast enough"
        assert pipe.read_on().endswith(LINE * count)
        assert pipe.giver.rooms == 1
        assert pipe.stream.trouble == ""

    def test_not_all_is_written_in_one_turn(self, pipe: Pipe) -> None:
        pipe.put(*[b"\n"] * (LIMITS.target_writes_per_turn + 1))
        assert len(read(pipe.read_end)) == LIMITS.target_writes_per_turn
        assert pipe.read_on() == b"\n"

    def test_a_reader_that_is_gone_is_told(self, pipe: Pipe) -> None:
        pipe.fill()
        pipe.put(b"first\n")
        os.close(pipe.read_end)
        pipe.reactor.write()
        assert pipe.giver.lost_data == [b"first\n"]
        assert pipe.stream.trouble == "nobody reads it any more"
        assert not pipe.stream.has_room(pipe.giver)
        assert pipe.reactor.writers == []

    def test_the_reactor_may_notice_first(self, pipe: Pipe) -> None:
        pipe.fill()
        pipe.put(b"first\n")
        pipe.stream.connectionLost(None)  # type: ignore[arg-type]  # nobody looks at it
        assert pipe.giver.lost_data == [b"first\n"]

    def test_it_is_tried_again_after_a_while(self, pipe: Pipe) -> None:
        pipe.put(LINE)
        pipe.stream.connectionLost(None)  # type: ignore[arg-type]
        assert not pipe.stream.has_room(pipe.giver)
        pipe.reactor.advance(LIMITS.log_retry_seconds)
        assert pipe.stream.has_room(pipe.giver)
        pipe.put(LINE)
        assert read(pipe.read_end) == LINE * 2

    def test_the_end_waits_for_what_is_written(self, pipe: Pipe) -> None:
        done: list[bool] = []
        pipe.stream.finish(lambda: done.append(True))
        assert done.pop(), "nothing waits"
        pipe.fill()
        pipe.put(LINE)
        pipe.stream.finish(lambda: done.append(True))
        assert not done
        pipe.read_on()
        assert done == [True]


class TestOwnStream:
    def test_a_terminal_that_nobody_reads_is_not_waited_for(self) -> None:
        ours, theirs = pty.openpty()
        reactor, giver = FakeReactor(), FakeGiver()
        stream = Stream(OwnStream(theirs, "stdout"), reactor, reactor)
        while stream.has_room(giver):
            stream.put(giver, [LINE])
        assert os.get_blocking(theirs)
        assert os.read(ours, 100).startswith(LINE.replace(b"\n", b"\r\n"))
        stream.close()
        os.close(ours)
        os.close(theirs)

    def test_a_connection_that_nobody_reads_is_not_waited_for(self) -> None:
        ours, theirs = socket.socketpair()
        reactor, giver = FakeReactor(), FakeGiver()
        with ours, theirs:
            stream = Stream(OwnStream(theirs.fileno(), "stdout"), reactor, reactor)
            count = 0
            while stream.has_room(giver):
                stream.put(giver, [LINE])
                count += 1
            assert theirs.getblocking()
            found = b""
            while len(found) < count * len(LINE):
                found += ours.recv(1 << 20)
                reactor.write()
            assert found == count * LINE
            stream.close()

    def test_a_file_is_written_as_it_is(self, tmp_path: Path) -> None:
        path, reactor = tmp_path / "said", FakeReactor()
        with open(path, "wb") as file:
            stream = Stream(OwnStream(file.fileno(), "stdout"), reactor, reactor)
            assert stream.has_room(FakeGiver())
            stream.put(FakeGiver(), [LINE])
            stream.close()
        assert path.read_bytes() == LINE

    def test_one_that_is_closed_does_no_harm(self) -> None:
        read_end, write_end = os.pipe()
        os.close(read_end)
        os.close(write_end)
        reactor = FakeReactor()
        stream = Stream(OwnStream(write_end, "stdout"), reactor, reactor)
        assert not stream.has_room(FakeGiver())
        assert stream.trouble == "stdout cannot be used: Bad file descriptor"

    def test_when_the_daemon_lets_go_of_it_we_do_so_too(self, tmp_path: Path) -> None:
        pipe = Pipe()
        pipe.put(LINE)
        elsewhere = os.open(tmp_path / "elsewhere", os.O_CREAT | os.O_WRONLY)
        os.dup2(elsewhere, pipe.write_end)
        os.close(elsewhere)
        pipe.put(b"elsewhere\n")
        assert read(pipe.read_end) == LINE
        assert (tmp_path / "elsewhere").read_bytes() == b"elsewhere\n"
        pipe.close()

    def test_each_kind_is_written_to_in_its_way(self, tmp_path: Path) -> None:
        read_end, write_end = os.pipe()
        ours, theirs = socket.socketpair()
        with open(tmp_path / "file", "wb") as file, ours, theirs:
            found = [way_to(each) for each in (write_end, theirs.fileno(), file.fileno())]
        assert [type(way) for way in found][1:] == [SocketWay, OwnWay]
        assert type(found[0]) in {OwnWay, SharedWay}, "where there is no /proc"
        for way in found:
            way.close()
        os.close(read_end)
        os.close(write_end)


@pytest.mark.needs_linux
class TestFifo:
    @pytest.fixture
    def fifo(self, tmp_path: Path) -> str:
        os.mkfifo(tmp_path / "fifo")
        return str(tmp_path / "fifo")

    @pytest.fixture
    def stream(self, fifo: str) -> Iterator[Stream]:
        reactor = FakeReactor()
        stream = Stream(SpecialFile(fifo), reactor, reactor)
        yield stream
        stream.close()

    def test_without_a_reader_it_fills_and_then_refuses(self, stream: Stream, fifo: str) -> None:
        giver, count = FakeGiver(), 0
        while stream.has_room(giver):
            stream.put(giver, [LINE])
            count += 1
        assert count * len(LINE) > LIMITS.target_share_bytes
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        found = read(reader)
        while len(found) < count * len(LINE):
            stream.doWrite()
            found += read(reader)
        assert found == LINE * count
        assert giver.rooms == 1
        os.close(reader)

    def test_a_reader_that_goes_is_followed_by_the_next_one(
        self, stream: Stream, fifo: str
    ) -> None:
        giver = FakeGiver()
        for line in (b"one\n", b"two\n"):
            assert stream.has_room(giver)
            stream.put(giver, [line])
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            assert read(reader) == line
            os.close(reader)
        assert giver.lost_data == []

    def test_one_that_was_made_anew_is_found_by_its_name(self, stream: Stream, fifo: str) -> None:
        giver = FakeGiver()
        assert stream.has_room(giver)
        stream.put(giver, [b"one\n"])
        os.unlink(fifo)
        os.mkfifo(fifo)
        assert stream.has_room(giver)
        stream.put(giver, [b"two\n"])
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        assert read(reader) == b"two\n"
        os.close(reader)

    def test_one_that_is_gone_is_written_to_as_long_as_it_is_open(
        self, stream: Stream, fifo: str
    ) -> None:
        assert stream.has_room(FakeGiver())
        os.unlink(fifo)
        assert stream.has_room(FakeGiver())

    def test_what_it_has_begun_is_lost_with_it(self, stream: Stream, fifo: str) -> None:
        giver = FakeGiver()
        assert stream.has_room(giver)
        stream.put(giver, [b"x" * 100_000, b"last\n"])
        os.unlink(fifo)
        os.mkfifo(fifo)
        stream.reopen()
        assert giver.lost_data == [b"x" * 100_000]
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        assert read(reader) == b"last\n"
        os.close(reader)


class TestSpecialFile:
    def test_a_device(self) -> None:
        reactor, giver = FakeReactor(), FakeGiver()
        stream = Stream(SpecialFile("/dev/null"), reactor, reactor)
        assert stream.has_room(giver)
        stream.put(giver, [LINE])
        assert giver.lost_data == []
        stream.close()

    @pytest.mark.needs_linux
    def test_a_device_that_is_full(self) -> None:
        reactor, giver = FakeReactor(), FakeGiver()
        stream = Stream(SpecialFile("/dev/full"), reactor, reactor)
        assert stream.has_room(giver)
        stream.put(giver, [LINE])
        assert giver.lost_data == [LINE]
        assert stream.trouble == "No space left on device"

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to("/dev/null")
        assert is_special(str(link)), "whoever wrote it there means the device"
        with pytest.raises(LocalError, match="link"):
            SpecialFile(str(link)).open()

    def test_one_where_somebody_else_can_put_another_is_not_opened(self, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        os.mkfifo(tmp_path / "open" / "fifo")
        with pytest.raises(UnsafePath, match="open"):
            SpecialFile(str(tmp_path / "open" / "fifo")).open()

    @pytest.mark.needs_root
    def test_one_that_somebody_else_has_put_where_all_may_is_not_opened(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "tmp").mkdir()
        (tmp_path / "tmp").chmod(0o1777)
        fifo = tmp_path / "tmp" / "fifo"
        os.mkfifo(fifo)
        SpecialFile(str(fifo)).open()[0].close()
        os.chown(fifo, 65534, 65534)
        with pytest.raises(UnsafePath, match="belongs to somebody else"):
            SpecialFile(str(fifo)).open()

    def test_what_has_become_a_file_is_not_written_to(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo"
        path.write_bytes(b"")
        with pytest.raises(LocalError, match="no FIFO and no device any more"):
            SpecialFile(str(path)).open()
        assert SpecialFile(str(path)).identity() is None

    def test_regular_files_and_nothing_are_not_special(self, tmp_path: Path) -> None:
        assert not is_special(str(tmp_path / "nothing"))
        assert not is_special(str(tmp_path))
        assert is_special("/dev/null")
