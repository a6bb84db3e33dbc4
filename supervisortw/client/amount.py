"""How much of the end of a log is wanted, and how people say it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from supervisortw.client.command import UsageError
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.core.text import one_line
from supervisortw.remote.connection import Session

_SIZE = re.compile(r"([0-9]{1,18})([KMG]?)B?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """So many lines, or bytes if ``size`` is not None."""

    lines: int = LIMITS.tail_lines
    size: int | None = None

    async def first_piece(self, session: Session, name: str | None) -> LogPiece:
        """Return that much of the end of a log, or the beginning of it."""
        if self.size is None:
            return await session.tail(name, self.lines)
        end = (await session.tail(name, 0)).size
        return await session.read_log(name, max(0, end - self.size), LIMITS.piece_bytes)


def log_arguments(words: Sequence[str]) -> tuple[bool, Amount, list[str]]:
    """Return whether to follow, how much to show at first, and the names. Raises UsageError."""
    follow, amount, names = False, Amount(), []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-f":
            follow = True
        elif word[:2] in ("-n", "-c"):
            value = word[2:] or (left.pop(0) if left else "")
            amount = _lines(value) if word[1] == "n" else _size(value)
        elif word.startswith("-") and is_number(word[1:]):
            amount = _lines(word[1:])
        elif word.startswith("-"):
            raise UsageError(f"unknown option: {one_line(word)}")
        else:
            names.append(word)
    return follow, amount, names


def is_number(word: str) -> bool:
    """True for digits, and for no more of them than a request can carry."""
    return word.isascii() and word.isdigit() and len(word) < 19


def _lines(value: str) -> Amount:
    if not is_number(value):
        raise UsageError("-n takes a number of lines")
    return Amount(lines=int(value))


def _size(value: str) -> Amount:
    found = _SIZE.fullmatch(value)
    if found is None:
        raise UsageError("-c takes a number of bytes, as 500, 64K or 10M")
    return Amount(size=int(found[1]) * _UNITS[found[2].upper()])
