"""Which programs the words of a request mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from fakes.daemon import process, program
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core import selection
from supervisortw.core.expand import processes_of
from supervisortw.core.limits import LIMITS
from supervisortw.core.selection import Index, nearest, select, unknown_name
from supervisortw.core.status import Outcome, Result

PROGRAMS = {"web": True, "api": False, "db": True, "cache": False}


def selected(
    words: Sequence[str], up: Mapping[str, bool] = PROGRAMS
) -> tuple[list[str], list[Outcome]]:
    """Select among programs of one process each."""
    return select(words, Index(process(name) for name in up), lambda name: up[name])


def chosen(*words: str) -> list[str]:
    return selected(words)[0]


def hint(word: str, *names: str) -> str:
    return unknown_name(word, names).text


def test_names_in_the_order_of_the_words_and_once_each() -> None:
    assert chosen("db", "web", "db") == ["db", "web"]


def test_groups_in_the_order_of_the_file() -> None:
    assert chosen("all") == ["web", "api", "db", "cache"]
    assert chosen("up") == ["web", "db"]
    assert chosen("down") == ["api", "cache"]
    assert chosen("down", "all") == ["api", "cache", "web", "db"]


def test_groups_of_nothing_are_nothing() -> None:
    assert selected(["all", "up", "down"], {}) == ([], [])
    assert selected([]) == ([], [])


def test_names_are_exact() -> None:
    names, unknown = selected(["Web", "we", "ALL", ""])
    assert names == []
    assert [each.name for each in unknown] == ["Web", "we", "ALL", ""]
    assert {each.result for each in unknown} == {Result.UNKNOWN}


WORKERS = program("worker", processes=3, group="site")
SITE = Index([*processes_of(WORKERS), process("web", group="site"), process("db")])
ALL_WORKERS = ["site:worker_0", "site:worker_1", "site:worker_2"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("worker", ALL_WORKERS),
        ("worker:*", ALL_WORKERS),
        ("site:worker_1", ["site:worker_1"]),
        ("site", [*ALL_WORKERS, "site:web"]),
        ("site:*", [*ALL_WORKERS, "site:web"]),
        ("web", ["site:web"]),
        ("site:web", ["site:web"]),
        ("db", ["db"]),
        ("db:db", ["db"]),
        ("db:*", ["db"]),
        ("worker_1", []),
        ("site:db", []),
        ("*", []),
        (":*", []),
    ],
)
def test_programs_processes_and_groups(word: str, meant: list[str]) -> None:
    found, unknown = select([word], SITE, lambda name: True)
    assert found == meant
    assert bool(unknown) == (not meant)


def test_among_very_many_names_not_all_are_looked_at() -> None:
    names = [f"a{number}" for number in range(LIMITS.names_searched)]
    assert nearest("bus", [*names, "bux"]) == ["bux"]
    assert nearest("a", ["ax", *names]) == ["ax", *nearest("a", names)][:3]
    assert nearest("bus", [*[f"b{name}" for name in names], "bux"]) == []


def test_an_unknown_name_comes_with_the_nearest() -> None:
    assert hint("wbe", "web", "api") == "no such program; did you mean web?"
    assert hint("WEB", "web", "api") == "no such program; did you mean web?"
    assert hint("web", "web1", "web2") == "no such program; did you mean web2 or web1?"


def test_or_with_where_to_look() -> None:
    assert hint("zzz", "web", "api") == "no such program; 'list' shows what there is"
    assert hint("web") == "no such program; none is configured"


def test_at_most_three_are_named() -> None:
    assert len(nearest("web", [f"web{number}" for number in range(50)])) == 3


def test_the_best_comes_first() -> None:
    assert nearest("worker", ["walker", "workers", "woker"])[0] in ("workers", "woker")
    assert nearest("api", ["apis", "ap", "web"])[0] in ("apis", "ap")


def test_among_many_unknown_names_the_nearest_are_not_sought_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sought: list[str] = []

    def nearest(word: str, names: list[str]) -> list[str]:
        sought.append(word)
        return ["web"]

    monkeypatch.setattr(selection, "nearest", nearest)
    _, unknown = selected(["wbe"] * 1000)
    assert len(sought) == selection.MOST_SEARCHES
    assert [each.text for each in unknown[:3]] == ["no such program; did you mean web?"] * 3
    assert {each.text for each in unknown[3:]} == {"no such program; 'list' shows what there is"}


names = st.text("abcWXYZ09_.@-", min_size=1, max_size=12)


@settings(max_examples=50)
@given(
    st.lists(st.one_of(names, st.sampled_from(["all", "up", "down"])), max_size=8),
    st.dictionaries(names.filter(lambda n: n not in ("all", "up", "down")), st.booleans()),
)
def test_every_word_is_either_chosen_or_told_of(
    words: list[str], programs: dict[str, bool]
) -> None:
    found, unknown = selected(words, programs)
    assert len(found) == len(set(found))
    assert set(found) <= set(programs)
    asked_by_name = {word for word in words if word not in ("all", "up", "down")}
    assert {each.name for each in unknown} == asked_by_name - set(programs)
    assert asked_by_name & set(programs) <= set(found)
