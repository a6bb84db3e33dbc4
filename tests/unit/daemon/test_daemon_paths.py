"""Paths that others could change are refused, and what they lead to is never touched."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from fakes.stranger import STRANGER, open_files, public_directory, running, swap_for_ever

from supervisortw.daemon.paths import (
    make_directory,
    open_directory,
    open_parent,
    open_regular,
)
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import LocalError, UnsafePath

OWNERS = frozenset({0, os.geteuid()})
GROUP = 54321  # a group that is nobody's in particular
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT

Test = TypeVar("Test", bound=Callable[..., object])


def needs_root(test: Test) -> Test:
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")(test)
    pytest.mark.needs_root(test)
    return test


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def public() -> Iterator[Path]:
    with public_directory() as made:
        yield made


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


def write(path: Path, flags: int = APPEND, text: bytes = b"line\n") -> None:
    fd = open_regular(str(path), flags, 0o640, owners=OWNERS)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


def visit(path: Path, owners: frozenset[int] = OWNERS) -> TrustedDirectory:
    with open_directory(str(path), owners=owners) as directory:
        return directory


class Users:
    """Pretends that the owner of every directory is "alice", and so on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.group = "alice"
        self.members: list[str] = []
        self.primary = ["alice"]
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: self.user("alice", uid))
        monkeypatch.setattr(grp, "getgrgid", self.find_group)
        monkeypatch.setattr(pwd, "getpwall", self.all)

    def user(self, name: str, uid: int) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", uid, GROUP, "", "/", "/bin/sh"))

    def find_group(self, gid: int) -> grp.struct_group:
        return grp.struct_group((self.group, "x", gid, self.members))

    def all(self) -> list[pwd.struct_passwd]:
        """Return those who have GROUP as their primary group."""
        return [self.user(name, number) for number, name in enumerate(self.primary)]


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Users:
    return Users(monkeypatch)


class TestOpenDirectory:
    def test_a_directory_of_ours_is_opened(self, place: Path) -> None:
        with open_directory(str(place), owners=OWNERS) as directory:
            assert os.path.samestat(os.fstat(directory.fd), place.stat())
            assert not os.get_inheritable(directory.fd)
            assert os.listdir(directory.fd) == []
            assert directory.path == str(place)
            assert not directory.sticky
            assert directory.warnings == ()

    def test_it_can_be_closed_twice(self, place: Path) -> None:
        directory = open_directory(str(place), owners=OWNERS)
        directory.close()
        directory.close()

    def test_slashes_and_dots_change_nothing(self, place: Path) -> None:
        (place / "a").mkdir()
        assert visit(Path(f"{place}//./a/../a/")).path == f"{place}/a"

    def test_the_root_directory_is_a_directory(self) -> None:
        assert visit(Path("/"), OWNERS | {os.stat("/").st_uid}).path == "/"

    def test_a_missing_directory_is_named(self, place: Path) -> None:
        with pytest.raises(LocalError, match=rf"^directory {place}/no does not exist$"):
            visit(place / "no" / "such")

    def test_a_file_is_no_directory(self, place: Path) -> None:
        (place / "file").touch()
        with pytest.raises(LocalError, match=rf"^{place}/file is a file, not a directory$"):
            visit(place / "file" / "x")

    @pytest.mark.parametrize("path", ["", "etc", "./etc", "/etc\0/x"])
    def test_only_absolute_paths_are_walked(self, path: str) -> None:
        with pytest.raises(LocalError, match="is not an absolute path"):
            open_directory(path, owners=OWNERS)

    def test_a_directory_that_all_can_write_to_is_refused_by_name(self, place: Path) -> None:
        (place / "open").mkdir()
        (place / "open" / "inner").mkdir()
        (place / "open").chmod(0o777)
        expected = rf"^{place}/open \(mode 0777\) lets every user .* run chmod go-w {place}/open,"
        with pytest.raises(UnsafePath, match=expected):
            visit(place / "open" / "inner")

    def test_a_sticky_directory_is_accepted_and_told(self, place: Path) -> None:
        (place / "tmp").mkdir()
        (place / "tmp" / "inner").mkdir()
        (place / "tmp").chmod(0o1777)
        assert visit(place / "tmp").sticky
        assert not visit(place / "tmp" / "inner").sticky

    @needs_root
    def test_what_strangers_put_into_a_sticky_directory_is_refused(self, place: Path) -> None:
        (place / "tmp").mkdir()
        (place / "tmp").chmod(0o1777)
        (place / "tmp" / "trap").mkdir()
        os.chown(place / "tmp" / "trap", STRANGER, STRANGER)
        with pytest.raises(UnsafePath, match=rf"^{place}/tmp/trap belongs to .*chown it to root"):
            visit(place / "tmp" / "trap")

    @needs_root
    def test_a_directory_of_another_user_is_refused_to_root(self, place: Path) -> None:
        (place / "home").mkdir()
        (place / "home" / "log").mkdir()
        os.chown(place / "home", STRANGER, STRANGER)
        with pytest.raises(UnsafePath, match=rf"^{place}/home belongs to .*65534"):
            visit(place / "home" / "log")
        assert visit(place / "home" / "log", OWNERS | {STRANGER}).path == f"{place}/home/log"


