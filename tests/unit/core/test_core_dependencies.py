"""Circles among dependencies are found, and nothing else is taken for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.dependencies import find_cycle


@pytest.mark.parametrize(
    ("depends", "circle"),
    [
        ({}, ()),
        ({"web": ["db"], "db": []}, ()),
        ({"web": ["db"]}, ()),
        ({"web": ["a", "b"], "a": ["db"], "b": ["db"], "db": []}, ()),
        ({"web": ["web"]}, ("web", "web")),
        ({"web": ["db"], "db": ["web"]}, ("web", "db", "web")),
        ({"x": ["web"], "web": ["y", "db"], "y": [], "db": ["web"]}, ("web", "db", "web")),
        ({"a": ["b"], "b": ["c"], "c": ["d", "a"], "d": ["b"]}, ("b", "c", "d", "b")),
    ],
)
def test_circles(depends: Mapping[str, Sequence[str]], circle: tuple[str, ...]) -> None:
    assert find_cycle(depends) == circle


def test_a_long_chain_and_a_long_circle() -> None:
    names = [f"p{number}" for number in range(5000)]
    chain: dict[str, Sequence[str]] = {name: [other] for name, other in pairwise(names)}
    assert find_cycle(chain) == ()
    assert find_cycle(dict(reversed(chain.items()))) == ()
    assert find_cycle({**chain, names[-1]: [names[0]]}) == (*names, names[0])


class Counted(dict[str, Sequence[str]]):
    """Counts how often the dependencies of each name are looked at."""

    def __init__(self, depends: Mapping[str, Sequence[str]]) -> None:
        super().__init__(depends)
        self.looks: Counter[str] = Counter()

    def __getitem__(self, name: str) -> Sequence[str]:
        self.looks[name] += 1
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> Sequence[str]:  # type: ignore[override]
        return self[name]


def test_each_name_is_looked_at_once() -> None:
    # In each layer of 40, each depends on all of the next: 40 to the power of 50 ways to the end.
    layers = [[f"{layer}.{number}" for number in range(40)] for layer in range(50)]
    depends: dict[str, Sequence[str]] = dict.fromkeys(layers[-1], ())
    for upper, lower in pairwise(layers):
        depends.update(dict.fromkeys(upper, lower))
    counted = Counted(depends)
    assert find_cycle(counted) == ()
    assert counted.looks == Counter(depends.keys())


GRAPHS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg")))


@given(GRAPHS)
def test_a_circle_is_one_and_none_is_missed(depends: dict[str, list[str]]) -> None:
    circle = find_cycle(depends)
    if circle:
        assert circle[0] == circle[-1]
        assert len(set(circle)) == len(circle) - 1
        for name, other in pairwise(circle):
            assert other in depends[name]
        return
    # Without a circle, taking away what depends on nothing that is left ends with nothing.
    left = dict(depends)
    while left:
        free = [name for name, others in left.items() if not set(others) & set(left)]
        assert free
        for name in free:
            del left[name]
