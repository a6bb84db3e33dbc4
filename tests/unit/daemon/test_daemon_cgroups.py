"""Leaves of cgroup2: where they would be, their names, who is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import proc
from supervisortw.daemon.cgroups import Cgroups, NoCgroup, check_writable, own_directory
from supervisortw.errors import SpawnError

PURE = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)


class TestOwnDirectory:
    @pytest.mark.parametrize(
        ("mountinfo", "cgroup", "expected"),
        [
            (PURE, "0::/system.slice/s.service\n", "/sys/fs/cgroup/system.slice/s.service"),
            (PURE, "0::/\n", "/sys/fs/cgroup"),
            (HYBRID, "9:name=systemd:/x\n4:memory:/y\n0::/z\n", "/sys/fs/cgroup/unified/z"),
            (HYBRID, "4:memory:/y\n0::/\n", "/sys/fs/cgroup/unified"),
            (PURE.replace("/sys/fs/cgroup", r"/c\040g"), "0::/a b\n", "/c g/a b"),
            (PURE.replace("0:26 / ", "0:26 /docker/1 "), "0::/docker/1\n", "/sys/fs/cgroup"),
            (PURE.replace("0:26 / ", "0:26 /docker/1 "), "0::/docker/1/a\n", "/sys/fs/cgroup/a"),
            ("1 2 0:3 /x /elsewhere rw - cgroup2 none rw\n" + PURE, "0::/a\n", "/sys/fs/cgroup/a"),
            (PURE, "0::/..a\n", "/sys/fs/cgroup/..a"),
        ],
    )
    def test_it_is_found(self, mountinfo: str, cgroup: str, expected: str) -> None:
        assert own_directory(mountinfo, cgroup) == expected

    @pytest.mark.parametrize(
        ("mountinfo", "cgroup", "reason"),
        [
            (HYBRID.rsplit("41 ", 1)[0], "4:memory:/y\n0::/\n", "cgroup2 is not mounted"),
            (PURE, "4:memory:/y\n", "cgroup2 is not mounted"),
            ("", "", "cgroup2 is not mounted"),
            ("nonsense\n1 - cgroup2\n", "0::/\n", "cgroup2 is not mounted"),
            (PURE, "0::/../other\n", "our own cgroup /../other is not in what is mounted"),
            (PURE.replace("0:26 / ", "0:26 /a "), "0::/ab\n", "our own cgroup /ab is not in"),
        ],
    )
    def test_there_is_none(self, mountinfo: str, cgroup: str, reason: str) -> None:
        with pytest.raises(NoCgroup, match=reason):
            own_directory(mountinfo, cgroup)


def test_the_kernel_tells_what_lack_of_memory_has_done() -> None:
    assert Cgroups("abc", "/c").memory_events("a:b") == "/c/supervisortw.abc.a%3Ab/memory.events"
    assert Cgroups("abc", None, "there is none").memory_events("web") is None


class TestWritable:
    def test_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.procs").touch()
        check_writable(str(tmp_path))

    def test_it_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NoCgroup, match=r"our own cgroup .*/gone is not there"):
            check_writable(f"{tmp_path}/gone")

    @pytest.mark.parametrize("place", ["/", "/cgroup.procs"])
    def test_no_permission(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        denied = str(tmp_path) + place.rstrip("/")
        monkeypatch.setattr(os, "access", lambda path, mode: path != denied)
        with pytest.raises(NoCgroup, match="no permission to write in"):
            check_writable(str(tmp_path))

    @pytest.mark.needs_linux
    def test_read_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class ReadOnly:
            f_flag = os.ST_RDONLY

        monkeypatch.setattr(os, "access", lambda path, mode: False)
        monkeypatch.setattr(os, "statvfs", lambda path: ReadOnly)
        with pytest.raises(NoCgroup, match="/tmp is mounted read-only"):
            check_writable("/tmp")


class TestFind:
    def test_the_reason_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "mountinfo").write_text("")
        (tmp_path / "cgroup").write_text("0::/\n")
        cgroups = Cgroups.find("abc", str(tmp_path))
        assert cgroups.why_not() == "cgroup2 is not mounted"
        with pytest.raises(SpawnError, match=r"^cannot give it a cgroup: cgroup2 is not mounted$"):
            cgroups.directory_for("web")
        assert cgroups.members("web") == []
        assert not cgroups.has("web", 1)
        assert not cgroups.kill("web")
        assert cgroups.remove("web")

    def test_another_system(self, tmp_path: Path) -> None:
        assert Cgroups.find("abc", f"{tmp_path}/none").why_not() == "this system has no cgroup2"

    def test_where_we_are(self, tmp_path: Path) -> None:
        own = tmp_path / "unified"
        own.mkdir()
        (own / "cgroup.procs").touch()
        (tmp_path / "mountinfo").write_text(HYBRID.replace("/sys/fs/cgroup", str(tmp_path)))
        (tmp_path / "cgroup").write_text("0::/\n")
        cgroups = Cgroups.find("abc", str(tmp_path))
        assert cgroups.why_not() is None
        assert cgroups.directory_for("web") == f"{own}/supervisortw.abc.web"


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups("abc", str(tmp_path))


def fill(directory: str, *pids: int) -> None:
    Path(directory, "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


class TestLeaf:
    def test_it_is_made_once(self, cgroups: Cgroups) -> None:
        before = os.umask(0o022)
        try:
            leaf = cgroups.directory_for("web")
            assert cgroups.directory_for("web") == leaf
        finally:
            os.umask(before)
        assert os.stat(leaf).st_mode & 0o777 == 0o755

    @pytest.mark.parametrize(
        "name", ["web", "web:api", "../x", "..", ".", "/etc", "a/b", "a b", "ä", "%2F", "a\nb", "@"]
    )
    def test_a_name_is_data(self, cgroups: Cgroups, tmp_path: Path, name: str) -> None:
        leaf = cgroups.directory_for(name)
        assert os.path.dirname(leaf) == str(tmp_path)
        assert os.listdir(tmp_path) == [os.path.basename(leaf)]
        assert "\n" not in leaf
        assert cgroups.remove(name)

    def test_names_do_not_meet(self, cgroups: Cgroups) -> None:
        names = ["a:b", "a/b", "a%3Ab", "a.b", "a"]
        assert len({cgroups.directory_for(name) for name in names}) == len(names)

    def test_daemons_do_not_meet(self, cgroups: Cgroups, tmp_path: Path) -> None:
        assert Cgroups("abd", str(tmp_path)).directory_for("a") != cgroups.directory_for("a")

    def test_the_longest_name_fits(self, tmp_path: Path) -> None:
        Cgroups("f" * 32, str(tmp_path)).directory_for("a" * 64 + ":" + "b" * 64)

    @pytest.mark.parametrize(
        ("error", "permanent"),
        [(PermissionError(13, "Permission denied"), True), (OSError(11, "Try again"), False)],
    )
    def test_it_cannot_be_made(
        self, cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch, error: OSError, permanent: bool
    ) -> None:
        def refuse(path: str, mode: int) -> None:
            raise error

        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(SpawnError, match=f"cannot make cgroup .*: {error.strerror}") as caught:
            cgroups.directory_for("web")
        assert caught.value.permanent == permanent


class TestMembers:
    def test_nobody(self, cgroups: Cgroups) -> None:
        assert cgroups.members("web") == []
        cgroups.directory_for("web")
        assert cgroups.members("web") == []

    def test_in_it_and_below(self, cgroups: Cgroups) -> None:
        leaf = cgroups.directory_for("web")
        os.makedirs(f"{leaf}/inner/most")
        fill(leaf, 7, 8, 0)
        fill(f"{leaf}/inner/most", 9)
        fill(cgroups.directory_for("web2"), 10)
        assert cgroups.members("web") == [7, 8, 9]

    def test_only_so_many_directories_are_looked_at(self, cgroups: Cgroups) -> None:
        leaf = cgroups.directory_for("web")
        for number in range(LIMITS.cgroup_directories + 20):
            os.mkdir(f"{leaf}/{number}")
            fill(f"{leaf}/{number}", 7)
        assert len(cgroups.members("web")) == LIMITS.cgroup_directories - 1

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("0::/s.service/supervisortw.abc.web", True),
            ("0::/supervisortw.abc.web/inner", True),
            ("0::/supervisortw.abc.web2", False),
            ("0::/supervisortw.abd.web", False),
            ("0::/", False),
            ("1:name=x:/supervisortw.abc.web\n0::/", False),
        ],
    )
    def test_one_of_them(
        self,
        cgroups: Cgroups,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        line: str,
        expected: bool,
    ) -> None:
        monkeypatch.setattr(proc, "DIRECTORY", str(tmp_path))
        (tmp_path / "12").mkdir()
        (tmp_path / "12" / "cgroup").write_text(f"{line}\n")
        assert cgroups.has("web", 12) == expected
        assert not cgroups.has("web", 13)


class TestEnd:
    def test_all_at_once(self, cgroups: Cgroups) -> None:
        kill = Path(cgroups.directory_for("web"), "cgroup.kill")
        kill.touch()
        assert cgroups.kill("web")
        assert kill.read_text() == "1"

    def test_an_old_kernel_cannot(self, cgroups: Cgroups) -> None:
        cgroups.directory_for("web")
        assert not cgroups.kill("web")

    def test_the_leaf_goes_with_what_is_below_it(self, cgroups: Cgroups) -> None:
        leaf = cgroups.directory_for("web")
        os.makedirs(f"{leaf}/inner/most")
        assert cgroups.remove("web")
        assert not os.path.exists(leaf)
        assert cgroups.remove("web")

    def test_it_stays_while_somebody_is_in_it(self, cgroups: Cgroups) -> None:
        leaf = cgroups.directory_for("web")
        fill(leaf, 7)  # a file: a directory of the tests cannot be removed then, either
        assert not cgroups.remove("web")
        assert os.path.exists(leaf)