class TestLinksToDirectories:
    @pytest.mark.parametrize("target", ["{place}/real", "real", "../{name}/./real", "real/"])
    def test_one_on_the_way_is_followed(self, place: Path, target: str) -> None:
        (place / "real" / "inner").mkdir(parents=True)
        (place / "link").symlink_to(target.format(place=place, name=place.name))
        assert visit(place / "link" / "inner").path == f"{place}/real/inner"

    def test_one_at_the_end_is_refused(self, place: Path) -> None:
        (place / "real").mkdir()
        (place / "link").symlink_to("real")
        expected = rf"^{place}/link is a link; name the directory"
        with pytest.raises(UnsafePath, match=expected):
            visit(place / "link")
        with pytest.raises(UnsafePath, match=expected):
            visit(Path(f"{place}/link/"))

    def test_the_directory_of_a_file_may_be_one(self, place: Path) -> None:
        (place / "real").mkdir()
        (place / "link").symlink_to("real")
        with open_parent(f"{place}/link/x.sock", owners=OWNERS) as directory:
            assert directory.path == f"{place}/real"

    def test_links_may_follow_links(self, place: Path) -> None:
        (place / "real" / "inner").mkdir(parents=True)
        (place / "0").symlink_to("real")
        for number in range(1, 30):
            (place / str(number)).symlink_to(str(number - 1))
        assert visit(place / "29" / "inner").path == f"{place}/real/inner"

    def test_going_round_ends(self, place: Path) -> None:
        (place / "a").symlink_to("b")
        (place / "b").symlink_to("a")
        with pytest.raises(UnsafePath, match="comes after 40 other links"):
            visit(place / "a" / "x")

    def test_the_target_is_judged_like_any_directory(self, place: Path) -> None:
        (place / "open").mkdir()
        (place / "open").chmod(0o777)
        (place / "link").symlink_to("open")
        expected = rf"^{place}/open .*, reached through the link {place}/link, lets every user"
        with pytest.raises(UnsafePath, match=expected):
            visit(place / "link" / "x")

    def test_a_second_name_of_a_link_is_refused(self, place: Path) -> None:
        (place / "real" / "inner").mkdir(parents=True)
        (place / "link").symlink_to("real")
        try:
            os.link(place / "link", place / "copy", follow_symlinks=False)
        except (OSError, NotImplementedError):
            pytest.skip("this system does not give second names to links")
        with pytest.raises(UnsafePath, match=rf"^{place}/copy is a link that has 2 names"):
            visit(place / "copy" / "inner")

    @needs_root
    def test_one_of_another_user_is_refused(self, place: Path) -> None:
        (place / "real" / "inner").mkdir(parents=True)
        (place / "link").symlink_to("real")
        os.chown(place / "link", STRANGER, STRANGER, follow_symlinks=False)
        with pytest.raises(UnsafePath, match=rf"^{place}/link is a link that belongs to .*65534"):
            visit(place / "link" / "inner")


