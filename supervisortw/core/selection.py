"""Which programs a request means: their names, and the words ``all``, ``up`` and ``down``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from supervisortw.core.status import Outcome, Result

# Among a thousand programs the nearest are found in 40 ms, and a request may hold thousands of names.
MOST_SEARCHES = 3


def select(words: Sequence[str], programs: Mapping[str, bool]) -> tuple[list[str], list[Outcome]]:
    """Return the names that ``words`` mean, each once, and an outcome for each unknown word.

    ``programs`` maps every name to whether it is up; the answer keeps the order of the words, and
    within a word the order of ``programs``.
    """
    chosen: dict[str, None] = {}
    unknown: list[Outcome] = []
    for word in words:
        if word == "all":
            chosen.update(dict.fromkeys(programs))
        elif word in ("up", "down"):
            wanted = word == "up"
            chosen.update(dict.fromkeys(name for name, up in programs.items() if up is wanted))
        elif word in programs:
            chosen[word] = None
        else:
            look = len(unknown) < MOST_SEARCHES
            unknown.append(unknown_name(word, programs, look_for_nearest=look))
    return list(chosen), unknown


def unknown_name(word: str, names: Iterable[str], *, look_for_nearest: bool = True) -> Outcome:
    """Return the outcome for a name that no program has; it names the nearest ones."""
    known = list(names)
    near = nearest(word, known) if look_for_nearest else []
    if near:
        hint = f"no such program; did you mean {' or '.join(near)}?"
    elif known:
        hint = "no such program; 'list' shows what there is"
    else:
        hint = "no such program; none is configured"
    return Outcome(name=word, result=Result.UNKNOWN, text=hint)


def nearest(word: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most like ``word``, best first; none if nothing is near."""
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=most, cutoff=0.6)
    return [by_folded[folded] for folded in close]
