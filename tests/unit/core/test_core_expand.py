"""What stands for the number and the names of a process, and what is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core import expand
from supervisortw.core.expand import literal, processes_of
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, Process, Program

VALUES: Mapping[str, str | int] = {"program_name": "web", "process_num": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("%(program_name)s.%(process_num)d", "web.7"),
        ("%(process_num)s", "7"),
        ("%(process_num)02d-%(process_num)3d-%(process_num)0d", "07-  7-7"),
        ("date +%H:%M 100%", "date +%H:%M 100%"),
        ("%%(process_num)d", "%(process_num)d"),
        ("%%%(x", "%%(x"),
        ("50%%", "50%%"),
        ("%(process_num)ds", "7s"),
    ],
)
def test_what_a_text_becomes(text: str, expected: str) -> None:
    assert expand.expand(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%(proces_num)d", "unknown %(proces_num)d; there are %(program_name)s, %(process_num)d"),
        ("%(h)s", "a plain %( is written %%("),
        ("%(program_name)d", "%(program_name)d is no number; write %(program_name)s"),
        ("%(process_num)", "'%(' begins nothing such as %(program_name)s, %(process_num)d"),
        ("%(process_num)x", "'%(' begins nothing"),
        ("%(process_num)99d", "'%(' begins nothing"),
        ("%()d", "'%(' begins nothing"),
        ("%(", "'%(' begins nothing"),
        (f"%({'x' * 65})d", "'%(' begins nothing"),
    ],
)
def test_what_cannot_be_filled_in(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        expand.expand(f"before {text} behind", VALUES)
    assert len(str(caught.value)) < 250


@given(st.text(st.sampled_from("%()sdx0 ")) | st.text())
def test_a_literal_comes_out_as_it_went_in(text: str) -> None:
    assert expand.expand(literal(text), VALUES) == text


@given(st.text(st.sampled_from("%()sd0 ")).map(lambda text: text.replace("()", "(process_num)")))
def test_a_text_is_filled_in_or_refused_in_the_agreed_way(text: str) -> None:
    try:
        found = expand.expand(text, VALUES)
    except ValueError:
        found = ""
        assert "%(" in text
    assert "%(process_num)d" not in found or "%%(process_num)d" in text


def test_a_program_without_a_number_is_one_process_of_its_name() -> None:
    program = Program(name="web", command=("run", "%(process_num)d"), environment=(("A", "b"),))
    [process] = processes_of(program)
    assert (process.name, process.program, process.process) == ("web", "web", "web")
    assert (process.group, process.number, process.command) == ("web", 0, ("run", "0"))


def test_each_process_has_what_its_program_has() -> None:
    program = Program(name="web", command=("run",), priority=3, processes=1, notify=True)
    [process] = processes_of(program)
    assert process.syslog_tag == "web_0"
    for field in fields(Program):
        if field.name not in {"name", "syslog_tag"}:
            assert getattr(process, field.name) == getattr(program, field.name)


def test_every_text_of_every_process_is_filled_in() -> None:
    program = Program(
        name="web",
        group="site",
        command=("/bin/%(program_name)s", "%(process_num)02d"),
        processes=2,
        process_name="w%(process_num)d-%(group_name)s",
        first_number=9,
        stop_command=("stop", "%(process_name)s"),
        directory="/srv/%(process_num)d",
        environment=(("NAME", "%(process_name)s"), ("B", "%%(x)s")),
        environment_files=("-/etc/%(process_num)d.env",),
        logfile="/log/%(group_name)s/%(process_num)d",
        stderr_logfile="/log/%(process_name)s.err",
    )
    nine, ten = processes_of(program)
    assert [each.name for each in (nine, ten)] == ["site:w9-site", "site:w10-site"]
    assert [each.number for each in (nine, ten)] == [9, 10]
    assert nine.command == ("/bin/web", "09")
    assert ten.stop_command == ("stop", "w10-site")
    assert ten.directory == "/srv/10"
    assert ten.environment == (("NAME", "w10-site"), ("B", "%(x)s"))
    assert ten.environment_files == ("-/etc/10.env",)
    assert (ten.logfile, ten.stderr_logfile) == ("/log/site/10", "/log/w10-site.err")
    assert (ten.program, ten.process, ten.group) == ("web", "w10-site", "site")


def test_what_is_thrown_away_or_left_out_stays_so() -> None:
    [process] = processes_of(Program(name="web", command=("run",)))
    assert (process.logfile, process.stderr_logfile, process.directory) == (DISCARD, None, None)


def test_full_names() -> None:
    def names(**keys: object) -> list[str]:
        program = Program(name="web", command=("run",), **keys)  # type: ignore[arg-type]
        return [process.name for process in processes_of(program)]

    assert names() == ["web"]
    assert names(group="site") == ["site:web"]
    assert names(processes=1) == ["web:web_0"]
    assert names(processes=1, process_name="%(program_name)s") == ["web"]
    assert names(processes=0) == []


def test_another_number_of_processes() -> None:
    program = Program(name="web", command=("run",), processes=2)
    assert [each.number for each in processes_of(program, 3)] == [0, 1, 2]
    assert processes_of(program, 0) == ()
    assert processes_of(program, 3)[:2] == processes_of(program)


def test_two_processes_cannot_have_one_name() -> None:
    program = Program(name="web", command=("run",), processes=2, process_name="x")
    with pytest.raises(ValueError, match="would be called 'x'; process-name needs"):
        processes_of(program)
    assert [each.process for each in processes_of(program, 1)] == ["x"]


def test_a_text_that_cannot_be_filled_in_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown %\(process_name\)s"):
        processes_of(
            Program(name="web", command=("x",), processes=1, process_name="%(process_name)s")
        )
    with pytest.raises(ValueError, match=r"unknown %\(x\)s"):
        processes_of(Program(name="web", command=("%(x)s",)))


def test_as_many_as_there_can_be_share_what_is_the_same() -> None:
    text = "x" * 1000
    most = LIMITS.processes_per_program
    program = Program(name="web", command=("run", text), processes=most)
    found = processes_of(program)
    assert len({each.name for each in found}) == most
    assert all(each.command[1] is text for each in found)
    assert isinstance(found[-1], Process)