class TestGroupWritableDirectories:
    @pytest.fixture
    def shared(self, place: Path) -> Path:
        made = place / "shared"
        made.mkdir()
        made.chmod(0o775)
        return made

    @pytest.fixture
    def foreign(self, shared: Path) -> Path:
        os.chown(shared, STRANGER, GROUP)
        return shared

    def test_the_private_group_of_the_owner_is_accepted(self, shared: Path, users: Users) -> None:
        users.members = ["alice"]
        directory = visit(shared)
        assert not directory.sticky
        assert directory.warnings == ()

    @needs_root
    @pytest.mark.parametrize(
        ("name", "members", "primary"),
        [
            ("staff", [], ["alice"]),
            ("alice", ["alice", "bob"], ["alice"]),
            ("alice", [], ["alice", "bob"]),
        ],
        ids=["another name", "another member", "another user with it as primary group"],
    )
    def test_any_other_group_is_refused(
        self, foreign: Path, users: Users, name: str, members: list[str], primary: list[str]
    ) -> None:
        users.group, users.members, users.primary = name, members, primary
        expected = rf"^{foreign} \(mode 0775\) lets group {name} .* run chmod g-w {foreign},"
        with pytest.raises(UnsafePath, match=expected):
            visit(foreign, OWNERS | {STRANGER})

    @needs_root
    def test_a_group_without_a_name_is_refused(self, foreign: Path) -> None:
        os.chown(foreign, 0, GROUP)
        with pytest.raises(UnsafePath, match=f"lets group {GROUP} replace what is in it"):
            visit(foreign)

    @needs_root
    def test_a_system_group_counts_as_sticky_with_a_warning(self, shared: Path) -> None:
        os.chown(shared, 0, 4)
        (shared / "inner").mkdir()
        directory = visit(shared)
        assert directory.sticky
        (warning,) = directory.warnings
        assert warning.startswith(f"{shared} (mode 0775) lets group ")
        assert visit(shared / "inner").warnings == (warning,)

    @needs_root
    def test_a_sticky_bit_makes_the_group_harmless(self, foreign: Path) -> None:
        foreign.chmod(0o1775)
        assert visit(foreign, OWNERS | {STRANGER}).sticky

    @needs_root
    @pytest.mark.needs_linux
    def test_an_access_list_lets_more_in_than_the_group(self, foreign: Path, users: Users) -> None:
        assert not visit(foreign, OWNERS | {STRANGER}).sticky
        none = 0xFFFFFFFF
        entries = [(1, 7, none), (2, 7, STRANGER), (4, 5, none), (16, 7, none), (32, 5, none)]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        try:
            os.setxattr(foreign, "system.posix_acl_access", value)
        except (AttributeError, OSError):
            pytest.skip("no access lists on this file system")
        with pytest.raises(UnsafePath, match="lets group alice replace"):
            visit(foreign, OWNERS | {STRANGER})


