"""What was read once can be read again when the disk has something else, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from config_fixture_types import Write
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supervisortw.config import files, kept
from supervisortw.config.kept import Recorder, Snapshot, decode, differs_from_disk
from supervisortw.config.loader import load_daemon
from supervisortw.core.limits import LIMITS
from supervisortw.errors import ConfigError, LocalError

MAIN = "<supervisord>\n%include conf.d/*.conf\n</supervisord>\n"
ONE = "<program one>\ncommand run\n</program>\n"
TWO = "<program two>\ncommand run 'ä\u2028'\n</program>\n"


@pytest.fixture
def main(write: Write) -> str:
    """Return the path of a configuration with two included files."""
    write(ONE, "conf.d/a.conf")
    write(TWO, "conf.d/b.conf")
    return write(MAIN)


def taken(path: str) -> Snapshot:
    """Return a snapshot of the configuration at ``path``."""
    recorder = Recorder()
    load_daemon(path, files=recorder)
    return recorder.snapshot()


def test_it_is_the_same_configuration_when_its_files_are_gone(main: str, tmp_path: Path) -> None:
    there = load_daemon(main)
    data = taken(main).encode()
    for path in there.files:
        os.unlink(path)
    again = decode(data)
    assert again.source == main
    assert load_daemon(main, files=again) == there
    assert list(there.programs) == ["one", "two"]
    with pytest.raises(ConfigError, match="no such file"):
        load_daemon(main)


def test_overrides_are_laid_over_it_as_over_the_file(main: str) -> None:
    overrides = {"loglevel": ["debug"]}
    snapshot = taken(main)
    assert load_daemon(main, overrides, files=snapshot) == load_daemon(main, overrides)


def test_another_file_is_not_in_it(main: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_daemon("/other.conf", files=taken(main))
    reason = "it is not in the configuration that was kept"
    assert str(caught.value) == f"/other.conf: cannot be read: {reason}"


def test_a_pattern_that_found_nothing_finds_nothing(write: Write) -> None:
    main = write(MAIN)
    snapshot = decode(taken(main).encode())
    write(ONE, "conf.d/a.conf")
    assert load_daemon(main, files=snapshot).programs == {}
    assert differs_from_disk(snapshot)


class Changing(files.Disk):
    """A disk on which everything is another one each time."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, path: str) -> files.Source:
        self.reads += 1
        text = f"<program p{self.reads}>\ncommand x\n</program>\n"
        main = "<supervisord>\n%include i\n%include [ab]\n%include [ab]\n</supervisord>\n"
        return files.Source(path, main if path == "/main" else text, path)

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        self.reads += 1
        return (f"{directory}{self.reads}",)


def test_one_load_sees_one_state_of_the_disk() -> None:
    recorder = Recorder(Changing())
    with pytest.raises(ConfigError, match="a second program 'p4'"):
        load_daemon("/main", files=recorder)
    assert list(recorder.snapshot().texts) == ["/main", "/i", "/3"]


class TestDifference:
    def test_none(self, main: str) -> None:
        assert not differs_from_disk(decode(taken(main).encode()))

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("supervisord.conf", MAIN + "#\n"),
            ("conf.d/b.conf", TWO.replace("ä", "a")),
            ("conf.d/b.conf", None),
            ("conf.d/b.conf", "\0"),
            ("conf.d/c.conf", ""),
        ],
    )
    def test_a_file(self, main: str, write: Write, name: str, text: str | None) -> None:
        snapshot = taken(main)
        if text is None:
            (Path(main).parent / name).unlink()
        else:
            write(text.encode(), name)
        assert differs_from_disk(snapshot)

    def test_what_is_included_nowhere_makes_none(self, main: str, write: Write) -> None:
        snapshot = taken(main)
        write("nonsense", "conf.d/readme")
        write("\ufeff" + TWO, "conf.d/b.conf")  # a mark that is no part of the text
        assert not differs_from_disk(snapshot)


