"""Following logs until Ctrl-C, over the loss of the connection and the end of the daemon."""

from __future__ import annotations

import pytest
from fakes.fakelog import FakeLog
from fakes.terminal import Terminal
from twisted.internet.defer import Deferred

from supervisortw.client.commands import run
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.limits import LIMITS
from supervisortw.errors import BadRequest, Refused, TimedOut, Unreachable

A, B = "/run/a", "/run/b"
LINES = b"".join(b"line %d\n" % number for number in range(100))
LOST = "the connection to supervisord was lost; trying again"


@pytest.fixture
def one() -> Terminal:
    terminal = Terminal(A)
    terminal.daemon().write("web", LINES)
    return terminal


def log_of(terminal: Terminal, path: str = A) -> FakeLog:
    return terminal.daemon(path).programs["web"].log


class TestFollow:
    def test_what_is_written_from_now_on(self, one: Terminal) -> None:
        following = one.begin("tail -f -1 web")
        assert one.desk.printed() == ["line 99"]
        one.daemon().write("web", b"more\nand hal")
        one.daemon().write("web", b"f\n")
        assert one.desk.out == "more\nand half\n"
        assert not following.done
        assert one.session().following == 1

    def test_from_some_bytes_on(self, one: Terminal) -> None:
        one.begin("tail -f -c 3 web")
        one.daemon().write("web", b"more\n")
        assert one.desk.out == "99\nmore\n"

    def test_nothing_is_lost_between_the_tail_and_the_first_piece(self, one: Terminal) -> None:
        one.run("list")
        one.desk.printed()
        follow = one.session().follow

        async def slow_follow(*arguments: object, **keywords: object) -> object:
            one.daemon().write("web", b"in between\n")
            return await follow(*arguments, **keywords)  # type: ignore[arg-type]

        one.session().follow = slow_follow  # type: ignore[method-assign,assignment]
        one.begin("tail -f -1 web")
        assert one.desk.printed() == ["line 99", "in between"]

    def test_what_is_there_already_may_be_long(self, one: Terminal) -> None:
        one.daemon().write("api", b"x" * (3 * LIMITS.piece_bytes))
        one.begin("tail -f api")
        assert one.desk.out == "x" * (3 * LIMITS.piece_bytes)

    def test_what_is_gone_is_told(self, one: Terminal) -> None:
        one.begin("tail -f -1 web")
        one.desk.printed()
        log = log_of(one)
        log.data += b"unseen\n"
        log.clear()
        log.write(b"anew\n")
        assert one.desk.printed() == ["anew"]
        assert one.desk.complaints() == ["-- 7 bytes of the log are gone --"]

    def test_what_follows_a_gap_begins_a_line(self, one: Terminal) -> None:
        one.begin("tail -f -0 web")
        one.daemon().write("web", b"half a li")
        log = log_of(one)
        log.data += b"ne\n"
        log.clear()
        log.write(b"anew\n")
        assert one.desk.out == "half a li\nanew\n"

    def test_another_log_is_told_and_begins_with_its_last_lines(self, one: Terminal) -> None:
        one.begin("tail -f -1 web")
        one.desk.printed()
        log_of(one).become_another("e2", b"old\n" * 20)
        one.daemon().write("web", b"new\n")
        assert one.desk.printed() == [*["old"] * LIMITS.tail_lines, "new"]
        assert one.desk.complaints() == ["-- another log begins here --"]

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
        one.session().lose()
        assert one.desk.complaints() == [f"{A}: the connection to supervisord was lost"]

    def test_interrupted_before_the_daemon_has_answered(self, one: Terminal) -> None:
        one.run("list")
        first = one.session()

        async def never(*arguments: object, **keywords: object) -> object:
            return await Deferred()  # type: ignore[var-annotated]

        first.follow = never  # type: ignore[method-assign,assignment]
        one.begin("tail -f web").cancel()
        assert first.closed  # or it might push what nobody wants
        one.run("list")
        assert one.session() is not first

    def test_a_reader_who_has_seen_enough_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.desk.broken = True
        one.daemon().write("web", b"more\n")
        with pytest.raises(BrokenPipeError):
            assert following.answer
        assert one.session().following == 0

    def test_a_program_that_is_removed_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        log = log_of(one)
        del one.daemon().programs["web"]
        log.tell()
        assert following.answer is ExitCode.REFUSED
        assert one.desk.complaints() == ["web: no such program; 'list' shows what there is"]
        assert one.session().following == 0

    def test_an_unknown_one(self, one: Terminal) -> None:
        assert one.run("tail -f wbe") is ExitCode.REFUSED
        assert one.desk.complaints() == ["wbe: no such program; did you mean web?"]


