"""Files that a daemon leaves for the one after it: whole, or as they were."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.logged import log_lines

from supervisortw.daemon.keptfile import KeptFile, kept_configuration
from supervisortw.errors import ConfigError, LocalError, Problem

MOST = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path in a state directory."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory / "kept"


@pytest.fixture
def file(path: Path) -> KeptFile:
    return KeptFile(str(path), MOST)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


def test_what_is_written_is_read(file: KeptFile, path: Path) -> None:
    with log_lines() as told:
        assert file.read(bytes.decode) is None
        file.write(b"one")
        file.write(b"two\n")
        assert file.read(bytes.decode) == "two\n"
    assert told == []
    assert names(path) == ["kept"]


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_nobody_else_can_read_it(file: KeptFile, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        file.write(b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_place_of_the_configuration() -> None:
    assert kept_configuration("/state").path == "/state/configuration.json"


class TestWriting:
    def test_what_a_dead_daemon_has_begun_is_in_nobodys_way(
        self, file: KeptFile, path: Path
    ) -> None:
        elsewhere = path.parent.parent / "elsewhere"
        elsewhere.write_text("theirs")
        path.with_name("kept.new").symlink_to(elsewhere)
        file.write(b"ours")
        assert path.read_bytes() == b"ours"
        assert elsewhere.read_text() == "theirs"

    def test_a_link_is_replaced_and_not_followed(self, file: KeptFile, path: Path) -> None:
        elsewhere = path.parent.parent / "elsewhere"
        elsewhere.write_text("theirs")
        path.symlink_to(elsewhere)
        file.write(b"ours")
        assert not path.is_symlink()
        assert elsewhere.read_text() == "theirs"

    @pytest.mark.parametrize("name", ["fchmod", "fsync", "rename"])
    def test_one_that_fails_leaves_what_was_there(
        self, file: KeptFile, path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write(b"before")

        def refuse(*arguments: object, **keys: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, name, refuse)
        with pytest.raises(LocalError) as caught:
            file.write(b"after", lasting=True)
        assert str(caught.value) == f"cannot write {path}: No space left on device"
        assert path.read_bytes() == b"before"
        assert names(path) == ["kept"]

    def test_a_directory_that_is_gone(self, file: KeptFile, path: Path) -> None:
        path.parent.rmdir()
        with pytest.raises(LocalError, match="does not exist"):
            file.write(b"x")

    def test_a_directory_of_everybody(self, file: KeptFile, path: Path) -> None:
        path.parent.chmod(0o777)
        with pytest.raises(LocalError, match="lets every user of this machine replace"):
            file.write(b"x")
        assert names(path) == []

    def test_what_is_to_last_is_on_the_disk_file_and_directory(
        self, file: KeptFile, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[object] = []

        def note(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def noting(*arguments: Any, **keys: Any) -> Any:
                of_directory = name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
                size = None if name == "rename" or of_directory else os.fstat(arguments[0]).st_size
                calls.append((name, size))
                return function(*arguments, **keys)

            return noting

        for name in ("fsync", "rename"):
            monkeypatch.setattr(os, name, note(name, getattr(os, name)))
        file.write(b"12345", lasting=True)
        assert calls == [("fsync", 5), ("rename", None), ("fsync", None)]
        calls.clear()
        file.write(b"12345")
        assert calls == [("rename", None)]


def refuse(data: bytes) -> str:
    raise ConfigError([Problem("/x", 1, "bad"), Problem("/x", 2, "worse")])


class TestDamage:
    def check(
        self,
        file: KeptFile,
        path: Path,
        reason: str,
        decode: Callable[[bytes], str] = bytes.decode,
    ) -> None:
        """Check that the file is not used, is set aside, and that it is told so."""
        with log_lines() as told:
            assert file.read(decode) is None
        assert told == [f"{path} is not used: {reason}; it is kept.damaged now"]
        assert names(path) == ["kept.damaged"]
        file.write(b"new")
        assert file.read(bytes.decode) == "new"

    def test_what_cannot_be_decoded(self, file: KeptFile, path: Path) -> None:
        file.write(b"x")
        path.with_name("kept.damaged").write_text("from the last time")
        self.check(file, path, "/x:1: bad", refuse)
        assert path.with_name("kept.damaged").read_bytes() == b"x"

    def test_what_is_too_large(self, file: KeptFile, path: Path) -> None:
        file.write(b"x" * MOST)
        assert file.read(bytes.decode) == "x" * MOST
        file.write(b"x" * (MOST + 1))
        self.check(file, path, f"it has more than {MOST} bytes")

    def test_what_others_can_write(self, file: KeptFile, path: Path) -> None:
        file.write(b"x")
        path.chmod(0o620)
        self.check(file, path, f"{path} can be written by others")

    def test_a_link(self, file: KeptFile, path: Path) -> None:
        path.symlink_to("/etc/passwd")
        self.check(file, path, f"{path} is a link; name the file that it points to")

    def test_a_fifo(self, file: KeptFile, path: Path) -> None:
        os.mkfifo(path)
        reason = f"{path} is a FIFO, not a regular file; remove it, or use another name"
        self.check(file, path, reason)

    @pytest.mark.needs_root
    def test_somebody_elses(self, file: KeptFile, path: Path) -> None:
        file.write(b"x")
        os.chown(path, 65534, -1)
        with log_lines() as told:
            assert file.read(bytes.decode) is None
        assert "belongs to" in told[0]
        assert names(path) == ["kept.damaged"]

    def test_one_that_cannot_be_set_aside(self, file: KeptFile, path: Path) -> None:
        file.write(b"x")
        path.with_name("kept.damaged").mkdir()
        with log_lines() as told:
            assert file.read(refuse) is None
        [line] = told
        assert line.startswith(f"{path} is not used: /x:1: bad; it cannot be set aside: ")


class TestShortage:
    """What passes is told, and the file is left for another time."""

    def test_of_descriptors(
        self, file: KeptFile, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write(b"x")
        real = os.open

        def full(name: Any, *arguments: Any, **keys: Any) -> int:
            if name == "kept":
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(name, *arguments, **keys)

        monkeypatch.setattr(os, "open", full)
        with log_lines() as told:
            assert file.read(bytes.decode) is None
        assert told == [f"cannot read {path}: too many open files"]
        assert names(path) == ["kept"]

    def test_of_patience_with_a_disk(
        self, file: KeptFile, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write(b"x")

        def fail(*arguments: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fstat", fail)
        with log_lines() as told:
            assert file.read(bytes.decode) is None
        assert len(told) == 1
        monkeypatch.undo()
        assert file.read(bytes.decode) == "x"