class TestDamage:
    @pytest.fixture
    def data(self, main: str) -> bytes:
        return taken(main).encode()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "it cannot be decoded"),
            ("ä", "it cannot be decoded"),
            ("[" * 100_000, "it cannot be decoded"),
            ("[]", "it is something else"),
            ("{}", "it is something else"),
            ('{"version": 2}', "it has version 2, and this supervisord knows 1"),
            ('{"version": "\\u001b[2J"}', r"it has version \x1b[2J, and this supervisord knows 1"),
            ('{"version": 1}', "its parts are not what they should be"),
        ],
    )
    def test_something_else(self, text: str, reason: str) -> None:
        with pytest.raises(LocalError) as caught:
            decode(text.encode())
        assert str(caught.value) == f"this is no configuration that was kept: {reason}"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("files", []),
            ("files", {}),
            ("files", [["/x"]]),
            ("files", [["/x", 1]]),
            ("files", [["/x", "", ""]]),
            ("files", [["/x", ""]] * (LIMITS.files + 1)),
            ("patterns", None),
            ("patterns", [["/", "*"]]),
            ("patterns", [["/", "*", ["/x", 1]]]),
            ("patterns", [["/", ["*"], []]]),
            ("patterns", [["/", "*", "x"]]),
            ("more", 1),
        ],
    )
    def test_parts(self, data: bytes, key: str, value: object) -> None:
        record = json.loads(data)
        record[key] = value
        with pytest.raises(LocalError, match="its parts are not what they should be"):
            decode(json.dumps(record).encode())

    def test_another_text(self, data: bytes) -> None:
        with pytest.raises(LocalError, match="its checksum is another one"):
            decode(data.replace(b"command run", b"command rum"))

    def test_wherever_it_is_cut(self, data: bytes) -> None:
        for length in range(len(data)):
            with pytest.raises(LocalError):
                decode(data[:length])

    def test_whichever_byte_is_another_one(self, data: bytes) -> None:
        snapshot = decode(data)
        for at, byte in enumerate(data):
            for other in (byte ^ 1, byte ^ 0x20, 0):
                changed = data[:at] + bytes([other]) + data[at + 1 :]
                try:
                    assert decode(changed) == snapshot  # the case of a hexadecimal digit
                except LocalError:
                    continue


class TestBound:
    @pytest.fixture
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kept, "LIMITS", replace(LIMITS, kept_bytes=500))

    @pytest.mark.usefixtures("_small")
    def test_what_is_too_large_is_loaded_and_not_kept(self, main: str, write: Write) -> None:
        write("#" * 1000, "conf.d/c.conf")
        recorder = Recorder()
        assert load_daemon(main, files=recorder) == load_daemon(main)
        with pytest.raises(LocalError) as caught:
            recorder.snapshot()
        assert str(caught.value) == "the configuration is too large to be kept: over 500 bytes"

    @pytest.mark.usefixtures("_small")
    def test_what_is_too_large_when_it_is_written_down(self, write: Write) -> None:
        snapshot = taken(write("<supervisord>\n" + "#ä" * 100 + "\n</supervisord>\n"))
        with pytest.raises(LocalError, match="too large to be kept"):
            snapshot.encode()

    @pytest.mark.usefixtures("_small")
    def test_what_is_too_large_to_be_read(self) -> None:
        with pytest.raises(LocalError, match="too large to be kept"):
            decode(b" " * 501)


# Any files that include any others, by name and by pattern.
NAMES = ["a.conf", "b.conf", "d/c.conf", "d/x[1].conf", "d/x1.conf", "e/f.conf"]
NAMES += ["d/\udcff.conf"] if sys.platform == "linux" else []  # no other system takes it
WAYS = ["*.conf", "d/*.conf", "d/x[1].conf", "*/*.conf", "[", "?.conf", "d/../b.conf"]
LINES = [
    *("%define here there", "environment A=$(HOME)", "loglevel debug", "# \U0001f600 \u2028"),
    *("<group g>\nprograms p0\n</group>", "nonsense"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """Return texts by the names of files, which include what comes after them, or anything."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    tree = {}
    for number, name in enumerate(["main", *names]):
        lines = [f"<program p{number}>\ncommand x {number}\n</program>"] * draw(st.integers(0, 1))
        lines += draw(st.lists(st.sampled_from(LINES), max_size=1))
        later = [each for each in names[number:] if each.isascii()]
        for included in draw(st.lists(st.sampled_from([*later, *WAYS]), max_size=2)):
            lines.append(f"%include {os.path.relpath(included, os.path.dirname(name))}")
        tree[name] = "\n".join(draw(st.permutations(lines))) + "\n"
    tree["main"] = f"<supervisord>\n{tree['main']}</supervisord>\n"
    return tree


def build(place: Path, tree: dict[str, str]) -> str:
    shutil.rmtree(place, ignore_errors=True)
    for name, text in tree.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(place / "main")


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100
)
@given(tree=trees())
def test_whatever_is_loaded_is_loaded_again(place: Path, tree: dict[str, str]) -> None:
    main = build(place, tree)
    recorder = Recorder()
    try:
        there = load_daemon(main)
    except ConfigError as error:
        refused = error.problems
    else:
        refused = ()
    if refused:
        event("refused")
        with pytest.raises(ConfigError) as caught:
            load_daemon(main, files=recorder)
        assert caught.value.problems == refused
        return
    event(f"loaded from {len(there.files)} files")
    assert load_daemon(main, files=recorder) == there
    snapshot = recorder.snapshot()
    assert not differs_from_disk(snapshot)
    assert decode(snapshot.encode()) == snapshot
    shutil.rmtree(place)
    assert load_daemon(main, files=decode(snapshot.encode())) == there
    assert differs_from_disk(snapshot)
