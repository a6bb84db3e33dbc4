"""Reading files of environment variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.envfiles import read_all
from supervisortw.errors import SpawnError


def write(path: Path, data: bytes, mode: int = 0o600) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_later_files_win(tmp_path: Path) -> None:
    one = write(tmp_path / "one", b"A=1\nB=1\n")
    two = write(tmp_path / "two", b"B=2\n", 0o644)
    assert read_all([one, two]) == {"A": "1", "B": "2"}


def test_a_file_with_a_minus_may_be_missing(tmp_path: Path) -> None:
    there = write(tmp_path / "there", b"A=1")
    assert read_all([f"-{tmp_path}/missing", f"-{there}"]) == {"A": "1"}
    with pytest.raises(SpawnError, match=r"environment-file: .*missing.* does not exist") as caught:
        read_all([f"{tmp_path}/missing"])
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("data", "mode", "reason"),
    [
        (b"A=1", 0o622, "others can write it; chmod go-w it"),
        (b"A=\xff", 0o600, "not UTF-8"),
        (b"secret", 0o600, "line 1: expected NAME=VALUE"),
        (b"#" * (LIMITS.environment_file_bytes + 1), 0o600, "more than 65536 bytes"),
    ],
)
def test_a_file_that_is_refused(tmp_path: Path, data: bytes, mode: int, reason: str) -> None:
    path = write(tmp_path / "file", data, mode)
    with pytest.raises(SpawnError, match=f"^{re.escape(f'environment-file {path}: {reason}')}$"):
        read_all([path])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "file", b"A=1")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(SpawnError, match="link"):
        read_all([str(tmp_path / "link")])
