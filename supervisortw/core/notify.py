"""What a program tells of itself by sd_notify(3): datagrams with an assignment on each line.

A program may send anything. What is unknown or malformed says nothing; nothing is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from supervisortw.core.limits import LIMITS

_KNOWN = re.compile(
    rb"^(READY|STOPPING|RELOADING|STATUS|WATCHDOG|WATCHDOG_USEC|EXTEND_TIMEOUT_USEC)=(.*)$",
    re.MULTILINE,
)
_NUMBER = re.compile(rb"[0-9]{1,20}\Z")  # 64 bits have 20 digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one datagram says; None or false where it says nothing.

    ``status`` may hold anything but a newline and has to be made printable where it is shown; an
    empty one takes back an earlier one. Durations are seconds. ``extend_seconds`` asks for so much
    time from now on. ``watchdog_seconds`` 0 asks for no watchdog any more. ``ping`` is a sign of life,
    ``trigger`` asks to be treated like a program whose sign of life did not come.
    """

    ready: bool = False
    stopping: bool = False
    reloading: bool = False
    status: str | None = None
    ping: bool = False
    trigger: bool = False
    watchdog_seconds: float | None = None
    extend_seconds: float | None = None


def parse(datagram: bytes) -> Notice:
    """Return what ``datagram`` says; where it says something twice, the last one holds."""
    said: dict[bytes, bytes] = dict(_KNOWN.findall(datagram.removesuffix(b"\0")))
    return Notice(
        ready=said.get(b"READY") == b"1",
        stopping=said.get(b"STOPPING") == b"1",
        reloading=said.get(b"RELOADING") == b"1",
        status=_status(said.get(b"STATUS")),
        ping=said.get(b"WATCHDOG") == b"1",
        trigger=said.get(b"WATCHDOG") == b"trigger",
        watchdog_seconds=_seconds(said.get(b"WATCHDOG_USEC")),
        extend_seconds=_seconds(said.get(b"EXTEND_TIMEOUT_USEC")),
    )


def _status(text: bytes | None) -> str | None:
    if text is None:
        return None
    most = LIMITS.notice_status_characters
    return text[: 4 * most].decode("utf-8", "backslashreplace")[:most]  # of at most 4 bytes each


def _seconds(microseconds: bytes | None) -> float | None:
    if microseconds is None or not _NUMBER.match(microseconds):
        return None
    return min(int(microseconds) / 1_000_000, LIMITS.notice_seconds)
