"""Showing the end of logs: of one, of several, of several daemons."""

from __future__ import annotations

import pytest
from fakes.logged import log_lines
from fakes.terminal import Terminal

from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.limits import LIMITS
from supervisortw.errors import Refused, Unreachable

A, B = "/run/a", "/run/b"
LINES = b"".join(b"line %d\n" % number for number in range(100))


@pytest.fixture
def one() -> Terminal:
    terminal = Terminal(A)
    terminal.daemon().write("web", LINES)
    terminal.daemon().write(None, b"supervisord started\nweb: started\n")
    return terminal


class TestTail:
    def test_the_last_lines(self, one: Terminal) -> None:
        assert one.run("tail web") is ExitCode.OK
        assert one.desk.printed() == [f"line {number}" for number in range(85, 100)]
        assert one.daemon().asked == [("tail", "web", 15)]

    def test_as_many_as_are_asked_for(self, one: Terminal) -> None:
        one.run("tail -2 web")
        assert one.desk.out == "line 98\nline 99\n"

    def test_half_a_line_and_bytes_that_are_no_text(self, one: Terminal) -> None:
        one.daemon().write("api", b"\x1b[2J\xff half \xc3")
        one.run("tail api")
        assert one.desk.out == "\\x1b[2J\\xff half \\xc3"

    def test_as_many_bytes_as_are_asked_for(self, one: Terminal) -> None:
        one.run("tail -c 10 web")
        assert one.desk.out == "8\nline 99\n"

    def test_more_bytes_than_there_are(self, one: Terminal) -> None:
        one.daemon().write("api", b"gone\n")
        one.daemon().write("api", None)
        one.daemon().write("api", b"all of it\n")
        assert one.run("tail -c 5M api") is ExitCode.OK
        assert one.desk.out == "all of it\n"
        assert one.desk.complaints() == []

    def test_what_does_not_fit_into_one_piece(self, one: Terminal) -> None:
        text = b"x" * (3 * LIMITS.piece_bytes) + b"\n"
        one.daemon().write("api", text)
        one.run("tail -1 api")
        assert one.desk.out == text.decode()

    def test_what_is_written_meanwhile_is_not_waited_for(self, one: Terminal) -> None:
        read_log = one.daemon().read_log

        async def read_a_chatty_log(*arguments: object) -> object:
            one.daemon().write("api", b"y" * LIMITS.piece_bytes)
            return await read_log(*arguments)  # type: ignore[arg-type]

        one.daemon().write("api", b"x" * (3 * LIMITS.piece_bytes))
        one.daemon().read_log = read_a_chatty_log  # type: ignore[method-assign,assignment]
        assert one.run("tail -1 api") is ExitCode.OK
        assert one.desk.out == "x" * (3 * LIMITS.piece_bytes)

    @pytest.mark.parametrize("line", ["tail", "tail -f", "tail -x web", "tail -c web", "tail -n"])
    def test_called_in_another_way(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        usage = "usage: tail [-f] [-n N] NAME ... [stderr]"
        assert one.desk.complaints()[-1] == usage
        assert one.daemon().asked == []

    def test_of_an_unknown_one(self, one: Terminal) -> None:
        assert one.run("tail wbe") is ExitCode.REFUSED
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]

    def test_a_reader_who_has_seen_enough_is_left_in_peace(self, one: Terminal) -> None:
        one.desk.broken = True
        with log_lines() as lines, pytest.raises(BrokenPipeError):
            one.run("tail web")
        assert lines == []


class TestSeveral:
    @pytest.fixture
    def web(self) -> Terminal:
        terminal = Terminal(A, names=("db", "web:web_0", "web:web_1"))
        terminal.daemon().write("web:web_0", b"one\ntwo\n")
        terminal.daemon().write("web:web_1", b"three\n")
        terminal.daemon().write("db", b"half")
        return terminal

    def test_each_line_says_where_it_is_from(self, web: Terminal) -> None:
        assert web.run("tail web:* db") is ExitCode.OK
        assert web.desk.printed() == [
            "web:web_0 | one",
            "web:web_0 | two",
            "web:web_1 | three",
            "db | half",
        ]

    def test_as_much_of_each(self, web: Terminal) -> None:
        web.run("tail -n 1 all")
        assert web.desk.printed() == ["db | half", "web:web_0 | two", "web:web_1 | three"]

    def test_a_group_of_one_is_one(self, web: Terminal) -> None:
        assert web.run("tail db:*") is ExitCode.OK
        assert web.desk.out == "half"

    def test_a_name_that_nothing_has_does_not_keep_it_from_the_others(self, web: Terminal) -> None:
        assert web.run("tail web_2 db") is ExitCode.SOME_FAILED
        assert web.desk.out == "half"
        assert web.desk.complaints() == ["web_2: no such program; did you mean web?"]

    def test_those_for_errors(self, web: Terminal) -> None:
        assert web.run("tail web:* stderr") is ExitCode.REFUSED
        assert [asked[1] for asked in web.daemon().asked[1:]] == [
            "web:web_0/stderr",
            "web:web_1/stderr",
        ]

    def test_one_that_is_refused_does_not_keep_it_from_the_others(self, web: Terminal) -> None:
        tail = web.daemon().tail

        async def tail_but_not_all(name: str | None, lines: int) -> object:
            if name == "web:web_0":
                raise Refused("web:web_0: its output goes to nowhere and is not kept")
            return await tail(name, lines)

        web.daemon().tail = tail_but_not_all  # type: ignore[method-assign,assignment]
        assert web.run("tail web:*") is ExitCode.REFUSED
        assert web.desk.printed() == ["web:web_1 | three"]

    def test_of_several_daemons_each_line_says_both(self) -> None:
        two = Terminal(A, B, names=("web:web_0", "web:web_1"))
        two.daemon(A).write("web:web_0", b"one\n")
        two.daemon(B).write("web:web_1", b"two\n")
        two.run("tail web:*")
        assert two.desk.printed() == ["/run/a:web:web_0 | one", "/run/b:web:web_1 | two"]

    def test_a_daemon_that_is_lost_on_the_way(self, web: Terminal) -> None:
        async def lost(*arguments: object) -> object:
            web.session().lose()
            raise Unreachable("/run/a: the daemon has closed the connection")

        web.daemon().tail = lost  # type: ignore[method-assign,assignment]
        assert web.run("tail web:*") is ExitCode.UNREACHABLE
        assert web.desk.complaints() == [
            "/run/a: the connection to supervisord was lost",
            "/run/a: the daemon has closed the connection",
        ]


class TestLogtail:
    @pytest.mark.parametrize(
        "line", ["logtail 1", "logtail -1", "logtail -n 1", "logtail -n1", "logtail -c 13"]
    )
    def test_the_last_lines_of_the_daemons_own(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.OK
        assert one.desk.printed() == ["web: started"]
        assert one.daemon().asked == [("tail", None, 0 if "-c" in line else 1)]

    @pytest.mark.parametrize("line", ["logtail web", "logtail 1 2", "logtail ²", "logtail -f 1 2"])
    def test_it_takes_a_number(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        assert one.desk.complaints()[0] == "logtail takes a number of lines"

    def test_several_daemons(self) -> None:
        two = Terminal(A, B)
        two.daemon(A).write(None, b"started\n")
        assert two.run("logtail") is ExitCode.OK
        assert two.desk.printed() == ["/run/a | started"]

    def test_it_can_be_followed(self, one: Terminal) -> None:
        following = one.begin("logtail -f 1")
        one.daemon().write(None, b"api: started\n")
        assert one.desk.printed() == ["web: started", "api: started"]
        following.cancel()
