"""Text for people: nothing that came from a program or a peer may steer a terminal or forge a line."""

from __future__ import annotations

import re

# C0 and C1 controls but TAB and LF, zero-width and direction marks, and the byte order mark.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str | bytes) -> str:
    """Return ``text`` with everything that is not plain text shown as an escape; TAB and LF stay."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return _UNPRINTABLE.sub(_escape, text)


def one_line(text: str | bytes) -> str:
    """Return ``text`` as a single printable line."""
    return printable(text).replace("\n", "\\n").replace("\t", " ")


def seconds(duration: float) -> str:
    """Return a duration as people say it: ``0.4 s``, ``12 s``, ``3:05``, ``4 d 01:02:03``."""
    if duration < 10:
        return f"{duration:.1f} s"
    whole = int(duration)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def _escape(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
