"""A pid file is believed only where everything fits."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisortw.tools import claim
from supervisortw.tools.claim import ClaimRefused, Descendant, NoClaim, PidFile, find_branch

US, UID = 100, 1000

needs_linux = [
    pytest.mark.needs_linux,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and pidfds"),
]


class TestPidFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "x.pid"

    @pytest.mark.parametrize(
        ("content", "pid"),
        [
            (b"2", 2),
            (b"812\n", 812),
            (b" 812 \r\n", 812),
            (b"0812", 812),
            (b"4294967295", 4294967295),
        ],
    )
    def test_a_number_is_read(self, path: Path, content: bytes, pid: int) -> None:
        file = PidFile(str(path))
        path.write_bytes(content)
        assert file.read() == pid

    @pytest.mark.parametrize(
        ("content", "shown"),
        [
            (b"0", "'0'"),
            (b"1\n", "'1'"),
            (b"-1", "'-1'"),
            (b"+12", "'+12'"),
            (b"12 13", "'12 13'"),
            (b"12\n13", r"'12\n13'"),
            (b"12\0", r"'12\x00'"),
            (b"1_2", "'1_2'"),
            (b"\x1b[2J", r"'\x1b[2J'"),
            ("１２".encode(), r"'\xef\xbc\x91\xef\xbc\x92'"),  # noqa: RUF001 - that is the point
            (b"12345678901", "'12345678901'"),
            (b"9" * 5000, "'99999999999999999999'..."),
        ],
    )
    def test_anything_else_is_refused(self, path: Path, content: bytes, shown: str) -> None:
        file = PidFile(str(path))
        path.write_bytes(content)
        with pytest.raises(ClaimRefused) as caught:
            file.read()
        assert str(caught.value) == f"{path} holds {shown}, which is no process id"
        assert not isinstance(caught.value, NoClaim)

    @pytest.mark.parametrize("content", [b"", b"\n"])
    def test_an_empty_file_says_nothing_yet(self, path: Path, content: bytes) -> None:
        file = PidFile(str(path))
        path.write_bytes(content)
        with pytest.raises(NoClaim, match="is empty"):
            file.read()

    def test_a_missing_file_says_nothing_yet(self, path: Path) -> None:
        with pytest.raises(NoClaim, match="does not exist"):
            PidFile(str(path)).read()
        with pytest.raises(NoClaim, match="does not exist"):
            PidFile(str(path / "missing" / "x.pid")).read()

    def test_what_was_there_before_says_nothing(self, path: Path) -> None:
        path.write_text("812\n")
        file = PidFile(str(path))
        with pytest.raises(NoClaim, match="left over from an earlier start"):
            file.read()
        path.unlink()
        path.write_text("813\n")
        assert file.read() == 813

    def test_the_same_number_written_again_counts(self, path: Path) -> None:
        path.write_text("812\n")
        file = PidFile(str(path))
        path.write_text("812\n")
        os.utime(path, ns=(1, 1))  # as if the clock of the file system had moved on
        assert file.read() == 812

    def test_a_link_is_refused(self, path: Path) -> None:
        (path.parent / "real").write_text("812\n")
        path.symlink_to("real")
        with pytest.raises(ClaimRefused, match="is a link"):
            PidFile(str(path)).read()

    def test_what_is_no_file_is_refused(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(ClaimRefused, match="is not a regular file"):
            PidFile(str(path)).read()
        with pytest.raises(ClaimRefused, match="is not a regular file"):
            PidFile(str(path.parent)).read()


class Processes:
    """A directory that looks like /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, pid: int, parent: int, uids: str = f"{UID} {UID} {UID} {UID}") -> None:
        (self.root / str(pid)).mkdir()
        (self.root / str(pid) / "status").write_text(
            f"Name:\tUid: 0 PPid: {US}\nState:\tS\nPPid:\t{parent}\nUid:\t{uids}\n"
        )
        (self.root / str(pid) / "stat").write_text(f"{pid} (a) R 1 (b) S {parent} " + "7 " * 60)

    def branch(self, pid: int) -> int:
        return find_branch(pid, us=US, uid=UID, proc=str(self.root))


