"""How values and guesses are shown in messages. Knows text only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_CHARACTERS = 60
NAME_EXPECTED = "expected up to 64 of letters, digits, _ . @ -"


def quoted(text: str) -> str:
    """Return ``text`` in quotes, fit for a terminal: one line, nothing invisible, not too long."""
    if len(text) > SHOWN_CHARACTERS:
        text = text[:SHOWN_CHARACTERS] + "..."
    return f"'{shown(text)}'"


def shown(text: str) -> str:
    """Return ``text`` with everything that a terminal would not print as itself spelled out."""
    return "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that looks most like ``word``, or None if none looks like it."""
    lower = {each.lower(): each for each in sorted(known)}
    found = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[found[0]] if found else None


def did_you_mean(guess: str | None) -> str:
    """Return the end of a message that offers ``guess``, or nothing."""
    return f"; did you mean {quoted(guess)}?" if guess else ""