class TestLosing:
    def test_it_goes_on_where_it_was(self, one: Terminal) -> None:
        following = one.begin("tail -f -1 web")
        one.session().lose()
        assert one.desk.complaints() == [f"{A}: {LOST}"]
        one.daemon().write("web", b"meanwhile\n")
        one.pass_time(LIMITS.reconnect_seconds)
        assert one.desk.complaints() == [f"{A}: connected again"]
        one.daemon().write("web", b"after\n")
        assert one.desk.printed() == ["line 99", "meanwhile", "after"]
        assert one.session().following == 1
        assert not following.done

    def test_in_the_middle_of_a_line_and_of_a_character(self, one: Terminal) -> None:
        one.begin("tail -f -0 web")
        one.daemon().write("web", b"price: \xe2\x82")
        one.session().lose()
        one.daemon().write("web", b"\xac 5\n")
        one.pass_time(1)
        assert one.desk.out == "price: € 5\n"

    def test_it_tries_for_ever_and_says_so_once(self, one: Terminal) -> None:
        tried: list[float] = []
        connect = one.network.connect
        following = one.begin("tail -f web")

        async def counted(address: object) -> object:
            tried.append(one.clock.seconds())
            return await connect(address)  # type: ignore[arg-type]

        one.desk.hosts._connect = counted  # type: ignore[assignment]
        one.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        one.session().lose()
        one.pass_time(3600)
        assert tried[:7] == pytest.approx([0.2, 0.6, 1.4, 3.0, 6.2, 11.2, 16.2])
        assert len(tried) > 700
        assert one.desk.complaints() == [f"{A}: {LOST}"]
        assert not following.done

    def test_a_daemon_that_does_not_answer_is_tried_again(self, one: Terminal) -> None:
        one.begin("tail -f web")
        one.network.refusals[A] = TimedOut("/run/a: no answer in 10 seconds")
        one.session().lose()
        one.pass_time(60)
        del one.network.refusals[A]
        one.pass_time(5)
        assert one.desk.complaints() == [f"{A}: {LOST}", f"{A}: connected again"]

    def test_every_loss_is_told_and_begins_with_a_short_pause(self, one: Terminal) -> None:
        one.begin("tail -f web")
        for _ in range(5):
            one.session().lose()
            one.pass_time(LIMITS.reconnect_seconds)
            assert one.desk.complaints() == [f"{A}: {LOST}", f"{A}: connected again"]

    def test_a_session_that_answers_no_more_is_left(self, one: Terminal) -> None:
        one.run("list")
        silent = one.session()
        silent.failure = TimedOut("/run/a: the daemon does not answer")
        one.begin("tail -f web")
        assert silent.closed
        one.pass_time(1)
        assert one.desk.printed()[-1] == "line 99"

    def test_lost_before_the_first_piece_it_begins_at_the_end(self, one: Terminal) -> None:
        one.run("list")
        one.desk.printed()
        first = one.session()

        async def lost(*arguments: object) -> object:
            first.lose()
            raise Unreachable("/run/a: the daemon has closed the connection")

        first.tail = lost  # type: ignore[attr-defined]
        one.begin("tail -f -1 web")
        one.pass_time(1)
        assert one.desk.printed() == ["line 99"]
        assert one.desk.complaints() == [f"{A}: {LOST}", f"{A}: connected again"]

    def test_interrupted_while_it_tries(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        one.session().lose()
        one.pass_time(7)
        following.cancel()
        assert following.done
        assert one.clock.getDelayedCalls() == []

    def test_what_cannot_get_better_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.network.refusals[A] = BadRequest("/run/a: that daemon speaks version 2")
        one.session().lose()
        one.pass_time(1)
        assert following.answer is ExitCode.USAGE
        assert one.desk.complaints() == [f"{A}: {LOST}", "/run/a: that daemon speaks version 2"]

    def test_a_program_that_was_removed_meanwhile_ends_it(self, one: Terminal) -> None:
        following = one.begin("tail -f web")
        one.session().lose()
        del one.daemon().programs["web"]
        one.pass_time(1)
        assert following.answer is ExitCode.REFUSED
        assert one.desk.complaints()[-1] == "web: no such program; 'list' shows what there is"

    def test_a_daemon_that_was_never_there_is_not_waited_for(self, one: Terminal) -> None:
        one.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        assert one.run("tail -f web") is ExitCode.UNREACHABLE
        assert one.desk.complaints() == ["/run/a: nobody listens there"]


class TestAfterALoss:
    """What has become of the log meanwhile."""

    def _meanwhile(self, one: Terminal) -> FakeLog:
        one.begin("tail -f -1 web")
        one.session().lose()
        one.desk.printed()
        one.desk.complaints()
        return log_of(one)

    def test_what_was_rotated_away_is_told(self, one: Terminal) -> None:
        log = self._meanwhile(one)
        log.write(b"unseen\n")
        log.clear()
        log.write(b"anew\n")
        one.pass_time(1)
        assert one.desk.complaints()[1:] == ["-- 7 bytes of the log are gone --"]
        assert one.desk.printed() == ["anew"]

    def test_a_daemon_that_was_restarted_is_told(self, one: Terminal) -> None:
        log = self._meanwhile(one)
        log.become_another("e2", LINES)
        one.pass_time(1)
        log.write(b"more\n")
        assert one.desk.complaints()[1:] == [
            "-- supervisord was restarted: going on with the last lines --"
        ]
        assert one.desk.printed() == [*(f"line {number}" for number in range(85, 100)), "more"]

    def test_also_if_its_log_is_empty(self, one: Terminal) -> None:
        log = self._meanwhile(one)
        log.become_another("e2")
        one.pass_time(1)
        assert len(one.desk.complaints()) == 2
        log.write(b"first\n")
        assert one.desk.printed() == ["first"]

    def test_a_change_of_the_log_later_on_is_another_thing(self, one: Terminal) -> None:
        log = self._meanwhile(one)
        one.pass_time(1)
        log.become_another("e2", b"other\n")
        assert one.desk.complaints()[1:] == ["-- another log begins here --"]

    def test_a_log_that_somebody_has_cut_is_told(self, one: Terminal) -> None:
        log = self._meanwhile(one)
        log.data = b"after it was cut\n"
        one.pass_time(1)
        assert one.desk.complaints()[1:] == ["-- the log was cut: going on with the last lines --"]
        assert one.desk.printed() == ["after it was cut"]


class TestSeveral:
    @pytest.fixture
    def web(self) -> Terminal:
        return Terminal(A, names=("web:web_0", "web:web_1", "db"))

    def test_side_by_side(self, web: Terminal) -> None:
        web.begin("tail -f web:* db")
        web.daemon().write("web:web_1", b"one\nhal")
        web.daemon().write("db", b"two\n")
        web.daemon().write("web:web_1", b"f\n")
        assert web.desk.printed() == ["web:web_1 | one", "db | two", "web:web_1 | half"]

    def test_all_of_them_go_on_after_a_loss(self, web: Terminal) -> None:
        web.begin("tail -f web:*")
        web.session().lose()
        web.daemon().write("web:web_0", b"one\n")
        web.daemon().write("web:web_1", b"two\n")
        web.pass_time(1)
        assert web.desk.printed() == ["web:web_0 | one", "web:web_1 | two"]
        assert web.desk.complaints() == [f"{A}: {LOST}", f"{A}: connected again"]

    def test_a_gap_says_whose_it_is(self, web: Terminal) -> None:
        web.begin("tail -f web:*")
        log = web.daemon().programs["web:web_1"].log
        log.data += b"unseen\n"
        log.clear()
        assert web.desk.complaints() == ["web:web_1 | -- 7 bytes of the log are gone --"]

    def test_it_goes_on_with_the_others_until_none_is_left(self, web: Terminal) -> None:
        following = web.begin("tail -f web:*")
        for name in ("web:web_0", "web:web_1"):
            assert not following.done
            web.daemon().programs.pop(name).log.tell()
        assert following.answer is ExitCode.REFUSED
        assert len(web.desk.complaints()) == 2

    def test_no_more_than_one_session_may_follow(self) -> None:
        most = LIMITS.subscriptions_per_session
        many = Terminal(A, names=[f"p{number}" for number in range(most + 1)])
        assert many.run("tail -f all") is ExitCode.REFUSED
        assert many.desk.complaints() == [
            f"{most + 1} logs are meant; at most {most} can be followed at a time"
        ]
        del many.daemon().programs["p0"]
        assert not many.begin("tail -f all").done
        assert many.session().following == most

    def test_what_is_left_of_a_line_is_shown_in_the_end(self, web: Terminal) -> None:
        following = web.begin("tail -f web:*")
        web.daemon().write("web:web_0", b"half")
        assert web.desk.printed() == []
        following.cancel()
        assert web.desk.printed() == ["web:web_0 | half"]


class TestSeveralDaemons:
    @pytest.fixture
    def two(self) -> Terminal:
        return Terminal(A, B)

    def test_each_is_lost_and_found_on_its_own(self, two: Terminal) -> None:
        following = two.begin("tail -f web")
        two.daemon(A).write("web", b"one\n")
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        two.session(A).lose()
        two.daemon(A).write("web", b"meanwhile\n")
        two.daemon(B).write("web", b"two\n")
        two.pass_time(10)
        assert two.desk.printed() == ["/run/a:web | one", "/run/b:web | two"]
        assert two.desk.complaints() == [f"{A}: {LOST}"]
        del two.network.refusals[A]
        two.pass_time(5)
        assert two.desk.printed() == ["/run/a:web | meanwhile"]
        assert two.desk.complaints() == [f"{A}: connected again"]
        assert not following.done

    def test_one_that_cannot_be_reached_does_not_keep_it_from_the_other(
        self, two: Terminal
    ) -> None:
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        two.begin("tail -f web")
        assert two.desk.complaints() == ["/run/a: nobody listens there"]
        two.daemon(B).write("web", b"two\n")
        assert two.desk.printed() == ["/run/b:web | two"]

    def test_the_exit_code_tells_of_it_in_the_end(self, two: Terminal) -> None:
        codes: list[ExitCode] = []
        two.network.refusals[A] = Unreachable("/run/a: nobody listens there")
        waiting = Deferred.fromCoroutine(run(two.desk, ["tail", "-f", "web"]))
        waiting.addCallback(codes.append)
        waiting.cancel()
        assert codes == [ExitCode.UNREACHABLE]

    def test_one_that_refuses_does_not_keep_it_from_the_other(self, two: Terminal) -> None:
        del two.daemon(A).programs["web"]
        codes: list[ExitCode] = []
        waiting = Deferred.fromCoroutine(run(two.desk, ["tail", "-f", "web"]))
        waiting.addCallback(codes.append)
        assert two.desk.complaints() == [
            "/run/a | web: no such program; 'list' shows what there is"
        ]
        two.daemon(B).write("web", b"two\n")
        assert two.desk.printed() == ["/run/b:web | two"]
        waiting.cancel()
        assert codes == [ExitCode.REFUSED]

    def test_a_reader_who_has_seen_enough_ends_all(self, two: Terminal) -> None:
        following = two.begin("tail -f web")
        two.desk.broken = True
        two.daemon(B).write("web", b"more\n")
        with pytest.raises(BrokenPipeError):
            assert following.answer
        assert two.session(A).following == two.session(B).following == 0

    def test_a_refusal_of_something_else_is_no_loss(self, two: Terminal) -> None:
        two.run("list")
        two.session(A).failure = Refused("supervisord is busy")
        two.begin("tail -f web")
        assert two.desk.complaints() == ["/run/a | supervisord is busy"]
