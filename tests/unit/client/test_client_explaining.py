"""`why`, for people and as JSON, and `status --json`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.terminal import Terminal

from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.explaining import why_lines
from supervisortw.core.ended import Ended
from supervisortw.core.exits import Exit, Oom
from supervisortw.core.limits import LIMITS
from supervisortw.core.states import State
from supervisortw.core.status import ProgramStatus, Why
from supervisortw.errors import Unreachable

A, B = "/run/a", "/run/b"
OK, FAILED, USAGE = ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.USAGE
CODE_3 = Exit(
    when=1_700_000_000.5, ended=Ended(code=3, signal=None, core=False, uptime=0.25), expected=False
)
STATUS = ProgramStatus(
    name="web",
    program="web",
    group="web",
    state=State.FATAL,
    wanted=True,
    pid=0,
    since=185.0,
    restarts=2,
    detail="given up",
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def one() -> Terminal:
    return Terminal(A)


def why(*exits: Exit, cause: str = "web is FATAL: it is broken", **keys: Any) -> Why:
    own = {"next_try": None, "tries_left": 0, "restarts_left": None, "log": "web", **keys}
    return Why(status=STATUS, cause=cause, waits_for=(), exits=exits, **own)


def end(signal: int | None, uptime: float, *, core: bool = False, **keys: Any) -> Exit:
    ended = Ended(code=None, signal=signal, core=core, uptime=uptime)
    return Exit(**{"when": 1_700_000_000.5, "expected": False, **keys}, ended=ended)


def document(terminal: Terminal, line: str, code: ExitCode = OK) -> Any:
    assert terminal.run(line) is code
    found = json.loads(terminal.desk.out)
    terminal.desk.out = ""
    return found


class TestText:
    def test_the_cause_then_the_ends_then_the_output(self) -> None:
        lines = why_lines(
            why(
                CODE_3,
                end(11, 60.0, core=True),
                end(9, 100_000.0, oom=Oom.YES),
                end(9, 7.0, oom=Oom.PERHAPS),
                end(15, 7.0, expected=True, stopped_by="supervisord: not ready"),
                end(None, 7.0),
                log="web/stderr",
                restarts_left=1,
            ),
            b"boom\nbang\n",
        )
        assert lines == [
            "web is FATAL: it is broken",
            "down for 3:05, wanted up, restarts: 2, tries left: 0, restarts left: 1",
            "",
            "WHEN            END                AFTER         EXPECTED  STOPPED BY",
            "11-14 22:13:20  code 3             0.2 s         no        -",
            "11-14 22:13:20  SIGSEGV (core)     1:00          no        -",
            "11-14 22:13:20  SIGKILL (memory)   1 d 03:46:40  no        -",
            "11-14 22:13:20  SIGKILL (memory?)  7.0 s         no        -",
            "11-14 22:13:20  SIGTERM            7.0 s         yes       supervisord: not ready",
            "11-14 22:13:20  unknown            7.0 s         no        -",
            "",
            "last lines of web/stderr:",
            "  boom",
            "  bang",
        ]
        assert max(map(len, lines)) <= 81

    def test_what_is_not_there_is_not_shown(self) -> None:
        assert why_lines(why(tries_left=None), b"") == [
            "web is FATAL: it is broken",
            "down for 3:05, wanted up, restarts: 2",
        ]

    def test_nothing_steers_the_terminal_or_forges_a_line(self) -> None:
        lines = why_lines(
            why(end(15, 1.0, stopped_by="\x1b[2Jme\nand you"), cause="web is\n\x1b[31mred"),
            b"\x1b]0;title\x07\r\xff\n\xe2\x80\xaehidden\ttab",
        )
        assert lines[0] == "web is\\n\\x1b[31mred"
        assert lines[4].endswith("\\x1b[2Jme\\nand you")
        assert lines[-2:] == ["  \\x1b]0;title\\x07\\x0d\\xff", "  \\u202ehidden\ttab"]

    @pytest.mark.parametrize("when", [1e300, float("1e18")])
    def test_a_time_that_is_none_harms_nobody(self, when: float) -> None:
        assert why_lines(why(end(9, 1.0, when=when)), b"")[-1].startswith("?  ")


class TestWhy:
    def test_one_program(self, one: Terminal) -> None:
        one.daemon().programs["web"].exits.append(CODE_3)
        one.daemon().write("web", b"".join(b"line %d\n" % number for number in range(99)))
        assert one.run("why web") is OK
        lines = one.desk.printed()
        assert lines[0] == "web is STOPPED: not started"
        assert lines[-LIMITS.why_lines - 1] == "last lines of web:"
        assert lines[-1] == "  line 98"

    def test_several_are_told_one_below_the_other(self, one: Terminal) -> None:
        assert one.run("why web db") is OK
        lines = one.desk.printed()
        assert lines[0] == "web is STOPPED: not started"
        assert lines[2:4] == ["", "db is STOPPED: not started"]

    def test_a_word_for_several_gives_a_line_for_each(self, one: Terminal) -> None:
        assert one.run("why all") is OK
        assert one.desk.printed() == [
            f"{name} is STOPPED: not started" for name in ("web", "api", "db")
        ]
        assert not any(each[0] == "tail" for each in one.daemon().asked)

    def test_names_are_needed(self, one: Terminal) -> None:
        assert one.run("why") is USAGE
        assert one.desk.complaints()[0].startswith("why what?")

    def test_an_unknown_name(self, one: Terminal) -> None:
        assert one.run("why wbe") is FAILED
        assert one.desk.printed() == []
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]

    def test_output_that_nobody_kept_is_left_out(self, one: Terminal) -> None:
        one.daemon().programs["db"].unread = True
        assert one.run("why db") is OK
        assert "last lines" not in "".join(one.desk.printed())
        assert one.desk.complaints() == []

    def test_only_so_much_of_the_output(self, one: Terminal) -> None:
        one.daemon().write("web", b"x" * 100_000)
        one.run("why web")
        assert one.desk.printed()[-1] == "  " + "x" * LIMITS.why_bytes

    def test_the_daemon_is_asked_in_portions(self) -> None:
        names = [f"p{number}" for number in range(2 * LIMITS.explained_at_once + 1)]
        many = Terminal(A, names=names)
        assert many.run("why all") is OK
        assert many.desk.printed() == [f"{name} is STOPPED: not started" for name in names]
        asked = [len(each) - 1 for each in many.daemon().asked if each[0] == "why"]
        assert asked == [LIMITS.explained_at_once, LIMITS.explained_at_once, 1]

    def test_a_process_that_is_called_like_its_group(self) -> None:
        terminal = Terminal(A, names=["web", "web:api"])
        assert terminal.run("why web:web") is OK
        assert terminal.desk.printed()[0] == "web is STOPPED: not started"
        assert ("why", "web:web") in terminal.daemon().asked

    def test_several_daemons(self) -> None:
        two = Terminal(A, B, names=["web"])
        assert two.run("why web") is OK
        assert [line for line in two.desk.printed() if "STOPPED" in line] == [
            "/run/a | web is STOPPED: not started",
            "/run/b | web is STOPPED: not started",
        ]

    def test_as_json(self, one: Terminal) -> None:
        one.daemon().write("web", b"one\ntwo\xff\n")
        [host] = document(one, "why --json web")["hosts"]
        [program] = host["programs"]
        assert program["output"] == ["one", "two\\xff"]
        assert program["cause"] == "web is STOPPED: not started"


class TestStatusAsJson:
    def test_it_is_one_document_in_a_form_that_stays(self, one: Terminal) -> None:
        one.run("start web")
        one.run("stop web")
        one.desk.printed()
        assert document(one, "status --json web") == {
            "version": 1,
            "hosts": [
                {
                    "host": A,
                    "daemon": {
                        "version": "1.2.3",
                        "pid": 4000,
                        "sockets": ["/run/test.sock"],
                        "source": "/etc/test.conf",
                        "uptime": 60.0,
                        "shutting_down": False,
                        "notes": [],
                    },
                    "programs": [
                        {
                            "name": "web",
                            "program": "web",
                            "group": "web",
                            "state": "STOPPED",
                            "wanted": False,
                            "pid": 0,
                            "since": 5.0,
                            "restarts": 0,
                            "detail": "stopped; ended by SIGTERM after 1.0 s",
                            "cause": "web is STOPPED: stopped; ended by SIGTERM after 1.0 s",
                            "waits_for": [],
                            "next_try": None,
                            "tries_left": 3,
                            "restarts_left": None,
                            "exits": [
                                {
                                    "when": 1e9,
                                    "code": None,
                                    "signal": 15,
                                    "core": False,
                                    "uptime": 1.0,
                                    "expected": True,
                                    "oom": "no",
                                    "stopped_by": "root",
                                }
                            ],
                            "log": "web",
                        }
                    ],
                    "unknown": [],
                }
            ],
        }

    def test_without_names_all_programs(self, one: Terminal) -> None:
        [host] = document(one, "status --json")["hosts"]
        assert [each["name"] for each in host["programs"]] == ["web", "api", "db"]

    def test_unknown_names_are_in_it_and_a_failure(self, one: Terminal) -> None:
        [host] = document(one, "status wbe db --json", FAILED)["hosts"]
        assert [each["name"] for each in host["programs"]] == ["db"]
        assert host["unknown"] == ["wbe"]
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]

    def test_a_daemon_that_cannot_be_reached_is_in_it(self) -> None:
        two = Terminal(A, B, names=["web"])
        two.network.refusals[B] = Unreachable("/run/b: nobody listens there")
        first, second = document(two, "status --json", ExitCode.UNREACHABLE)["hosts"]
        assert (first["host"], first["programs"][0]["name"]) == (A, "web")
        assert second == {"host": B, "error": "/run/b: nobody listens there"}
        assert two.desk.complaints() == ["/run/b: nobody listens there"]

    def test_without_a_daemon_it_is_empty(self, one: Terminal) -> None:
        one.desk.hosts.close(A)
        assert document(one, "status --json", ExitCode.UNREACHABLE) == {"version": 1, "hosts": []}

    def test_it_has_nothing_that_steers_a_terminal(self, one: Terminal) -> None:
        one.daemon().programs["web"].detail = "\x1b[2J\x9b\u202e\udcff"
        [host] = document(one, "status --json web")["hosts"]
        assert host["programs"][0]["detail"] == "\x1b[2J\x9b\u202e\udcff"
        one.run("status --json web")
        assert one.desk.out.isascii()
        assert "\x1b" not in one.desk.out
