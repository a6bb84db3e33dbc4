"""What a datagram of sd_notify(3) says."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.core.notify import Notice, parse

NAMES = [
    b"READY",
    b"STOPPING",
    b"RELOADING",
    b"STATUS",
    b"WATCHDOG",
    b"WATCHDOG_USEC",
    b"EXTEND_TIMEOUT_USEC",
    b"MAINPID",
]
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([*NAMES, b"=", b"\n", b"\r", b"\0", b"1", b"trigger", b"9" * 30]),
)
DATAGRAMS = st.lists(PIECES, max_size=30).map(b"".join)


@pytest.mark.parametrize(
    ("datagram", "notice"),
    [
        (b"READY=1", Notice(ready=True)),
        (b"READY=1\n", Notice(ready=True)),
        (b"READY=1\0", Notice(ready=True)),  # as C programs send it that count the end of a text
        (b"\n\nREADY=1\n\n", Notice(ready=True)),
        (b"STOPPING=1", Notice(stopping=True)),
        (b"RELOADING=1\nMONOTONIC_USEC=77", Notice(reloading=True)),
        (b"WATCHDOG=1", Notice(ping=True)),
        (b"WATCHDOG=trigger", Notice(trigger=True)),
        (b"WATCHDOG_USEC=2500000", Notice(watchdog_seconds=2.5)),
        (b"WATCHDOG_USEC=0", Notice(watchdog_seconds=0.0)),
        (b"EXTEND_TIMEOUT_USEC=1", Notice(extend_seconds=0.000001)),
        (b"STATUS=loading: 3 of 7", Notice(status="loading: 3 of 7")),
        (b"STATUS=a=b", Notice(status="a=b")),
        (b"STATUS=", Notice(status="")),
        (b"STATUS=gr\xc3\xbc\xc3\x9fe", Notice(status="grüße")),
        (b"STATUS=\xff\x1b[2J\r", Notice(status="\\xff\x1b[2J\r")),
        (b"MAINPID=1\nREADY=1\nSTATUS=up", Notice(ready=True, status="up")),
    ],
)
def test_what_is_said(datagram: bytes, notice: Notice) -> None:
    assert parse(datagram) == notice


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"READY",
        b"READY=",
        b"READY=0",
        b"READY=11",
        b"READY=1 ",
        b"READY=1\r\n",
        b"READY=1\0\0",
        b"ready=1",
        b" READY=1",
        b"X_READY=1",
        b"STOPPING=yes",
        b"WATCHDOG=2",
        b"MAINPID=1",
        b"FDSTORE=1\nFDNAME=x",
        b"BARRIER=1",
        b"ERRNO=2",
        *(
            name + b"=" + number
            for name in (b"WATCHDOG_USEC", b"EXTEND_TIMEOUT_USEC")
            for number in (b"", b"x", b"-1", b"+1", b"1.5", b" 1", b"1 ", b"1_0", b"\xd9\xa1")
        ),
        b"WATCHDOG_USEC=" + b"1" * 4000,
    ],
)
def test_what_says_nothing(datagram: bytes) -> None:
    assert parse(datagram) == Notice()


@pytest.mark.parametrize(
    ("datagram", "notice"),
    [
        (b"STATUS=one\nSTATUS=two", Notice(status="two")),
        (b"READY=1\nREADY=0", Notice()),
        (b"WATCHDOG=trigger\nWATCHDOG=1", Notice(ping=True)),
        (b"EXTEND_TIMEOUT_USEC=5\nEXTEND_TIMEOUT_USEC=2000000", Notice(extend_seconds=2.0)),
    ],
)
def test_the_last_one_holds(datagram: bytes, notice: Notice) -> None:
    assert parse(datagram) == notice


@pytest.mark.parametrize("character", ["a", "ü", "日", "🐍"])
def test_a_status_is_cut(character: str) -> None:
    most = LIMITS.notice_status_characters
    for length in (most - 1, most, most + 1, 4 * most):
        told = parse(b"STATUS=" + (character * length).encode()).status
        assert told == character * min(length, most)


def test_a_status_of_rubbish_is_cut() -> None:
    told = parse(b"STATUS=" + b"\xff" * LIMITS.notice_bytes).status
    assert told == ("\\xff" * LIMITS.notice_status_characters)[: LIMITS.notice_status_characters]


def test_a_duration_is_cut() -> None:
    most = int(LIMITS.notice_seconds * 1_000_000)
    assert parse(b"WATCHDOG_USEC=%d" % most).watchdog_seconds == LIMITS.notice_seconds
    assert parse(b"WATCHDOG_USEC=%d" % (most + 1)).watchdog_seconds == LIMITS.notice_seconds
    assert parse(b"EXTEND_TIMEOUT_USEC=" + b"9" * 20).extend_seconds == LIMITS.notice_seconds


@given(st.one_of(st.binary(), DATAGRAMS))
@example(b"STATUS=\xed\xa0\x80")  # half of a pair
def test_anything_can_be_sent(datagram: bytes) -> None:
    notice = parse(datagram)
    assert len(notice.status or "") <= LIMITS.notice_status_characters
    assert "\n" not in (notice.status or "")
    (notice.status or "").encode()  # no halves of pairs
    for duration in (notice.watchdog_seconds, notice.extend_seconds):
        assert duration is None or 0 <= duration <= LIMITS.notice_seconds
    assert not (notice.ping and notice.trigger)


@given(DATAGRAMS, st.sampled_from(["ready", "stopping", "reloading", "ping"]))
def test_what_comes_last_holds_whatever_comes_before(datagram: bytes, what: str) -> None:
    name = {"ping": b"WATCHDOG"}.get(what, what.upper().encode())
    assert getattr(parse(datagram + b"\n" + name + b"=1"), what)
    assert not getattr(parse(datagram + b"\n" + name + b"="), what)
