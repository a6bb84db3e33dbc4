"""Answers as text for people."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.client.render import (
    LogWriter,
    columns,
    outcome_line,
    reload_lines,
    status_lines,
)
from supervisortw.core.limits import LIMITS
from supervisortw.core.states import State
from supervisortw.core.status import DaemonStatus, Outcome, ProgramStatus, ReloadAnswer, Result

WEB = ProgramStatus(
    name="web",
    program="web",
    group="web",
    state=State.RUNNING,
    wanted=True,
    pid=1234,
    since=3600.0,
    restarts=0,
    detail="",
)
WORKER = ProgramStatus(
    name="worker-2",
    program="worker-2",
    group="worker-2",
    state=State.BACKOFF,
    wanted=True,
    pid=0,
    since=0.5,
    restarts=3,
    detail="exited with code 1 after 0.2 s, too quickly; next try in 2 s",
)
STATUS = DaemonStatus(
    version="1.2.3",
    pid=99,
    sockets=("/run/s",),
    source="/etc/supervisord.conf",
    uptime=5.0,
    shutting_down=False,
    notes=(),
    programs=(WEB, WORKER),
)


class TestStatus:
    def test_four_lines_and_a_table(self) -> None:
        assert status_lines(STATUS) == [
            "socket='/run/s'",
            "supervisord_pid=99",
            "up=web",
            "down=worker-2",
            "",
            "NAME      STATE     PID      FOR  DETAIL",
            "web       RUNNING  1234  1:00:00",
            "worker-2  BACKOFF     -    0.5 s  exited with code 1 after 0.2 s, too quickly; "
            "next try in 2 s; 3 restarts",
        ]

    def test_without_programs_there_is_no_table(self) -> None:
        empty = replace(STATUS, programs=(), sockets=("/a", "[::1]:9001"))
        assert status_lines(empty) == [
            "socket='/a','[::1]:9001'",
            "supervisord_pid=99",
            "up=",
            "down=",
        ]

    def test_names_are_told_in_their_order(self) -> None:
        programs = tuple(replace(WEB, name=name) for name in "bca")
        assert status_lines(replace(STATUS, programs=programs))[2:4] == ["up=b,c,a", "down="]

    def test_notes_come_before_the_table(self) -> None:
        status = replace(STATUS, notes=("not listening on /x: no",), shutting_down=True)
        assert status_lines(status)[4:7] == [
            "note: supervisord is shutting down",
            "note: not listening on /x: no",
            "",
        ]

    @pytest.mark.parametrize(
        ("restarts", "detail", "told"),
        [
            (0, "", ""),
            (1, "", "1 restart"),
            (2, "", "2 restarts"),
            (1, "stopped", "stopped; 1 restart"),
        ],
    )
    def test_restarts_are_part_of_the_detail(self, restarts: int, detail: str, told: str) -> None:
        program = replace(WEB, restarts=restarts, detail=detail)
        line = status_lines(replace(STATUS, programs=(program,)))[-1]
        assert line == f"web   RUNNING  1234  1:00:00  {told}".rstrip()

    def test_nothing_in_it_steers_the_terminal_or_makes_a_line(self) -> None:
        evil = "x\n\x1b[2Jup=everything\u202e"
        status = replace(
            STATUS,
            sockets=(evil,),
            notes=(evil,),
            programs=(replace(WEB, name=evil, detail=evil),),
        )
        lines = status_lines(status)
        assert len(lines) == 8
        assert all(line.isprintable() for line in lines)


class TestOutcome:
    def test_a_sentence_about_a_name(self) -> None:
        outcome = Outcome(name="web", result=Result.STARTED, text="started, pid 12")
        assert outcome_line(outcome) == "web: started, pid 12"

    def test_it_is_one_line(self) -> None:
        outcome = Outcome(name="w\neb", result=Result.FAILED, text="a\r\n\x1b[31mb")
        assert outcome_line(outcome) == "w\\neb: a\\x0d\\n\\x1b[31mb"


class TestReload:
    ANSWER = ReloadAnswer(
        source="/etc/x",
        lines=("web: added, to be started",),
        warnings=("careful",),
        outcomes=(Outcome(name="web", result=Result.STARTED, text="started, pid 12"),),
    )

    def test_what_was_done(self) -> None:
        assert reload_lines(self.ANSWER, done=True) == [
            "web: added, to be started",
            "warning: careful",
            "web: started, pid 12",
        ]

    def test_what_would_be_done(self) -> None:
        expected = ["web: added, to be started", "warning: careful"]
        assert reload_lines(self.ANSWER, done=False) == expected

    def test_nothing(self) -> None:
        nothing = ReloadAnswer(source="/etc/x", lines=(), warnings=())
        assert reload_lines(nothing, done=True) == ["nothing has changed in /etc/x"]

    def test_one_line_each(self) -> None:
        evil = ReloadAnswer(source="/etc/\n", lines=(), warnings=("\x1b[2J",))
        assert reload_lines(evil, done=True) == [
            "nothing has changed in /etc/\\n",
            "warning: \\x1b[2J",
        ]


class Screen:
    def __init__(self, mark: str = "", **keys: int) -> None:
        self.text = ""
        self.writer = LogWriter(self.write, mark, **keys)

    def write(self, text: str) -> None:
        self.text += text

    def feed(self, *parts: bytes) -> str:
        for part in parts:
            self.writer.feed(part)
        return self.text


class TestLogWriter:
    def test_half_a_line_is_shown_at_once(self) -> None:
        screen = Screen()
        assert screen.feed(b"hal") == "hal"
        assert screen.feed(b"f\nnext") == "half\nnext"

    def test_a_character_may_come_in_parts(self) -> None:
        for mark in ("", "a | "):
            screen = Screen(mark)
            assert screen.feed("€\n".encode()[:1], "€\n".encode()[1:]) == f"{mark}€\n"

    def test_bytes_that_are_no_text_are_shown_as_they_are(self) -> None:
        assert Screen().feed(b"\xff\xc3(\n") == "\\xff\\xc3(\n"

    def test_nothing_steers_the_terminal(self) -> None:
        assert Screen().feed(b"\x1b[2J\r\x9b\n\tx") == "\\x1b[2J\\x0d\\x9b\n\tx"
        assert Screen("m | ").feed(b"\x1b[2J\n") == "m | \\x1b[2J\n"

    def test_a_steering_sequence_in_parts_does_not_either(self) -> None:
        assert Screen().feed(b"\xc2", b"\x9b2J") == "\\x9b2J"

    def test_with_a_mark_only_whole_lines_are_shown(self) -> None:
        screen = Screen("a | ")
        assert screen.feed(b"hal") == ""
        assert screen.feed(b"f\n\nnext") == "a | half\na | \n"

    def test_what_is_left_is_shown_in_the_end(self) -> None:
        screen = Screen("a | ")
        screen.feed(b"half")
        screen.writer.flush()
        assert screen.text == "a | half\n"
        screen.writer.flush()
        assert screen.text == "a | half\n"
        assert screen.feed(b"x\n") == "a | half\na | x\n"

    @pytest.mark.parametrize("mark", ["", "a | "])
    def test_half_a_character_is_shown_in_the_end_too(self, mark: str) -> None:
        screen = Screen(mark)
        screen.feed(b"caf\xc3")
        screen.writer.flush()
        assert screen.text.rstrip("\n") == f"{mark}caf\\xc3"

    def test_after_the_end_another_log_may_begin(self) -> None:
        screen = Screen()
        screen.feed(b"\xe2\x82")
        screen.writer.flush()
        assert screen.feed(b"\xac\n").endswith("\\xac\n")

    def test_a_line_that_is_too_long_comes_in_parts(self) -> None:
        screen = Screen("a | ", longest=10)
        assert screen.feed(b"x" * 10) == ""
        assert screen.feed(b"x") == "a | xxxxxxxxxx\n"
        assert screen.feed(b"y\n" + b"z" * 20 + b"\n").splitlines()[1:] == [
            "a | xy",
            "a | zzzzzzzzzz",
            "a | zzzzzzzzzz",
        ]

    def test_of_a_line_that_never_ends_no_more_is_held_than_may_be(self) -> None:
        for mark in ("", "a | "):
            screen = Screen(mark)
            for _ in range(20):
                screen.feed(b"x" * LIMITS.piece_bytes)
                assert len(screen.writer._line) <= LIMITS.shown_characters
            screen.writer.flush()
            assert screen.text.count("x") == 20 * LIMITS.piece_bytes

    def test_many_lines_are_written_at_once(self) -> None:
        written: list[str] = []
        LogWriter(written.append, "a | ").feed(b"1\n2\n3\n")
        assert written == ["a | 1\na | 2\na | 3\n"]

    @pytest.mark.parametrize("mark", ["", "a | "])
    def test_what_does_not_follow_begins_a_line(self, mark: str) -> None:
        screen = Screen(mark)
        screen.writer.break_off()
        assert screen.text == ""
        screen.feed(b"caf\xc3")
        screen.writer.break_off()
        screen.writer.break_off()
        assert screen.feed(b"\xa9\n") == f"{mark}caf\\xc3\n{mark}\\xa9\n"
        screen.writer.break_off()
        assert screen.feed(b"x\n").endswith(f"\\xa9\n{mark}x\n")


HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"\n", b"\xe2\x82", b"\xac", b"\x1b]0;t\x07", "\u202e\u2066".encode()]),
        st.integers(0, 0x2069).map(lambda number: chr(number).encode("utf-8", "surrogatepass")),
    )
)
C0_BUT_TAB_AND_LF = {*map(chr, range(0x20)), "\x7f"} - {"\t", "\n"}
C1 = set(map(chr, range(0x80, 0xA0)))
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NO_LINE_FEED = {"\u2028", "\u2029", *map(chr, range(0xD800, 0xE000))}


@given(HOSTILE, st.integers(1, 12))
def test_how_it_is_cut_makes_no_difference_and_nothing_steers_a_terminal(
    parts: list[bytes], longest: int
) -> None:
    for mark in ("", "a | "):
        whole, cut = Screen(mark, longest=longest), Screen(mark, longest=longest)
        whole.feed(b"".join(parts))
        cut.feed(*parts)
        assert len(cut.writer._line) <= longest
        whole.writer.flush()
        cut.writer.flush()
        assert whole.text == cut.text
        assert not {*whole.text} & (C0_BUT_TAB_AND_LF | C1 | BIDI | NO_LINE_FEED)
        whole.text.encode("utf-8")
        if mark:
            assert all(line.startswith(mark) for line in whole.text.splitlines())


def test_columns() -> None:
    assert columns(["a", "long name"], ["first", "second"]) == [
        "  a          first",
        "  long name  second",
    ]
