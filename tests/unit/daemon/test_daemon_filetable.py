"""A small table of open files beside the usual one."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisortw.daemon import filetable as module
from supervisortw.daemon.filetable import FileTable, close_all


def _refuse(what: int) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=[pytest.param("apart", marks=pytest.mark.needs_linux), "usual"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileTable]:
    if request.param == "usual":
        monkeypatch.setattr(module, "_unshare", _refuse)
    table = FileTable()
    assert table.is_apart == (request.param == "apart")
    yield table
    table.close()


@pytest.fixture
def apart() -> Iterator[FileTable]:
    table = FileTable()
    assert table.is_apart
    yield table
    table.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    close_all(ends)


class TestBoth:
    """What holds for a table of its own, and for the usual one."""

    def test_something_is_done_and_its_result_comes_back(self, table: FileTable) -> None:
        assert [table.run(lambda: 6 * 7), table.run(lambda: "again")] == [42, "again"]

    def test_what_it_raises_is_raised_here(self, table: FileTable) -> None:
        def fail() -> None:
            raise KeyError("web")

        with pytest.raises(KeyError, match="web"):
            table.run(fail)
        assert table.run(lambda: 1) == 1

    def test_descriptors_come_there_in_their_order(
        self, table: FileTable, pipe: tuple[int, int]
    ) -> None:
        reader, writer = pipe
        table.post([writer])
        table.post([reader, writer])
        first = table.run(table.take)
        second = table.run(table.take)
        assert (len(first), len(second)) == (1, 2)

        def use() -> bytes:
            os.write(first[0], b"one")
            os.write(second[1], b"two")
            close_all([first[0], second[1]])
            return os.read(second[0], 10)

        assert table.run(use) == b"onetwo"
        table.run(lambda: os.close(second[0]))
        os.write(writer, b"three")  # ours are what they were
        assert os.read(reader, 10) == b"three"

    def test_and_back(self, table: FileTable, pipe: tuple[int, int]) -> None:
        reader, writer = pipe
        table.post([writer])

        def back() -> None:
            given = table.take()
            table.give_back(given)
            close_all(given)

        table.run(back)
        [copy] = table.given_back()
        os.write(copy, b"word")
        os.close(copy)
        assert os.read(reader, 10) == b"word"

    def test_what_was_not_taken_is_closed_with_it(self, pipe: tuple[int, int]) -> None:
        table = FileTable()
        table.post([pipe[1]])
        before = set(os.listdir("/dev/fd"))
        table.close()
        assert set(os.listdir("/dev/fd")) < before

    def test_nothing_is_there_where_nothing_was_sent(self, table: FileTable) -> None:
        with pytest.raises(BlockingIOError):
            table.run(table.take)
        with pytest.raises(BlockingIOError):
            table.given_back()

    def test_without_room_for_copies_none_is_left_open(
        self, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
    ) -> None:
        monkeypatch.setattr(module, "_unshare", _refuse)
        table = FileTable()
        table.post(pipe)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/dev/fd"))
        filled = [os.open(os.devnull, os.O_RDONLY)]
        while filled[-1] <= highest:
            filled.append(os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 2, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):  # there is room for one
                table.take()
            os.close(os.open(os.devnull, os.O_RDONLY))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            close_all(filled)
            table.close()


@pytest.mark.needs_linux
class TestApart:
    def test_nothing_of_ours_is_open_there(self, apart: FileTable, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file:
            file.write("x")

            def look() -> list[str]:
                there = "/proc/thread-self/fd"
                paths = []
                for name in os.listdir(there):
                    try:
                        paths.append(os.readlink(f"{there}/{name}"))
                    except FileNotFoundError:  # that of the listing itself
                        continue
                return sorted(paths)

            *nowhere, way = apart.run(look)
        assert nowhere == [os.devnull] * 3
        assert way.startswith("socket:")

    def test_what_is_opened_there_is_not_open_here(self, apart: FileTable) -> None:
        before = os.listdir("/dev/fd")
        opened = apart.run(lambda: os.open(os.devnull, os.O_RDONLY))
        assert os.listdir("/dev/fd") == before
        apart.run(lambda: os.close(opened))

    def test_directory_and_umask_are_its_own(self, apart: FileTable, tmp_path: Path) -> None:
        here, mask = os.getcwd(), os.umask(0o022)
        try:
            apart.run(lambda: (os.chdir(tmp_path), os.umask(0o077)))
            assert os.getcwd() == here
            assert os.umask(0o022) == 0o022
            assert apart.run(os.getcwd) == str(tmp_path)
        finally:
            os.umask(mask)

    def test_no_signal_is_handled_there(self, apart: FileTable) -> None:
        def blocked() -> set[int]:
            return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

        assert {signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP} <= apart.run(blocked)
        assert signal.SIGCHLD not in blocked()

    def test_garbage_is_not_collected_there(self, apart: FileTable) -> None:
        assert gc.isenabled()
        assert not apart.run(gc.isenabled)
        assert gc.isenabled()
        gc.disable()
        try:
            apart.run(lambda: None)
            assert not gc.isenabled(), "who has it off, keeps it off"
        finally:
            gc.enable()

    def test_its_thread_ends_with_it(self) -> None:
        before = threading.active_count()
        table = FileTable()
        assert threading.active_count() == before + 1
        table.close()
        assert threading.active_count() == before


def test_where_no_thread_can_be_made_it_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    table = FileTable()
    assert not table.is_apart
    assert table.run(threading.current_thread) is threading.current_thread()
    table.close()


def test_where_the_system_refuses_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    monkeypatch.setattr(module, "_unshare", _refuse)
    table = FileTable()
    assert threading.active_count() == before
    table.close()
