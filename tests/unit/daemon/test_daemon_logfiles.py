"""Whoever it is safe for handles the logs of programs: the daemon, or a process of their user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.daemon import process
from fakes.deputized import Deputized, deputized
from fakes.stranger import open_files, public_directory

from supervisortw.core.model import Process
from supervisortw.daemon import deputy
from supervisortw.daemon.deputies import DeputyDirectory
from supervisortw.daemon.logfiles import ProgramLogs
from supervisortw.daemon.rotation import FLAGS, MODE
from supervisortw.errors import LocalError, SpawnError, UnsafePath

USER = "games"  # nearly every machine has it

needs_root = pytest.mark.needs_root


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


@pytest.fixture
def logs(given: Deputized) -> Iterator[ProgramLogs]:
    yield ProgramLogs(given.clock, given.deputies)
    given.clock.advance(0)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[deputy.Who]:
    """Whose deputies were made."""
    made = []
    really = deputy.start

    def start(who: deputy.Who) -> tuple[int, deputy.socket.socket]:
        made.append(who)
        return really(who)

    monkeypatch.setattr(deputy, "start", start)
    return made


def theirs() -> Process:
    return replace(process("web"), user=USER)


def opened(logs: ProgramLogs, process: Process, path: str) -> int:
    """Open the log of a process."""
    with logs.directory(process, path) as directory:
        return directory.open(os.path.basename(path), FLAGS, MODE)


def own(path: Path) -> None:
    entry = pwd.getpwnam(USER)
    os.chown(path, entry.pw_uid, entry.pw_gid)


@needs_root
class TestLogsOfAnotherUser:
    def test_in_our_directory_they_are_opened_by_us(
        self, place: Path, logs: ProgramLogs, starts: list[deputy.Who]
    ) -> None:
        os.close(opened(logs, theirs(), f"{place}/log"))
        assert (place / "log").stat().st_uid == 0
        assert not starts

    def test_in_their_directory_one_process_opens_them(
        self, place: Path, logs: ProgramLogs, starts: list[deputy.Who], given: Deputized
    ) -> None:
        own(place)
        for number in range(10):
            os.close(opened(logs, theirs(), f"{place}/{number}"))
            if number == 5:
                given.clock.advance(0)  # another turn of the reactor
        entry = pwd.getpwnam(USER)
        groups = tuple(os.getgrouplist(USER, entry.pw_gid))
        assert starts == [(entry.pw_uid, entry.pw_gid, groups)]
        assert {path.stat().st_uid for path in place.iterdir()} == {entry.pw_uid}
        assert len(os.listdir(place)) == 10

    def test_the_way_to_their_directory_is_tried_once_in_a_turn(
        self, place: Path, logs: ProgramLogs, given: Deputized, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own(place)
        tried = []
        really = given.deputies.directory

        def directory(*arguments: object) -> DeputyDirectory:
            tried.append(arguments)
            return really(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(given.deputies, "directory", directory)
        for number in range(3):
            os.close(opened(logs, theirs(), f"{place}/{number}"))
        assert len(tried) == 1
        given.clock.advance(0)
        os.close(opened(logs, theirs(), f"{place}/3"))
        assert len(tried) == 2

    def test_whose_process_it_is_decides(self, place: Path, logs: ProgramLogs) -> None:
        own(place)
        os.close(opened(logs, theirs(), f"{place}/log"))
        for nobody_else in (process("web"), replace(process("web"), user="root")):
            with pytest.raises(UnsafePath, match=rf"^{place} belongs to {USER}"):
                opened(logs, nobody_else, f"{place}/log")

    def test_a_file_of_theirs_in_our_directory_is_opened_by_them(
        self, place: Path, logs: ProgramLogs, starts: list[deputy.Who]
    ) -> None:
        (place / "log").touch()
        own(place / "log")
        os.close(opened(logs, theirs(), f"{place}/log"))
        with logs.directory(theirs(), f"{place}/log") as directory:
            os.close(directory.open("log", FLAGS, 0o600))
            directory.rename("log", "log.1")
        assert len(starts) == 1
        with pytest.raises(UnsafePath, match=rf"^{place}/log\.1 belongs to {USER}"):
            opened(logs, process("web"), f"{place}/log.1")

    def test_a_user_who_does_not_exist_is_told(self, place: Path, logs: ProgramLogs) -> None:
        own(place)
        with pytest.raises(SpawnError, match="no such user: nobody-at-all"):
            opened(logs, replace(process("web"), user="nobody-at-all"), f"{place}/log")


class TestPlace:
    @pytest.fixture(params=["ours", pytest.param("theirs", marks=needs_root)])
    def owner(self, request: pytest.FixtureRequest, place: Path) -> str:
        if request.param == "theirs":
            own(place)
        return str(request.param)

    def test_more_can_be_done_than_opening(
        self, place: Path, logs: ProgramLogs, owner: str
    ) -> None:
        who = theirs() if owner == "theirs" else process("web")
        (place / "log").write_bytes(b"old")
        (place / "log.1").write_bytes(b"older")
        with logs.directory(who, f"{place}/log") as directory:
            assert directory.path == str(place)
            directory.rename_all([("log.1", "log.2"), ("log", "log.1")])
            os.close(directory.open("log", FLAGS, 0o600))
            directory.remove("log.2")
            found = directory.stat("log.1")
        assert found is not None
        assert found.st_size == 3
        assert sorted(os.listdir(place)) == ["log", "log.1"]


@pytest.mark.parametrize("path", ["log", "", "/", "/tmp/..", "/tmp/."])
def test_only_absolute_paths_of_files_are_opened(logs: ProgramLogs, path: str) -> None:
    with pytest.raises(LocalError):
        opened(logs, process("web"), path)
    with pytest.raises(LocalError), logs.directory(process("web"), path):
        pass


def test_the_mode_of_a_log_lets_its_group_read() -> None:
    assert MODE == 0o640