class TestFindBranch:
    @pytest.fixture
    def processes(self, tmp_path: Path) -> Processes:
        return Processes(tmp_path)

    def test_a_child_is_its_own_branch(self, processes: Processes) -> None:
        processes.add(200, US)
        assert processes.branch(200) == 200

    def test_a_grandchild_belongs_to_its_parent(self, processes: Processes) -> None:
        processes.add(200, US)
        processes.add(201, 200)
        processes.add(202, 201)
        assert processes.branch(202) == 200

    def test_the_users_on_the_way_do_not_matter(self, processes: Processes) -> None:
        processes.add(200, US, "0 0 0 0")
        processes.add(201, 200)
        assert processes.branch(201) == 200

    @pytest.mark.parametrize("parent", [0, 1])
    def test_a_process_of_nobody_is_refused(self, processes: Processes, parent: int) -> None:
        processes.add(200, parent)
        with pytest.raises(ClaimRefused, match=r"^which was not started by pid-proxy$"):
            processes.branch(200)

    def test_process_1_may_be_pid_proxy(self, processes: Processes) -> None:
        processes.add(200, 1)
        assert find_branch(200, us=1, uid=UID, proc=str(processes.root)) == 200

    def test_our_parent_is_refused(self, processes: Processes) -> None:
        processes.add(50, 1)
        processes.add(US, 50)
        with pytest.raises(ClaimRefused, match="not started by pid-proxy"):
            processes.branch(50)

    def test_we_are_refused(self, processes: Processes) -> None:
        processes.add(US, 50)
        with pytest.raises(ClaimRefused, match=r"^which is pid-proxy itself$"):
            processes.branch(US)

    @pytest.mark.parametrize(
        ("uids", "shown"),
        [
            ("0 0 0 0", "0"),
            (f"0 {UID} {UID} {UID}", f"0, {UID}"),
            (f"{UID} 0 {UID} {UID}", f"{UID}, 0"),
            (f"{UID} {UID} 0 {UID}", f"{UID}, 0"),
            (f"{UID} {UID} {UID} 0", f"{UID}, 0"),
        ],
    )
    def test_all_four_users_must_be_ours(self, processes: Processes, uids: str, shown: str) -> None:
        processes.add(200, US, uids)
        with pytest.raises(ClaimRefused, match=f"^which runs as uid {shown}; pid-proxy runs as"):
            processes.branch(200)

    def test_a_circle_ends(self, processes: Processes) -> None:
        processes.add(200, 201)
        processes.add(201, 200)
        with pytest.raises(ClaimRefused, match="not started by pid-proxy"):
            processes.branch(200)

    def test_a_parent_that_ends_meanwhile_makes_us_look_again(
        self, processes: Processes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processes.add(200, 300)
        really, looks = claim._status, []

        def status(pid: int, proc: str) -> tuple[list[int], int]:
            looks.append(pid)
            if looks.count(300) == 1 and pid == 200:
                return really(200, proc)[0], US
            return really(pid, proc)

        monkeypatch.setattr(claim, "_status", status)
        assert processes.branch(200) == 200
        assert looks == [200, 200, 300, 200]

    def test_a_parent_that_is_never_there_is_refused(self, processes: Processes) -> None:
        processes.add(200, 300)
        with pytest.raises(ClaimRefused, match="not started by pid-proxy"):
            processes.branch(200)

    def test_a_process_that_proc_does_not_show_is_refused(self, processes: Processes) -> None:
        with pytest.raises(ClaimRefused, match=r"^of which /proc tells nothing$"):
            processes.branch(200)
        (processes.root / "200").mkdir()
        (processes.root / "200" / "status").write_text("Name:\tx\n")
        with pytest.raises(ClaimRefused, match=r"^of which /proc tells nothing$"):
            processes.branch(200)

    def test_the_start_time_is_read_behind_any_name(self, processes: Processes) -> None:
        processes.add(200, US)
        assert claim.start_time(200, str(processes.root)) == 7
        (processes.root / "200" / "stat").write_text("200 (x")
        with pytest.raises(ClaimRefused, match=r"^of which /proc tells nothing$"):
            claim.start_time(200, str(processes.root))


class TestDescendant:
    pytestmark = needs_linux

    @pytest.fixture
    def child(self) -> Iterator[int]:
        pid = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def test_a_child_is_held_and_signalled(self, child: int) -> None:
        process = Descendant(child)
        try:
            assert (process.pid, process.branch) == (child, child)
            assert process.is_alive()
            process.send(signal.SIGTERM)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            assert not process.is_alive()
            assert process.find_branch() == child  # it is not reaped yet
        finally:
            process.close()

    def test_after_the_reap_it_is_refused(self) -> None:
        pid = os.posix_spawnp("true", ["true"], os.environ)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        process = Descendant(pid)
        try:
            os.waitpid(pid, 0)
            with pytest.raises(ClaimRefused):
                process.send(signal.SIGTERM)
        finally:
            process.close()
        with pytest.raises(ClaimRefused, match=r"^which does not exist$"):
            Descendant(pid)

    def test_a_number_that_belongs_to_another_process_by_now_is_refused(
        self, child: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = Descendant(child)
        try:
            monkeypatch.setattr(claim, "start_time", lambda pid: 5)
            with pytest.raises(ClaimRefused, match="which is not the one that it was"):
                process.send(signal.SIGTERM)
        finally:
            process.close()

    @pytest.mark.parametrize("pid", [2**31, 9999999999])
    def test_a_number_too_large_is_refused(self, pid: int) -> None:
        with pytest.raises(ClaimRefused, match=r"^which does not exist$"):
            Descendant(pid)

    def test_a_refused_process_leaves_no_descriptor(self) -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(ClaimRefused):
            Descendant(os.getpid())
        assert os.listdir("/proc/self/fd") == before
