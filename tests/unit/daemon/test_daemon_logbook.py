"""The daemon's log: one line for each thing that happened, and no line that did not."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from fakes.logdirectory import FakeLogDirectory
from fakes.reactor import FakeReactor
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure

from supervisortw.config.datatypes import log_level
from supervisortw.core.model import Keeping
from supervisortw.daemon.echo import Echo
from supervisortw.daemon.logbook import LEVELS, LogBook
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.stream import own_stream

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


class Memory:
    """Stands for a LogFile."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def lines(self) -> list[str]:
        """Return the lines without their stamps."""
        assert self.data == b"" or self.data.endswith(b"\n")
        found = self.data.decode().splitlines()
        assert all(re.match(STAMP + " ", line) for line in found)
        return [re.sub(STAMP + " ", "", line) for line in found]


class Bench:
    def __init__(self, level: str = "info", echo: Echo | None = None) -> None:
        self.memory = Memory()
        self.book = LogBook(self.memory, level, echo)  # type: ignore[arg-type]
        self.publisher = LogPublisher(self.book.observer())
        self.ours = Logger(namespace="supervisor", observer=self.publisher)
        self.theirs = Logger(namespace="twisted.something", observer=self.publisher)

    def lines(self) -> list[str]:
        return self.memory.lines()


class TestLines:
    def test_a_line_has_a_time_a_level_and_a_text(self) -> None:
        bench = Bench()
        bench.ours.info("{name}: started, pid {pid}", name="web", pid=12)
        bench.ours.error("nothing works")
        assert bench.lines() == ["info web: started, pid 12", "error nothing works"]

    def test_the_time_is_that_of_the_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "localtime", time.gmtime)
        bench = Bench()
        bench.publisher(
            {
                "log_time": 1.5,
                "log_level": LogLevel.error,
                "log_namespace": "supervisor",
                "log_format": "then",
            }
        )
        assert bench.memory.data == b"1970-01-01 00:00:01,500 error then\n"

    @pytest.mark.parametrize(
        "value",
        [
            "a\nb",
            "a\r\nb",
            "a\x0bb",
            "a\x1cb",
            "a\x85b",
            "a\u2028b",
            "\x1b[2J",
            "\udcff",
            b"\xff\n",
        ],
    )
    def test_a_value_makes_no_second_line(self, value: str | bytes) -> None:
        bench = Bench()
        bench.ours.info("{user} asks: {what}", user="alice", what=value)
        assert len(bench.lines()) == 1
        assert "\x1b" not in bench.lines()[0]

    def test_a_failure_is_told_with_its_traceback_line_by_line(self) -> None:
        bench = Bench()
        try:
            raise KeyError("a\nforged line")
        except KeyError:
            bench.ours.failure("{verb} failed", verb="stop")
        first, *others = bench.lines()
        assert first == "critical stop failed"
        assert all(line.startswith("critical   ") for line in others)
        assert any("KeyError" in line for line in others)

    def test_an_event_that_cannot_be_formatted_is_a_line_all_the_same(self) -> None:
        class Broken:
            def __repr__(self) -> str:
                raise ValueError("no\nwords")

            __str__ = __repr__

        bench = Bench()
        bench.ours.info("{broken}", broken=Broken())
        assert len(bench.lines()) == 1

    def test_the_old_way_of_logging_is_understood(self) -> None:
        bench = Bench()
        publisher = legacy.LogPublisher(
            observerPublisher=bench.publisher, publishPublisher=bench.publisher
        )
        publisher.msg("old", "words\n", isError=True, logLevel=40)
        assert bench.lines() == ["error old words\\n"]


@given(
    st.text(st.characters(exclude_categories=())),
    st.dictionaries(st.sampled_from(["a", "b"]), st.text(), min_size=2),
)
def test_nothing_in_an_event_can_forge_a_line(text: str, fields: dict[str, str]) -> None:
    bench = Bench()
    bench.publisher(
        {
            "log_time": 0.0,
            "log_level": LogLevel.critical,
            "log_namespace": "supervisor",
            "log_format": text,
            "log_failure": Failure(ValueError(text)),
            **fields,
        }
    )
    for line in bench.lines():
        assert line.startswith("critical ")


class TestLevels:
    @pytest.mark.parametrize(
        ("level", "told"),
        [
            ("critical", ["critical"]),
            ("error", ["critical", "error"]),
            ("warn", ["critical", "error", "warn"]),
            ("info", ["critical", "error", "warn", "info"]),
            ("debug", ["critical", "error", "warn", "info", "debug"]),
        ],
    )
    def test_ours_are_written_from_the_level_on(self, level: str, told: list[str]) -> None:
        bench = Bench(level)
        for name in ("critical", "error", "warn", "info", "debug"):
            getattr(bench.ours, name)("something")
        assert [line.split()[0] for line in bench.lines()] == told

    def test_those_of_libraries_from_warnings_on(self) -> None:
        bench = Bench("debug")
        bench.theirs.info("a connection")
        bench.theirs.warn("trouble")
        assert bench.lines() == ["warn trouble"]

    def test_the_level_can_be_changed(self) -> None:
        bench = Bench("error")
        bench.ours.info("not yet")
        bench.book.set_level("info")
        bench.ours.info("now")
        bench.book.set_level("error")
        bench.ours.info("no more")
        assert bench.lines() == ["info now"]

    @pytest.mark.parametrize("word", ["critical", "error", "warn", "info", "debug", "40", "notset"])
    def test_every_level_of_the_configuration_is_known(self, word: str) -> None:
        level = log_level(word)
        assert level == "debug" or level in LEVELS


def test_in_the_foreground_standard_output_gets_the_lines_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stdout = own_stream("/dev/stdout", FakeReactor())
    bench = Bench(echo=Echo(stdout))
    bench.ours.info("hello")
    assert capfd.readouterr().out == bench.memory.data.decode()
    stdout.close()


@pytest.fixture
def global_log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let everything that is logged go to the observers in this list."""
    observers: list[Any] = []
    publisher = LogPublisher()
    for name in ("loss", "events"):
        target = f"supervisortw.daemon.{name}.log"
        monkeypatch.setattr(target, Logger(namespace="supervisor", observer=publisher))

    def publish(event: Any) -> None:
        for observer in observers:
            observer(event)

    publisher.addObserver(publish)
    return observers


@pytest.mark.needs_linux
def test_a_full_disk_under_the_log_itself_is_told_once_it_has_room(
    tmp_path: Path, global_log: list[Any]
) -> None:
    path = tmp_path / "supervisord.log"
    directory = FakeLogDirectory(tmp_path)
    directory.instead = "/dev/full", os.O_RDWR
    file = LogFile(str(path), directory.visit, Keeping(), Clock())
    file.open()
    book = LogBook(file, "info")
    written = 0

    def count(event: Any) -> None:
        nonlocal written
        written += 1
        book.observer()(event)

    global_log.append(count)
    Logger(namespace="supervisor", observer=count).info("an event")
    assert written == 2, "the event, and that it could not be written"
    directory.instead = None
    file.reopen()
    Logger(namespace="supervisor", observer=count).info("another one")
    mark, found, lost = path.read_text().splitlines()
    assert re.match(r"-- supervisord: \d+ bytes are missing here: No space left on device --", mark)
    assert found.endswith("info another one")
    assert re.search(r"warn writing to .*supervisord\.log again; \d+ bytes were lost", lost)
    file.close()
