"""Messages to syslog servers, byte by byte."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core import syslog
from supervisortw.core.syslog import Severity, SyslogAddress, Transport


@pytest.mark.parametrize(
    ("facility", "severity", "number"),
    [
        ("user", Severity.ERROR, 11),
        ("daemon", Severity.INFO, 30),
        ("local0", Severity.INFO, 134),
        ("local7", Severity.WARNING, 188),
    ],
)
def test_the_priority(facility: str, severity: Severity, number: int) -> None:
    assert syslog.priority(facility, severity) == number


def test_on_this_machine() -> None:
    head = syslog.local_head(30, "Nov 27 21:40:01", "web")
    assert syslog.messages(head, b"hello", 100) == [b"<30>Nov 27 21:40:01 web: hello"]


def test_on_a_network() -> None:
    head = syslog.network_head(30, "2026-11-27T20:40:01.123Z", "host", "web")
    expected = b"<30>1 2026-11-27T20:40:01.123Z host web - - - hello"
    assert syslog.messages(head, b"hello", 100) == [expected]
    assert syslog.counted(expected) == b"51 " + expected


def test_what_is_not_known_is_a_dash() -> None:
    assert syslog.network_head(30, "T", "", "") == b"<30>1 T - - - - - "


def test_a_tag_is_no_longer_than_it_may_be() -> None:
    head = syslog.network_head(30, "T", "host", "x" * 100)
    assert re.search(rb" x{48} ", head)


def test_a_nul_does_not_end_a_message() -> None:
    assert syslog.messages(b"", b"a\0b", 100) == [b"a\\x00b"]


@given(st.text(max_size=300), st.integers(20, 60))
def test_a_long_line_is_divided_between_characters(text: str, most: int) -> None:
    found = syslog.messages(b"<30>", text.encode(), most)
    assert all(len(message) <= most for message in found)
    texts = [message.removeprefix(b"<30>").decode() for message in found]
    assert all(text.startswith("+ ") for text in texts[1:])
    shown = texts[0] + "".join(text.removeprefix("+ ") for text in texts[1:])
    assert shown == text.replace("\0", "\\x00")


def test_the_rest_of_a_line_says_so() -> None:
    assert syslog.messages(b"<30>", b"rest", 100, is_rest=True) == [b"<30>+ rest"]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (SyslogAddress(), "/dev/log"),
        (SyslogAddress(path="/run/log"), "/run/log"),
        (SyslogAddress(transport=Transport.UDP, host="log", port=514), "udp:log:514"),
        (SyslogAddress(transport=Transport.TCP, host="::1", port=601), "tcp:[::1]:601"),
    ],
)
def test_an_address_is_told_as_it_is_written(address: SyslogAddress, text: str) -> None:
    assert str(address) == text
