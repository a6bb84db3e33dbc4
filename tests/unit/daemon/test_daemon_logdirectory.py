"""What is done in the directory of a log is the same whoever does it: the daemon, or a deputy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fakes.deputized import Deputized, deputized, identity
from fakes.stranger import STRANGER, open_files, public_directory

from supervisortw.daemon.logdirectory import LogDirectory
from supervisortw.daemon.paths import open_parent
from supervisortw.errors import LocalError, UnsafePath

FLAGS = os.O_RDWR | os.O_CREAT


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


@pytest.fixture
def place() -> Iterator[Path]:
    with public_directory() as made:
        yield made


@pytest.fixture
def given() -> Iterator[Deputized]:
    with deputized() as made:
        yield made


@pytest.fixture(params=["ours", pytest.param("theirs", marks=pytest.mark.needs_root)])
def directory(
    request: pytest.FixtureRequest, place: Path, given: Deputized
) -> Iterator[LogDirectory]:
    if request.param == "ours":
        opened: LogDirectory = open_parent(
            f"{place}/log", owners=frozenset({0, os.geteuid(), STRANGER})
        )
    else:
        os.chown(place, STRANGER, STRANGER)
        opened = given.deputies.directory(identity(), str(place), frozenset({0}))
    with closing(opened):
        yield opened


def test_a_file_is_made_and_looked_at(directory: LogDirectory, place: Path) -> None:
    fd = directory.open("log", FLAGS, 0o640)
    os.write(fd, b"four")
    found = directory.stat("log")
    assert found is not None
    for key in ("st_dev", "st_ino", "st_size", "st_mode", "st_uid", "st_nlink"):
        assert getattr(found, key) == getattr(os.fstat(fd), key)
    assert found.st_size == 4
    os.close(fd)
    assert directory.path == str(place)


def test_what_is_not_there_is_none(directory: LogDirectory) -> None:
    assert directory.stat("log") is None


def test_a_link_is_seen_as_one(directory: LogDirectory, place: Path) -> None:
    (place / "log").symlink_to("/etc/passwd")
    found = directory.stat("log")
    assert found is not None
    assert found.st_size == len("/etc/passwd")
    with pytest.raises(UnsafePath, match=rf"^{place}/log is a link; name the file"):
        directory.open("log", FLAGS, 0o640)


def test_a_file_gets_another_name(directory: LogDirectory, place: Path) -> None:
    (place / "log").write_bytes(b"new")
    (place / "log.1").write_bytes(b"old")
    directory.rename("log", "log.1")
    assert os.listdir(place) == ["log.1"]
    assert (place / "log.1").read_bytes() == b"new"


def test_what_is_not_there_cannot_be_renamed_or_removed(
    directory: LogDirectory, place: Path
) -> None:
    with pytest.raises(LocalError, match=rf"^{place}/log does not exist$") as caught:
        directory.rename("log", "log.1")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(LocalError, match=rf"^{place}/log does not exist$") as caught:
        directory.remove("log")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_several_are_renamed_in_their_order(directory: LogDirectory, place: Path) -> None:
    for name in ("log", "log.1", "log.3"):
        (place / name).write_text(name)
    directory.rename_all([(f"log.{n}", f"log.{n + 1}") for n in (3, 2, 1)] + [("log", "log.1")])
    found = {path.name: path.read_text() for path in place.iterdir()}
    assert found == {"log.1": "log", "log.2": "log.1", "log.4": "log.3"}
    directory.rename_all([])
    directory.rename_all([("none", "other")])


def test_the_first_that_fails_ends_it(directory: LogDirectory, place: Path) -> None:
    for name in ("a", "b", "c"):
        (place / name).touch()
    (place / "in the way").mkdir()
    with pytest.raises(LocalError, match=rf"^cannot rename {place}/b: "):
        directory.rename_all([("a", "a2"), ("b", "in the way"), ("c", "c2")])
    assert sorted(os.listdir(place)) == ["a2", "b", "c", "in the way"]


def test_a_file_is_removed_and_no_directory(directory: LogDirectory, place: Path) -> None:
    (place / "log").touch()
    directory.remove("log")
    (place / "inner").mkdir()
    with pytest.raises(LocalError, match=rf"{place}/inner"):
        directory.remove("inner")
    assert os.listdir(place) == ["inner"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/etc/passwd", "a\0b"])
def test_a_path_is_no_name(directory: LogDirectory, name: str) -> None:
    for act in (
        lambda: directory.open(name, FLAGS, 0o600),
        lambda: directory.rename(name, "x"),
        lambda: directory.rename("x", name),
        lambda: directory.rename_all([("x", "y"), ("x", name)]),
        lambda: directory.remove(name),
        lambda: directory.stat(name),
    ):
        with pytest.raises(LocalError, match="is not the name of a file"):
            act()


def test_names_are_bytes_to_the_system(directory: LogDirectory, place: Path) -> None:
    name = os.fsdecode(b"l\xf6g")
    os.close(directory.open(name, FLAGS, 0o640))
    directory.rename(name, f"{name}.1")
    assert os.listdir(os.fsencode(place)) == [b"l\xf6g.1"]


def test_it_can_be_closed_twice(directory: LogDirectory) -> None:
    directory.close()
    directory.close()
