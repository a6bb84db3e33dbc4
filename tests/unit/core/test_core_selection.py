"""Which programs the words of a request mean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core import selection
from supervisortw.core.selection import nearest, select, unknown_name
from supervisortw.core.status import Result

PROGRAMS = {"web": True, "api": False, "db": True, "cache": False}


def chosen(*words: str) -> list[str]:
    return select(words, PROGRAMS)[0]


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
    assert select(["all", "up", "down"], {}) == ([], [])
    assert select([], PROGRAMS) == ([], [])


def test_names_are_exact() -> None:
    names, unknown = select(["Web", "we", "ALL", ""], PROGRAMS)
    assert names == []
    assert [each.name for each in unknown] == ["Web", "we", "ALL", ""]
    assert {each.result for each in unknown} == {Result.UNKNOWN}


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
    _, unknown = select(["wbe"] * 1000, PROGRAMS)
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
    found, unknown = select(words, programs)
    assert len(found) == len(set(found))
    assert set(found) <= set(programs)
    asked_by_name = {word for word in words if word not in ("all", "up", "down")}
    assert {each.name for each in unknown} == asked_by_name - set(programs)
    assert asked_by_name & set(programs) <= set(found)
