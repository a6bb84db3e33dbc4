"""The journal as a file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.logged import log_lines

from supervisortw.core import chronicle
from supervisortw.core.anchor import Anchor
from supervisortw.core.born import Born
from supervisortw.core.chronicle import Left
from supervisortw.core.ended import Ended
from supervisortw.core.exits import Exit
from supervisortw.core.lifecycle import Life
from supervisortw.core.limits import LIMITS
from supervisortw.core.memory import Memory
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State
from supervisortw.daemon import journal as module
from supervisortw.daemon.journal import Journal, what_was_left

EXIT = Exit(when=1.0, ended=Ended(code=3, signal=None, core=False, uptime=2.0), expected=False)
UP = Memory(pid=12, sid=12, born=Born(9.0, 9.5))


ANCHOR = Anchor(epoch="0123abcd", start=10, floor=4, file=(2049, 77))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "state"
    found.mkdir(0o700)
    return found


@pytest.fixture
def journal(directory: Path) -> Iterator[Journal]:  # a generator of one
    made = Journal(str(directory), "boot 1", "abc", Left(spawns=7))
    yield made
    made.close()


def left(directory: Path) -> Left:
    found = what_was_left(str(directory))
    assert found is not None
    return found


def test_without_a_journal_nothing_was_left(directory: Path) -> None:
    assert what_was_left(str(directory)) is None


def test_each_line_is_there_at_once(directory: Path, journal: Journal) -> None:
    journal.process("web", UP)
    assert left(directory) == Left(world="boot 1", token="abc", spawns=7, processes={"web": UP})
    journal.process("db", Memory())
    journal.scaled("web", 1, 2)
    journal.ending(3)
    assert left(directory).processes == {"web": UP, "db": Memory()}
    assert left(directory).scaled == {"web": (1, 2)}
    assert left(directory).ending
    journal.gone("db")
    assert left(directory).processes == {"web": UP}


def test_what_happens_together_is_written_together(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.process("db", Memory())
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(
        module.os, "write", lambda file, data: (writes.append(data), write(file, data))[1]
    )
    memory = Memory()
    with journal.together:
        with journal.together:
            journal.process("web", memory, EXIT)
            journal.scaled("web", 1, 2)
        assert not writes
        memory.pid = 7
        journal.process("web", memory)
        journal.flush()
        assert left(directory).processes["web"].pid == 7
        journal.flush()
        memory.pid = 8
        journal.process("web", memory)
    journal.flush()
    assert len(writes) == 2
    assert writes[0].count(b'"process"') == 1, "what was outdated at once is not written"
    found = left(directory)
    assert found.processes == {"db": Memory(), "web": memory}
    assert list(found.exits["web"]) == journal.exits("web") == [EXIT]
    assert found.scaled == {"web": (1, 2)}


def test_a_process_that_was_not_seen_to_yet_is_known(directory: Path, journal: Journal) -> None:
    mark = SpawnId(daemon="abc", name="web", number=9)
    memory = Memory(life=Life(state=State.STARTING, wanted=True), spawn=mark)
    journal.process("web", memory)
    memory.pid = memory.sid = 77
    memory.born, memory.started = Born(1.0, 1.5), 1.25
    journal.made("web", memory)
    assert left(directory).processes == {"web": memory}
    journal.write_anew()
    assert left(directory).processes == {"web": memory}
    journal.process("web", UP)
    journal.write_anew()
    assert b"made" not in (directory / "journal").read_bytes()
    memory.pid = 0
    journal.process("web", memory)
    memory.pid = 77
    journal.made("web", memory)
    journal.gone("web")
    journal.write_anew()
    assert left(directory).processes == {}


def test_who_goes_meanwhile_is_gone(directory: Path, journal: Journal) -> None:
    journal.process("db", Memory())
    with journal.together:
        journal.process("web", UP, EXIT)
        journal.gone("web")
    assert left(directory).processes == {"db": Memory()}
    assert not left(directory).exits


def test_a_file_that_is_written_anew_meanwhile_tells_of_each_end_once(
    directory: Path, journal: Journal
) -> None:
    with journal.together:
        journal.process("web", UP, EXIT)
        journal.write_anew()
        assert left(directory).processes == {"web": UP}
    assert list(left(directory).exits["web"]) == [EXIT]


def test_it_is_nobody_elses_to_read(directory: Path, journal: Journal) -> None:
    journal.process("web", UP)
    assert (directory / "journal").stat().st_mode & 0o777 == 0o600


def test_the_first_line_replaces_what_was_there(directory: Path, journal: Journal) -> None:
    (directory / "journal").write_text("something old\n")
    journal.process("web", UP)
    assert left(directory).processes == {"web": UP}


def test_what_the_daemon_before_has_left_goes_on_to_hold(directory: Path) -> None:
    before = Left(
        world="boot 1",
        token="abc",
        spawns=12,
        processes={"web": UP, "db": UP},
        scaled={"web": (1, 3)},
        logs={"web": ANCHOR, "/supervisord": ANCHOR},
        ending=True,
        exit_code=4,
    )
    after = Journal(str(directory), "boot 1", "abc", before)
    after.process("db", Memory())
    after.close()
    before.processes["db"] = Memory()
    assert left(directory) == before


def test_the_logs_of_who_is_gone_are_forgotten_when_it_is_written_anew(
    directory: Path, journal: Journal
) -> None:
    journal.process("web", UP)
    for name in ("web", "web/stderr", "db"):
        journal.log(name, ANCHOR)
    journal.gone("web")
    journal.write_anew()
    assert left(directory).logs == {"db": ANCHOR}


def test_nothing_is_left_once_it_is_removed(directory: Path, journal: Journal) -> None:
    journal.process("web", UP)
    journal.remove()
    journal.process("web", UP)
    assert what_was_left(str(directory)) is None


def test_it_is_written_anew_when_it_has_grown(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.process("db", UP)
    path = directory / "journal"
    line = len(chronicle.process("web", UP))
    sizes = []
    for _ in range(2 * LIMITS.journal_bytes // line):
        journal.process("web", UP)
        sizes.append(path.stat().st_size)
    assert max(sizes) <= LIMITS.journal_bytes + line
    assert sizes[-1] < max(sizes)
    assert left(directory).processes == {"db": UP, "web": UP}


def test_with_much_that_holds_it_may_grow_to_a_multiple(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    whole = journal._file.write_anew
    monkeypatch.setattr(journal._file, "write_anew", lambda: (written.append(1), whole()))
    names = [f"program-{number}" for number in range(3 * LIMITS.journal_bytes // 150)]
    for name in names:
        journal.process(name, UP)
    assert 1 <= len(written) <= 3
    assert len(left(directory).processes) == len(names)


def test_a_full_disk_is_told_once_and_loses_nothing(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.process("web", Memory())

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write = os.write
    with log_lines() as told:
        monkeypatch.setattr(module.os, "write", refuse)
        journal.process("web", UP)
        journal.process("db", UP)
        monkeypatch.setattr(module.os, "write", write)
        journal.process("cache", UP)
    assert left(directory).processes == {"web": UP, "db": UP, "cache": UP}
    [error, again] = told
    assert f"cannot write {directory}/journal: No space left on device" in error
    assert again == "the journal is written again"


def test_what_was_written_in_part_is_written_again(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.process("web", Memory())
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda file, data: write(file, data[:20]))
    journal.process("web", UP)
    monkeypatch.setattr(module.os, "write", write)
    assert what_was_left(str(directory)) is None  # what is old would be believed
    journal.process("db", UP)
    assert left(directory).processes == {"web": UP, "db": UP}
    assert not left(directory).damaged


def test_a_damaged_one_is_set_aside_and_what_makes_sense_counts(
    directory: Path, journal: Journal
) -> None:
    journal.process("web", UP)
    path = directory / "journal"
    path.write_bytes(b"\0\0\0\n" + path.read_bytes())
    with log_lines() as told:
        assert left(directory).processes == {"web": UP}
    assert told == [
        f"{path} is damaged: 1 line makes no sense",
        f"it was set aside as {path}.damaged",
    ]
    assert not path.exists()
    assert (directory / "journal.damaged").exists()


def test_a_foreign_one_is_set_aside(directory: Path) -> None:
    path = directory / "journal"
    path.write_text(json.dumps({"journal": 99}) + "\n")
    with log_lines() as told:
        assert what_was_left(str(directory)) is None
    assert f"{path} cannot be used: its format is 99" in told[0]
    assert (directory / "journal.damaged").exists()


def test_one_that_somebody_else_could_have_written_is_not_believed(directory: Path) -> None:
    (directory / "elsewhere").write_text(chronicle.opening("w", "abc", 0) + "\n")
    (directory / "journal").symlink_to("elsewhere")
    with log_lines() as told:
        assert what_was_left(str(directory)) is None
    assert "cannot be used" in told[0]
    assert not (directory / "journal").exists()


def test_an_endless_one_is_not_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / "journal"
    with path.open("wb") as file:
        file.truncate(LIMITS.journal_read_bytes + 1)
    with log_lines() as told:
        assert what_was_left(str(directory)) is None
    assert "more than" in told[0]


CODE_1 = Exit(when=5.0, ended=Ended(code=1, signal=None, core=False, uptime=2.0), expected=False)
KILLED = replace(CODE_1, when=6.0, stopped_by="root")


def test_ends_are_kept_with_the_process(directory: Path, journal: Journal) -> None:
    journal.process("web", UP)
    journal.process("web", Memory(), CODE_1)
    assert list(left(directory).exits["web"]) == [CODE_1]
    journal.process("web", UP)
    journal.process("web", Memory(), KILLED)
    assert journal.exits("web") == list(left(directory).exits["web"]) == [CODE_1, KILLED]
    journal.write_anew()
    assert journal.exits("web") == list(left(directory).exits["web"]) == [CODE_1, KILLED]
    journal.gone("web")
    assert journal.exits("web") == []
    assert left(directory).exits == {}
    journal.write_anew()
    assert left(directory).exits == {}


def test_a_later_daemon_has_the_ends_of_the_one_before(directory: Path, journal: Journal) -> None:
    journal.process("web", Memory(), CODE_1)
    before = left(directory)
    before.exits["lost"] = before.exits["web"]  # its own line was damaged
    later = Journal(str(directory), "boot 1", "abc", before)
    later.process("web", Memory(), KILLED)
    assert later.exits("web") == [CODE_1, KILLED]
    assert list(left(directory).exits) == ["web"]
    later.close()


def test_each_process_has_only_its_last_ends(directory: Path, journal: Journal) -> None:
    for number in range(LIMITS.exits_kept + 5):
        journal.process("web", Memory(), replace(CODE_1, when=float(number)))
    kept = [exit.when for exit in journal.exits("web")]
    assert kept == [float(number) for number in range(5, LIMITS.exits_kept + 5)]
    journal.write_anew()
    assert [exit.when for exit in left(directory).exits["web"]] == kept


def test_all_together_have_room_in_the_journal(
    directory: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMITS", replace(LIMITS, exits_written=10))
    for number in range(8):
        for name in ("a", "b", "c"):
            journal.process(name, Memory(), replace(CODE_1, when=float(number)))
    journal.write_anew()
    found = left(directory).exits
    assert set(found) == {"a", "b", "c"}
    assert all([exit.when for exit in each] == [5.0, 6.0, 7.0] for each in found.values())
    monkeypatch.setattr(module, "LIMITS", replace(LIMITS, exits_written=1))
    journal.write_anew()
    assert {len(exits) for exits in left(directory).exits.values()} == {1}


def test_the_largest_journal_can_be_read() -> None:
    """As many processes as there may be, each with a memory of 1 KiB, and as many ends."""
    longest = replace(CODE_1, stopped_by="\\" * LIMITS.stopped_by_characters)
    line = chronicle.exited("g" * 64 + ":" + "p" * 64, replace(longest, expected=True))
    ends = max(LIMITS.exits_written, LIMITS.processes) * (len(line) + 1)
    assert LIMITS.processes * 1024 + ends <= LIMITS.journal_read_bytes
