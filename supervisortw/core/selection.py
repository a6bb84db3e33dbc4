"""Which processes a request means.

A word is the name of a process, of a program (all of its processes) or of a group (all in it), or
``group:*``, ``group:process``, ``program:*``, or one of ``all``, ``up`` and ``down``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Process
from supervisortw.core.status import Outcome, Result

# Looking for the nearest of many names takes a while, and a request may hold thousands of names.
MOST_SEARCHES = 3


class Index:
    """What each word means, for one set of processes; ``all`` keeps their order."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self.all: list[str] = []
        self.names: dict[str, None] = {}
        self._meant: dict[str, list[str]] = {}
        for process in processes:
            self.all.append(process.name)
            self.names.update(dict.fromkeys((process.name, process.program, process.group)))
            words = {
                process.name,
                process.program,
                process.group,
                f"{process.group}:*",
                f"{process.program}:*",
                f"{process.group}:{process.process}",
            }
            for word in words:
                self._meant.setdefault(word, []).append(process.name)

    def meant_by(self, word: str) -> Sequence[str]:
        """Return the full names of the processes that ``word`` means; none if it is unknown."""
        return self._meant.get(word, ())


def select(
    words: Sequence[str], index: Index, is_up: Callable[[str], bool]
) -> tuple[list[str], list[Outcome]]:
    """Return the full names that ``words`` mean, each once, and an outcome for each unknown word.

    The answer keeps the order of the words, and within a word the order of the index.
    """
    chosen: dict[str, None] = {}
    unknown: list[Outcome] = []
    for word in words:
        if word == "all":
            chosen.update(dict.fromkeys(index.all))
        elif word in ("up", "down"):
            wanted = word == "up"
            chosen.update(dict.fromkeys(name for name in index.all if is_up(name) is wanted))
        elif meant := index.meant_by(word):
            chosen.update(dict.fromkeys(meant))
        else:
            look = len(unknown) < MOST_SEARCHES
            unknown.append(unknown_name(word, index.names, look_for_nearest=look))
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
    """Return the names most like ``word``, best first; none if nothing is near.

    Among more than LIMITS.names_searched, only those with the same first letter are looked at, and
    no more than that.
    """
    by_folded = {name.casefold(): name for name in names}
    folded = word.casefold()
    searched = list(by_folded)
    if len(searched) > LIMITS.names_searched:
        alike = [name for name in searched if name[:1] == folded[:1]]
        searched = alike[: LIMITS.names_searched]
    close = difflib.get_close_matches(folded, searched, n=most, cutoff=0.6)
    return [by_folded[each] for each in close]
