"""Limits of resources, as setrlimit(2) has them, from their text."""

from __future__ import annotations

import re

from supervisortw.config.wording import did_you_mean, nearest, quoted
from supervisortw.core.model import Limit

# What Linux and macOS know between them, so that a file can be checked on either; a limit that the
# system does not have is refused when the program is started.
NAMES = (
    *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
UNLIMITED = "unlimited"

_NUMBER = re.compile(r"[0-9]{1,18}\Z")


def limit(text: str) -> Limit:
    """Return the limit that ``NAME SOFT:HARD`` or ``NAME BOTH`` says."""
    name, _, bounds = text.partition(" ")
    if name.lower() not in NAMES:
        guess = did_you_mean(nearest(name, NAMES)) or f"; there are {', '.join(NAMES)}"
        raise ValueError(f"unknown limit {quoted(name)}{guess}")
    first, colon, second = (part.strip() for part in bounds.partition(":"))
    soft = _bound(first)
    hard = _bound(second) if colon else soft
    if hard is not None and (soft is None or soft > hard):
        raise ValueError("the soft limit, before the colon, is above the hard one after it")
    return Limit(name=name.lower(), soft=soft, hard=hard)


def _bound(text: str) -> int | None:
    if text.lower() == UNLIMITED:
        return None
    if not _NUMBER.match(text):
        raise ValueError(
            "expected a name and a number or 'unlimited', or two of these as soft:hard,"
            " such as nofile 4096 or nproc 100:200"
        )
    return int(text)
