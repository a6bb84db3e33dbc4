"""Showing logs, and following them until Ctrl-C, the end of the connection, or of the reader."""

from __future__ import annotations

import pytest
from fakes.logged import log_lines
from fakes.terminal import Terminal
from twisted.internet.defer import Deferred

from supervisortw.client.command import UsageError
from supervisortw.client.commands import run
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.logs import tail_arguments
from supervisortw.core.limits import LIMITS
from supervisortw.errors import Unreachable

A, B = "/run/a", "/run/b"
LINES = b"".join(b"line %d\n" % number for number in range(100))


@pytest.fixture
def one() -> Terminal:
    terminal = Terminal(A)
    terminal.daemon().write("web", LINES)
    terminal.daemon().write(None, b"supervisord started\nweb: started\n")
    return terminal


class TestArguments:
    @pytest.mark.parametrize(
        ("words", "follow", "lines", "names"),
        [
            ([], False, LIMITS.tail_lines, []),
            (["web"], False, LIMITS.tail_lines, ["web"]),
            (["-f", "web"], True, LIMITS.tail_lines, ["web"]),
            (["web", "-3", "-f"], True, 3, ["web"]),
            (["-0", "web"], False, 0, ["web"]),
            (["-1", "-2", "a", "b"], False, 2, ["a", "b"]),
        ],
    )
    def test_in_any_order(
        self, words: list[str], follow: bool, lines: int, names: list[str]
    ) -> None:
        assert tail_arguments(words) == (follow, lines, names)

    @pytest.mark.parametrize(
        "word", ["-x", "-", "--", "-f1", "--follow", "-1x", "-²", "-\x1b", "-" + "9" * 19]
    )
    def test_anything_else_with_a_dash_is_no_option(self, word: str) -> None:
        with pytest.raises(UsageError, match="unknown option: -") as caught:
            tail_arguments([word, "web"])
        assert str(caught.value).isprintable()


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

    @pytest.mark.parametrize("line", ["tail", "tail web api", "tail -f", "tail -x web"])
    def test_of_one_program(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        assert one.desk.complaints()[-1] == "usage: tail [-f] [-N] NAME [stderr]"
        assert one.daemon().asked == []

    def test_of_an_unknown_one(self, one: Terminal) -> None:
        assert one.run("tail wbe") is ExitCode.REFUSED
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]

    def test_a_reader_who_has_seen_enough_is_left_in_peace(self, one: Terminal) -> None:
        one.desk.broken = True
        with log_lines() as lines, pytest.raises(BrokenPipeError):
            one.run("tail web")
        assert lines == []


class TestLogtail:
    @pytest.mark.parametrize("line", ["logtail 1", "logtail -1"])
    def test_the_last_lines_of_the_daemons_own(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.OK
        assert one.desk.printed() == ["web: started"]
        assert one.daemon().asked == [("tail", None, 1)]

    @pytest.mark.parametrize("line", ["logtail web", "logtail 1 2", "logtail ²", "logtail -f 1 2"])
    def test_it_takes_a_number(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        assert one.desk.complaints()[0] == "logtail takes a number of lines"

    def test_it_can_be_followed(self, one: Terminal) -> None:
        following = one.begin("logtail -f 1")
        one.daemon().write(None, b"api: started\n")
        assert one.desk.printed() == ["web: started", "api: started"]
        following.cancel()


class TestFollow:
    def test_what_is_written_from_now_on(self, one: Terminal) -> None:
        following = one.begin("tail -f -1 web")
        assert one.desk.printed() == ["line 99"]
        one.daemon().write("web", b"more\nand hal")
        one.daemon().write("web", b"f\n")
        assert one.desk.out == "more\nand half\n"
        assert not following.done
        assert one.session().following == 1

    def test_nothing_is_lost_between_the_tail_and_the_first_piece(self, one: Terminal) -> None:
        one.run("list")
        one.desk.printed()
        follow = one.session().follow

        async def slow_follow(*arguments: object) -> object:
            one.daemon().write("web", b"in between\n")
            return await follow(*arguments)  # type: ignore[arg-type]

        one.session().follow = slow_follow  # type: ignore[method-assign,assignment]
        one.begin("tail -f -1 web")
        assert one.desk.printed() == ["line 99", "in between"]

    def test_what_is_gone_is_told(self, one: Terminal) -> None:
        one.begin("tail -f -1 web")
        one.desk.printed()
        log = one.daemon().programs["web"].log
        log.data += b"unseen\n"
        log.clear()
        log.write(b"anew\n")
        assert one.desk.printed() == ["anew"]
        assert one.desk.complaints() == ["-- 7 bytes of the log are gone --"]

    def test_interrupted_it_stops_at_the_daemon_too(self, one: Terminal) -> None:
        codes: list[ExitCode] = []
        waiting = Deferred.fromCoroutine(run(one.desk, ["tail", "-f", "web"]))
        waiting.addCallback(codes.append)
        assert one.session().following == 1
        waiting.cancel()
        assert codes == [ExitCode.OK]
        assert one.session().following == 0
        one.desk.printed()
        one.daemon().write("web", b"unseen\n")
        assert one.desk.printed() == []

    def test_a_lost_connection_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.session().lose()
        assert following.answer is ExitCode.UNREACHABLE
        assert one.desk.complaints() == ["/run/a: the connection to supervisord was lost"]

    def test_a_reader_who_has_seen_enough_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.desk.broken = True
        one.daemon().write("web", b"more\n")
        with pytest.raises(BrokenPipeError):
            assert following.answer

    def test_two_daemons_are_followed_side_by_side_until_both_are_lost(self) -> None:
        two = Terminal(A, B)
        following = two.begin("tail -f web")
        two.daemon(A).write("web", b"one\nhal")
        two.daemon(B).write("web", b"two\n")
        two.daemon(A).write("web", b"f\n")
        assert two.desk.printed() == ["/run/a:web | one", "/run/b:web | two", "/run/a:web | half"]
        two.session(A).lose()
        assert not following.done
        two.daemon(B).write("web", b"still there\n")
        assert two.desk.printed() == ["/run/b:web | still there"]
        two.session(B).lose()
        assert following.answer is ExitCode.UNREACHABLE

    def test_one_that_cannot_be_reached_does_not_keep_it_from_the_other(self) -> None:
        two = Terminal(A, B)
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        following = two.begin("tail -f web")
        assert two.desk.complaints() == ["/run/a: nobody listens there"]
        two.daemon(B).write("web", b"two\n")
        assert two.desk.printed() == ["/run/b:web | two"]
        two.session(B).lose()
        assert following.answer is ExitCode.UNREACHABLE

    def test_what_is_left_of_a_line_is_shown_in_the_end(self) -> None:
        two = Terminal(A, B)
        two.begin("tail -f web")
        two.daemon(A).write("web", b"half")
        assert two.desk.printed() == []
        two.session(A).lose()
        two.session(B).lose()
        assert two.desk.printed() == ["/run/a:web | half"]