class TestOpenRegular:
    def test_a_new_file_gets_the_mode_asked_for(self, place: Path) -> None:
        write(place / "log")
        assert stat.S_IMODE((place / "log").stat().st_mode) == 0o640
        assert (place / "log").read_bytes() == b"line\n"

    def test_an_old_file_is_kept_or_truncated_as_asked(self, place: Path) -> None:
        (place / "log").write_bytes(b"old\n")
        write(place / "log")
        assert (place / "log").read_bytes() == b"old\nline\n"
        write(place / "log", os.O_WRONLY | os.O_TRUNC)
        assert (place / "log").read_bytes() == b"line\n"

    def test_the_descriptor_blocks_and_is_closed_at_exec(self, place: Path) -> None:
        fd = open_regular(str(place / "log"), APPEND, 0o600, owners=OWNERS)
        try:
            assert os.get_blocking(fd)
            assert not os.get_inheritable(fd)
            assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        finally:
            os.close(fd)

    @pytest.mark.parametrize("extra", [0, os.O_TRUNC])
    def test_a_link_is_refused_and_its_target_left(self, place: Path, extra: int) -> None:
        (place / "victim").write_bytes(b"precious\n")
        (place / "log").symlink_to("victim")
        with pytest.raises(UnsafePath, match=rf"^{place}/log is a link; name the file"):
            write(place / "log", APPEND | extra)
        assert (place / "victim").read_bytes() == b"precious\n"

    def test_a_dangling_link_makes_nothing(self, place: Path) -> None:
        (place / "log").symlink_to("victim")
        with pytest.raises(UnsafePath, match="is a link"):
            write(place / "log")
        assert os.listdir(place) == ["log"]

    @pytest.mark.parametrize("extra", [0, os.O_TRUNC])
    def test_a_hard_link_is_refused_and_left(self, place: Path, extra: int) -> None:
        (place / "victim").write_bytes(b"precious\n")
        os.link(place / "victim", place / "log")
        with pytest.raises(UnsafePath, match=rf"^{place}/log is one of 2 hard links to its file"):
            write(place / "log", APPEND | extra)
        assert (place / "victim").read_bytes() == b"precious\n"

    def test_a_fifo_is_refused_without_waiting(self, place: Path) -> None:
        os.mkfifo(place / "log")
        with pytest.raises(UnsafePath, match=rf"^{place}/log is a FIFO"):
            write(place / "log")
        with pytest.raises(UnsafePath, match=rf"^{place}/log is a FIFO, not a regular file"):
            open_regular(str(place / "log"), os.O_RDONLY, 0, owners=OWNERS)

    def test_a_directory_is_refused(self, place: Path) -> None:
        (place / "log").mkdir()
        with pytest.raises(LocalError, match=rf"^cannot write {place}/log: is a directory$"):
            write(place / "log")
        with pytest.raises(UnsafePath, match=rf"^{place}/log is a directory, not a regular file"):
            open_regular(str(place / "log"), os.O_RDONLY, 0, owners=OWNERS)

    @pytest.mark.parametrize("name", ["log/", ".", "..", ""])
    def test_the_name_of_a_directory_names_no_file(self, place: Path, name: str) -> None:
        with pytest.raises(LocalError, match="names a directory, not a file"):
            open_regular(f"{place}/{name}", APPEND, 0o600, owners=OWNERS)

    def test_what_is_missing_is_named(self, place: Path) -> None:
        with pytest.raises(LocalError, match=rf"^directory {place}/no does not exist$"):
            write(place / "no" / "log")
        with pytest.raises(LocalError, match=rf"^{place}/log does not exist$") as caught:
            write(place / "log", os.O_WRONLY)
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root has every permission")
    def test_missing_permission_is_told(self, place: Path) -> None:
        place.chmod(0o500)
        with pytest.raises(LocalError, match=rf"^no permission to write {place}/log$"):
            write(place / "log")
        place.chmod(0o700)

    @pytest.mark.parametrize(
        ("number", "text"),
        [(errno.EROFS, "read-only file system"), (errno.ENOSPC, "no space left")],
    )
    def test_other_failures_are_put_into_words(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str
    ) -> None:
        really = os.open

        def fail(path: str, flags: int, *args: int, dir_fd: int | None = None) -> int:
            if path == "log":
                raise OSError(number, os.strerror(number))
            return really(path, flags, *args, dir_fd=dir_fd)

        monkeypatch.setattr(os, "open", fail)
        with pytest.raises(LocalError, match=rf"^cannot write {place}/log: {text}"):
            write(place / "log")

    @needs_root
    def test_a_file_of_another_user_is_refused(self, place: Path) -> None:
        (place / "log").touch()
        os.chown(place / "log", STRANGER, STRANGER)
        with pytest.raises(UnsafePath, match=rf"^{place}/log belongs to .*65534.*, not to root"):
            write(place / "log")
        assert (place / "log").read_bytes() == b""

    def test_a_second_name_that_is_gone_before_we_count_is_noticed(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (place / "victim").write_bytes(b"precious\n")
        os.link(place / "victim", place / "log")
        really = os.fstat

        def fstat(fd: int) -> os.stat_result:
            if stat.S_ISREG(really(fd).st_mode):
                (place / "log").unlink()
                (place / "log").touch()
            return really(fd)

        monkeypatch.setattr(os, "fstat", fstat)
        with pytest.raises(UnsafePath, match=rf"^{place}/log was changed by somebody"):
            write(place / "log", APPEND | os.O_TRUNC)
        assert (place / "victim").read_bytes() == b"precious\n"


@needs_root
def test_no_swap_ever_reaches_a_file_of_root(public: Path) -> None:
    victim = public / "victim"
    victim.write_bytes(b"precious\n")
    victim.chmod(0o600)
    theirs = public / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    opened = refused = 0
    with running(lambda: swap_for_ever(theirs / "log", victim)):
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            try:
                # As if the directory were believed: the file alone has to tell.
                fd = open_regular(
                    str(theirs / "log"), APPEND | os.O_TRUNC, 0o600, owners=OWNERS | {STRANGER}
                )
            except LocalError:
                refused += 1
            else:
                opened += 1
                os.write(fd, b"INJECTED\n")
                os.close(fd)
    assert victim.read_bytes() == b"precious\n"
    assert opened
    assert refused


class TestMakeDirectory:
    def test_what_is_missing_is_made(self, place: Path) -> None:
        assert make_directory(str(place / "a" / "b" / "c"), 0o750, owners=OWNERS) == ()
        modes = [stat.S_IMODE((place / path).stat().st_mode) for path in ("a", "a/b", "a/b/c")]
        assert modes == [0o755, 0o755, 0o750]

    def test_the_umask_does_not_count(self, place: Path) -> None:
        before = os.umask(0o077)
        try:
            make_directory(str(place / "a" / "b"), 0o755, owners=OWNERS)
        finally:
            os.umask(before)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (place / "a", place / "a/b")] == [
            0o755,
            0o755,
        ]

    def test_what_is_there_is_not_changed(self, place: Path) -> None:
        (place / "a").mkdir(0o711)
        make_directory(str(place / "a"), 0o700, owners=OWNERS)
        assert stat.S_IMODE((place / "a").stat().st_mode) == 0o711

    def test_what_is_there_is_checked(self, place: Path) -> None:
        (place / "a").mkdir()
        (place / "a").chmod(0o777)
        for path in (place / "a", place / "a" / "b"):
            with pytest.raises(UnsafePath, match=rf"^{place}/a \(mode 0777\)"):
                make_directory(str(path), 0o700, owners=OWNERS)
        assert os.listdir(place / "a") == []

    def test_a_link_is_not_followed_at_the_end(self, place: Path) -> None:
        (place / "a").symlink_to("b")
        with pytest.raises(UnsafePath, match=rf"^{place}/a is a link"):
            make_directory(str(place / "a"), 0o700, owners=OWNERS)
        make_directory(str(place / "a" / "c"), 0o700, owners=OWNERS)
        assert (place / "b" / "c").is_dir()

    def test_a_file_in_the_way_is_named(self, place: Path) -> None:
        (place / "a").touch()
        with pytest.raises(LocalError, match=rf"^{place}/a is a file, not a directory"):
            make_directory(str(place / "a"), 0o700, owners=OWNERS)

    def test_a_mode_that_would_be_refused_next_time_is_a_mistake(self, place: Path) -> None:
        with pytest.raises(ValueError, match="others can write"):
            make_directory(str(place / "a"), 0o770, owners=OWNERS)

    def test_somebody_may_be_faster(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        really = os.mkdir

        def mkdir(name: str, mode: int, *, dir_fd: int) -> None:
            for _ in range(2):
                really(name, mode, dir_fd=dir_fd)

        monkeypatch.setattr(os, "mkdir", mkdir)
        make_directory(str(place / "a"), 0o700, owners=OWNERS)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root has every permission")
    def test_missing_permission_is_told(self, place: Path) -> None:
        place.chmod(0o500)
        with pytest.raises(
            LocalError, match=rf"^no permission to make or reach directory {place}/a$"
        ):
            make_directory(str(place / "a"), 0o700, owners=OWNERS)
        with pytest.raises(LocalError, match=r"^only root can make directory"):
            make_directory(str(place / "a"), 0o700, owners=OWNERS, owner_uid=os.geteuid() + 1)
        place.chmod(0o700)

    @needs_root
    def test_only_the_last_is_given_to_its_owner(self, place: Path) -> None:
        for _ in range(2):  # the second time it is there already
            make_directory(
                str(place / "a" / "b"), 0o750, owners=OWNERS, owner_uid=STRANGER, owner_gid=12
            )
        assert (place / "a").stat().st_uid == 0
        made = (place / "a" / "b").stat()
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (STRANGER, 12, 0o750)

    @needs_root
    def test_nothing_is_made_in_a_directory_of_a_stranger(self, place: Path) -> None:
        (place / "home").mkdir()
        os.chown(place / "home", STRANGER, STRANGER)
        with pytest.raises(UnsafePath, match=rf"^{place}/home belongs to"):
            make_directory(str(place / "home" / "a"), 0o700, owners=OWNERS, owner_uid=STRANGER)
        assert os.listdir(place / "home") == []
