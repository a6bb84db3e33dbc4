"""From the pipe of a log to a target: whole lines, and where some are missing, it says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import pytest
from fakes.daemon import process
from fakes.logged import log_lines
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.logline import Piece
from supervisortw.core.model import LogFormat
from supervisortw.core.syslog import SyslogAddress, Transport
from supervisortw.daemon.backlog import Giver
from supervisortw.daemon.lineform import form_of, syslog_form
from supervisortw.daemon.linesink import LineSink
from supervisortw.daemon.outlet import Outlet
from supervisortw.daemon.stamps import Stamps

LOCAL = "2026-11-27 21:40:01"
UTC = "2026-11-27T21:40:01.500Z"
NOW = 1795815601.5


class FakeTarget:
    """Takes what it is given unless there is ``trouble``."""

    where = "/fifo"

    def __init__(self) -> None:
        self.trouble = ""
        self.taken = b""

    def has_room(self, giver: Giver) -> bool:
        return not self.trouble

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        self.taken += b"".join(entries)

    def open(self) -> None: ...
    def reopen(self) -> None: ...
    def forget(self, giver: Giver) -> None: ...
    def finish(self, done: Callable[[], None]) -> None: ...
    def close(self) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.target = FakeTarget()
        self.outlet = Outlet(
            self.target,
            form_of(process("web", log_format=LogFormat.TEXT), "web", stamps()),
            self.clock,
        )
        self.sink = LineSink(self.outlet)
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)

    def say(self, data: bytes) -> None:
        os.write(self.write_end, data)
        while self.sink.take(self.read_end):
            pass

    @property
    def lines(self) -> list[str]:
        taken, self.target.taken = self.target.taken.decode(), b""
        return taken.splitlines()

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


def stamps() -> Stamps:
    return Stamps(lambda: NOW)


@pytest.fixture(autouse=True)
def _here_is_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


class TestSink:
    def test_whole_lines_go_on_at_once(self, bench: Bench) -> None:
        bench.say(b"one\ntwo\nthr")
        assert bench.lines == ["web | one", "web | two"]
        bench.say(b"ee\n")
        assert bench.lines == ["web | three"]

    def test_what_is_no_whole_line_goes_on_at_the_end(self, bench: Bench) -> None:
        bench.say(b"last words")
        assert bench.lines == []
        bench.sink.flush()
        bench.sink.flush()
        assert bench.lines == ["web | last words"]

    def test_an_empty_pipe_is_not_waited_for(self, bench: Bench) -> None:
        assert bench.sink.take(bench.read_end) == 0

    def test_a_pipe_that_nobody_can_write_to_is_told(self, bench: Bench) -> None:
        os.close(bench.write_end)
        with pytest.raises(EOFError):
            bench.sink.take(bench.read_end)
        bench.write_end = os.dup(bench.read_end)

    def test_so_much_is_read_at_once(self, bench: Bench) -> None:
        os.write(bench.write_end, b"\n" * 60_000)
        bench.outlet.form = form_of(process("web", log_format=LogFormat.JSON), "web", stamps())
        assert bench.sink.take(bench.read_end) == LIMITS.lines_read_bytes

    def test_after_the_death_of_a_daemon_something_may_be_missing(self, bench: Bench) -> None:
        bench.sink.follow_death()
        bench.say(b"one\n")
        bench.say(b"two\n")
        gap = "web ! -- supervisord: output may be missing here: supervisord died --"
        assert bench.lines == [gap, "web | one", "web | two"]


class TestLoss:
    def test_what_is_not_taken_is_counted_and_marked_where_it_is_missing(
        self, bench: Bench
    ) -> None:
        bench.say(b"one\n")
        bench.target.trouble = "nobody reads it"
        with log_lines(LogLevel.warn) as told:
            bench.say(b"lost\n")
            bench.say(b"lost, too\n")
            assert bench.outlet.note() == (
                "its output is being lost, 15 bytes so far: /fifo: nobody reads it"
            )
            bench.target.trouble = ""
            bench.clock.advance(LIMITS.log_retry_seconds)
            bench.say(b"two\n")
        assert bench.lines == [
            "web | one",
            "web ! -- supervisord: 15 bytes are missing here: nobody reads it --",
            "web | two",
        ]
        assert told == [
            "output is lost: /fifo: nobody reads it",
            "writing to /fifo again; 15 bytes were lost",
        ]
        assert bench.outlet.note() == "15 bytes of its output were lost: /fifo: nobody reads it"

    def test_when_there_is_room_again_it_is_marked_at_once(self, bench: Bench) -> None:
        bench.target.trouble = "it is not read fast enough"
        bench.say(b"lost\n")
        bench.target.trouble = ""
        bench.outlet.room()
        [mark] = bench.lines
        assert "5 bytes are missing here" in mark
        bench.say(b"two\n")
        assert bench.lines == ["web | two"]

    def test_room_without_a_loss_is_nothing_to_tell(self, bench: Bench) -> None:
        bench.outlet.room()
        assert bench.lines == []

    def test_what_the_target_had_taken_is_counted_too(self, bench: Bench) -> None:
        bench.target.trouble = "nobody reads it any more"
        bench.outlet.lost(b"web | one\n")
        assert "10 bytes so far" in bench.outlet.note()

    def test_what_waited_when_the_target_was_closed_is_told(self, bench: Bench) -> None:
        bench.outlet.lost(b"web | one\n")
        assert bench.outlet.note().endswith("/fifo: it was closed before that was read")

    def test_after_trouble_it_is_not_tried_for_a_while(self, bench: Bench) -> None:
        bench.target.trouble = "nobody reads it"
        bench.say(b"lost\n")
        bench.target.trouble = ""
        bench.say(b"lost\n")
        assert bench.lines == []
        bench.outlet.retry()
        bench.say(b"two\n")
        assert bench.lines[1:] == ["web | two"]

    def test_what_waits_and_is_not_lost_is_told_otherwise(self, bench: Bench) -> None:
        assert bench.outlet.note() == ""
        bench.target.trouble = "Connection refused"
        assert bench.outlet.note() == "its output is waiting: /fifo: Connection refused"

    def test_another_outlet_goes_on_with_what_is_to_be_told(self, bench: Bench) -> None:
        bench.target.trouble = "nobody reads it"
        bench.say(b"lost\n")
        form = form_of(process("web", log_format=LogFormat.JSON), "web", stamps())
        after = Outlet(FakeTarget(), form, bench.clock)
        after.follow(bench.outlet)
        after.room()
        assert b"5 bytes are missing" in after.target.taken  # type: ignore[attr-defined]
        assert after.target.taken.startswith(b"{")  # type: ignore[attr-defined]


class TestForms:
    @pytest.mark.parametrize(
        ("keys", "name", "expected"),
        [
            ({}, "web", "one\n"),
            ({"log_format": LogFormat.TEXT}, "web", "web | one\n"),
            ({"log_format": LogFormat.TEXT, "log_time": True}, "web", f"{LOCAL} web | one\n"),
            ({"log_format": LogFormat.TEXT, "group": "site"}, "x", "site:web | one\n"),
            (
                {"log_format": LogFormat.JSON},
                "web/stderr",
                f'{{"time": "{UTC}", "program": "web", "stream": "stderr", "line": "one"}}\n',
            ),
            (
                {"log_format": LogFormat.JSON},
                "web",
                f'{{"time": "{UTC}", "program": "web", "stream": "stdout", "line": "one"}}\n',
            ),
        ],
    )
    def test_a_line(self, keys: dict[str, object], name: str, expected: str) -> None:
        form = form_of(process("web", **keys), name, stamps())
        assert form.lines(Piece(text=b"one\n")) == (expected.encode(),)

    def test_our_own_word_among_lines_that_are_not_touched(self) -> None:
        assert form_of(process("web"), "web", stamps()).word("x") == (b"-- supervisord: x --\n",)

    @pytest.mark.parametrize(
        ("keys", "name", "expected"),
        [
            ({}, "web", [b"<30>Nov 27 21:40:01 web: one", b"<30>Nov 27 21:40:01 web: two"]),
            (
                {"syslog_tag": "tag", "syslog_facility": "local0"},
                "web/stderr",
                [b"<131>Nov 27 21:40:01 tag: one", b"<131>Nov 27 21:40:01 tag: two"],
            ),
            (
                {"syslog_address": SyslogAddress(transport=Transport.UDP, host="h")},
                "web",
                [f"<30>1 {UTC} here web - - - {text}".encode() for text in ("one", "two")],
            ),
            (
                {"syslog_address": SyslogAddress(transport=Transport.TCP, host="h")},
                "web",
                [f"49 <30>1 {UTC} here web - - - {text}".encode() for text in ("one", "two")],
            ),
        ],
    )
    def test_messages(self, keys: dict[str, object], name: str, expected: list[bytes]) -> None:
        form = syslog_form(process("web", **keys), name, "here", stamps())
        assert form.lines(Piece(text=b"one\n\ntwo\n")) == expected

    @pytest.mark.parametrize(
        ("transport", "most"),
        [(Transport.LOCAL, LIMITS.syslog_bytes), (Transport.UDP, LIMITS.syslog_udp_bytes)],
    )
    def test_no_message_is_too_long(self, transport: Transport, most: int) -> None:
        address = SyslogAddress(transport=transport, host="h")
        form = syslog_form(process("web", syslog_address=address), "web", "here", stamps())
        found = form.lines(Piece(text=b"x" * 10_000 + b"\n"))
        assert len(found) > 1
        assert max(map(len, found)) == most

    def test_json_can_go_into_messages(self) -> None:
        form = syslog_form(process("web", log_format=LogFormat.JSON), "web", "here", stamps())
        [message] = form.lines(Piece(text=b"one\n"))
        assert message.startswith(b'<30>Nov 27 21:40:01 web: {"time": ')

    def test_our_own_word_is_a_warning(self) -> None:
        form = syslog_form(process("web"), "web", "here", stamps())
        assert form.word("x") == [b"<28>Nov 27 21:40:01 web: -- supervisord: x --"]

    def test_the_time_goes_on(self) -> None:
        now = [NOW]
        clock = Stamps(lambda: now[0])
        assert clock.local() == LOCAL
        now[0] += 1
        assert (clock.local(), clock.utc()) == ("2026-11-27 21:40:02", "2026-11-27T21:40:02.500Z")
        now[0] = 0
        assert clock.old() == "Jan  1 00:00:00"
