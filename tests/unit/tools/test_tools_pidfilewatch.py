"""What happens to a pid file, or to the directories that it needs, is told."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisortw.tools import pidfilewatch
from supervisortw.tools.pidfilewatch import PidFileWatch

pytestmark = [
    pytest.mark.needs_linux,
    pytest.mark.skipif(sys.platform != "linux", reason="needs inotify"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b" / "x.pid"


@pytest.fixture
def watch(path: Path) -> Iterator[PidFileWatch]:
    made = PidFileWatch(str(path))
    yield made
    made.close()


def is_told(watch: PidFileWatch) -> bool:
    times = 0
    while select.select([watch.fd], [], [], 0)[0]:
        watch.renew()
        times += 1
    assert times <= 2  # one for the change, one if another directory is watched from now on
    return times > 0


def test_nothing_is_told_for_nothing(watch: PidFileWatch) -> None:
    assert not is_told(watch)
    assert watch.pause() is None


def test_missing_directories_are_waited_for(watch: PidFileWatch, path: Path) -> None:
    path.parent.parent.mkdir()
    assert is_told(watch)
    path.parent.mkdir()
    assert is_told(watch)
    path.touch()
    assert is_told(watch)


def test_directories_made_at_once_are_seen(watch: PidFileWatch, path: Path) -> None:
    path.parent.mkdir(parents=True)
    assert is_told(watch)
    path.touch()
    assert is_told(watch)


def test_a_directory_may_be_made_anew(watch: PidFileWatch, path: Path) -> None:
    path.parent.mkdir(parents=True)
    assert is_told(watch)
    path.parent.rmdir()
    assert is_told(watch)
    path.parent.mkdir()
    assert is_told(watch)
    path.touch()
    assert is_told(watch)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("812\n")


@pytest.mark.parametrize(
    "change",
    [
        Path.touch,
        append,
        lambda path: (path.parent / "new").rename(path),
        lambda path: os.link(path.parent / "new", path),
    ],
    ids=["made", "written", "renamed", "linked"],
)
def test_every_way_to_write_is_told(path: Path, change: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True)
    (path.parent / "new").touch()
    watch = PidFileWatch(str(path))
    try:
        assert not is_told(watch)
        change(path)
        assert is_told(watch)
    finally:
        watch.close()


def test_what_stays_open_is_told_as_well(path: Path) -> None:
    path.parent.mkdir(parents=True)
    watch = PidFileWatch(str(path))
    try:
        with path.open("w") as file:
            assert is_told(watch)
            file.write("812\n")
            file.flush()
            assert is_told(watch)
    finally:
        watch.close()


def test_a_path_without_a_directory_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    watch = PidFileWatch("x.pid")
    try:
        Path("x.pid").touch()
        assert is_told(watch)
    finally:
        watch.close()


def test_without_inotify_there_are_pauses_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pidfilewatch, "_MASK", 0)  # which the kernel refuses
    watch = PidFileWatch(str(path))
    assert watch.fd == -1
    assert watch.pause() == 0.25
    monkeypatch.setattr(pidfilewatch, "_PAUSES_UNTIL_SECONDS", -1)
    assert watch.pause() is None
    watch.close()
