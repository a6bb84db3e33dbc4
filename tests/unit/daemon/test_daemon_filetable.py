"""A small table of open files beside the usual one."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisortw.daemon import filetable as module
from supervisortw.daemon.filetable import FileTable


def _refuse(what: int) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=[pytest.param("apart", marks=pytest.mark.needs_linux), "usual"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileTable]:
    if request.param == "usual":
        monkeypatch.setattr(module, "_unshare", _refuse)
    monkeypatch.setattr(module, "_is_filtered", lambda: False)
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
    for end in ends:
        os.close(end)


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

    def test_nowhere_is_open_there(self, table: FileTable) -> None:
        assert table.run(lambda: os.read(table.nowhere, 1)) == b""
        assert not table.run(lambda: os.get_inheritable(table.nowhere))

    def test_nothing_stays_open(self) -> None:
        before = os.listdir("/dev/fd")
        FileTable().close()
        assert os.listdir("/dev/fd") == before


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

            assert apart.run(look) == [os.devnull] * 4 + ["anon_inode:[pidfd]"]

    def test_descriptors_are_copied_there(self, apart: FileTable, pipe: tuple[int, int]) -> None:
        reader, writer = pipe
        copy = apart.run(lambda: apart.copy(writer))
        assert not apart.run(lambda: os.get_inheritable(copy))
        apart.run(lambda: (os.write(copy, b"there"), os.close(copy)))
        assert os.read(reader, 10) == b"there"
        os.write(writer, b"here")  # ours is what it was
        assert os.read(reader, 10) == b"here"

    def test_what_is_not_open_here_cannot_be_copied(
        self, apart: FileTable, pipe: tuple[int, int]
    ) -> None:
        missing = os.dup(pipe[0])
        os.close(missing)
        with pytest.raises(OSError, match="Bad file descriptor"):
            apart.run(lambda: apart.copy(missing))

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


def test_where_descriptors_cannot_be_copied_it_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: FileTable, descriptor: int) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(FileTable, "copy", refuse)
    table = FileTable()
    assert not table.is_apart
    assert os.read(table.nowhere, 1) == b""
    table.close()


@pytest.mark.needs_linux
def test_where_system_calls_are_filtered_it_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open("/proc/thread-self/status", "rb") as status:
        assert b"\nSeccomp:\t" in status.read()
    monkeypatch.setattr(module, "_is_filtered", lambda: True)
    monkeypatch.setattr(FileTable, "copy", lambda *_: pytest.fail("a filter may kill for that"))
    table = FileTable()
    assert not table.is_apart
    table.close()


def test_it_can_be_closed_twice(table: FileTable) -> None:
    table.close()
    before = os.listdir("/dev/fd")
    table.close()
    assert os.listdir("/dev/fd") == before
