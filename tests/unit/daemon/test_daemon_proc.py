"""What is read from /proc; here it is a directory of the test's own where the real one will not do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import proc


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that stands for /proc."""
    monkeypatch.setattr(proc, "DIRECTORY", str(tmp_path))
    return tmp_path


def add(place: Path, pid: int, **files: bytes) -> None:
    (place / str(pid)).mkdir()
    for name, data in files.items():
        (place / str(pid) / name).write_bytes(data)


class TestSessions:
    @pytest.mark.needs_linux
    def test_we_are_among_them(self) -> None:
        assert dict(proc.sessions())[os.getpid()] == os.getsid(0)

    def test_what_is_no_process_or_gone_is_left_out(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def getsid(pid: int) -> int:
            if pid == 8:
                raise ProcessLookupError
            return pid + 100

        monkeypatch.setattr(os, "getsid", getsid)
        for name in ("7", "8", "meminfo", "self"):
            (place / name).touch()
        assert list(proc.sessions()) == [(7, 107)]

    def test_those_who_come_while_we_look_are_seen(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def getsid(pid: int) -> int:
            (place / "9").touch()
            return 1

        monkeypatch.setattr(os, "getsid", getsid)
        (place / "7").touch()
        assert sorted(proc.sessions()) == [(7, 1), (9, 1)]

    def test_others_have_their_turn_after_each_bit_of_work(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        slept: list[float] = []

        def getsid(pid: int) -> int:
            nonlocal now
            now += proc.WORK_SECONDS * 0.6
            return 1

        monkeypatch.setattr(os, "getsid", getsid)
        monkeypatch.setattr(time, "monotonic", lambda: now)
        monkeypatch.setattr(time, "sleep", slept.append)
        for number in range(10):
            (place / str(number)).touch()
        assert len(list(proc.sessions())) == 10
        assert slept == [proc.PAUSE_SECONDS] * 5

    def test_there_is_no_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proc, "DIRECTORY", "/nowhere")
        with pytest.raises(FileNotFoundError):
            list(proc.sessions())


class TestAlive:
    REST = b" 1 12 34 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 "

    @pytest.mark.parametrize(
        ("begin", "threads", "alive"),
        [
            (b"12 (cat) S", b"1", True),
            (b"12 (a) Z (b) R", b"1", True),
            (b"12 () S 9) R", b"1", True),
            (b"12 (line\nfeed) D", b"1", True),
            (b"12 (cat) Z", b"1", False),
            (b"12 (cat) X", b"1", False),
            (b"12 (cat) Z", b"2", True),  # its main thread has ended, and another one has not
        ],
    )
    def test_a_command_may_be_called_anything(
        self, begin: bytes, threads: bytes, alive: bool
    ) -> None:
        assert proc.is_alive_by(begin + self.REST + threads + b" 0 999 4096") == alive

    @pytest.mark.needs_linux
    def test_we_are(self) -> None:
        assert proc.is_alive(os.getpid())
        assert not proc.is_alive(2**22 + 1)

    @pytest.mark.parametrize("text", [b"", b"12 (cat", b"12 (cat) Z", b"12 (cat) Z 1"])
    def test_what_cannot_be_read_is_not(self, place: Path, text: bytes) -> None:
        add(place, 12, stat=text)
        assert not proc.is_alive(12)


class TestPtrace:
    @pytest.mark.parametrize(
        ("uid", "status", "lacks"),
        [
            (0, "Name:\tx\nCapEff:\t00000000a80425fb\nCapBnd:\t0\n", True),  # of many containers
            (0, "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n", False),
            (0, "Name:\tx\n", False),
            (1000, "CapEff:\t0000000000000000\n", False),
        ],
    )
    def test_root_may_lack_it(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, uid: int, status: str, lacks: bool
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        (place / "self").mkdir()
        (place / "self" / "status").write_text(status)
        assert proc.is_root_without_ptrace() == lacks

    def test_another_system(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert not proc.is_root_without_ptrace()


class TestCommand:
    def test_it_is_printable(self, place: Path) -> None:
        add(place, 12, comm=b"ev\x1b[2Jil\xff\n")
        assert proc.command(12) == "ev\\x1b[2Jil\\xff"

    def test_it_has_its_bound(self, place: Path) -> None:
        add(place, 12, comm=b"\x01" * 200)
        assert len(proc.command(12)) == LIMITS.command_characters

    def test_nobody_is_there_or_has_a_name(self, place: Path) -> None:
        add(place, 12, comm=b"\n")
        assert proc.command(12) == proc.command(13) == "?"


class TestEnvironment:
    @pytest.mark.parametrize(
        ("data", "value"),
        [
            (b"ID=abc\0", "abc"),
            (b"A=1\0ID=abc\0B=2\0", "abc"),
            (b"A=1\0ID=abc", "abc"),
            (b"ID=\0", ""),
            (b"ID=first\0ID=second\0", "first"),
            (b"ID=a\xff\0", "a\\xff"),
            (b"A=ID=abc\0", None),
            (b"MY_ID=abc\0", None),
            (b"A=1\nID=abc\0", None),
            (b"ID\0", None),
            (b"IDX=abc\0", None),
            (b"", None),
        ],
    )
    def test_an_entry_has_to_begin_with_the_name(
        self, place: Path, data: bytes, value: str | None
    ) -> None:
        add(place, 12, environ=data)
        assert proc.Environments().value(12, "ID") == value

    def test_what_another_one_had_is_not_seen(self, place: Path) -> None:
        add(place, 12, environ=b"A=1\0ID=abc\0")
        add(place, 13, environ=b"B=2")
        environments = proc.Environments()
        assert environments.value(12, "ID") == "abc"
        assert environments.value(13, "ID") is None

    def test_only_so_much_is_looked_at(self, place: Path) -> None:
        def filled(length: int) -> bytes:
            return b"A=" + b"x" * (length - len(b"A=\0ID=abc\0")) + b"\0ID=abc\0"

        add(place, 12, environ=filled(LIMITS.environ_bytes))
        add(place, 13, environ=filled(LIMITS.environ_bytes + 100))
        environments = proc.Environments()
        assert environments.value(12, "ID") == "abc"
        assert environments.value(13, "ID") is None

    def test_nobody_is_there(self, place: Path) -> None:
        assert proc.Environments().value(14, "ID") is None

    @pytest.mark.needs_linux
    def test_our_own(self) -> None:
        name = next(iter(os.environ))
        assert proc.Environments().value(os.getpid(), name) is not None
        assert proc.Environments().value(os.getpid(), "NO_SUCH_VARIABLE") is None

    def test_what_we_may_not_see(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str, flags: int) -> int:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError):
            proc.Environments().value(1, "ID")
