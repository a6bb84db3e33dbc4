"""In which order programs start."""

from __future__ import annotations

from fakes.daemon import program
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.model import Program
from supervisortw.core.order import dependencies_first, ranks, with_dependencies


def order(*programs: Program) -> list[list[str]]:
    """Return the names in the order of their ranks, those of one rank together."""
    found = ranks({each.name: each for each in programs})
    return [
        sorted(name for name in found if found[name] == rank)
        for rank in sorted(set(found.values()))
    ]


def test_a_lower_number_starts_first() -> None:
    programs = (program("c", priority=3), program("a", priority=1), program("b", priority=1))
    assert order(*programs) == [["a", "b"], ["c"]]


def test_the_priority_of_a_group_goes_before_that_of_its_members() -> None:
    programs = (
        program("a", priority=2),
        program("b", priority=1, group="late", group_priority=5),
        program("c", priority=9, group="early", group_priority=1),
        program("d", priority=8, group="early", group_priority=1),
    )
    assert order(*programs) == [["d"], ["c"], ["a"], ["b"]]


def test_what_is_depended_on_starts_first_whatever_the_numbers_say() -> None:
    web = program("web", priority=1, depends_on=("db",))
    assert order(web, program("db", priority=5), program("other", priority=3)) == [
        ["other"],
        ["db"],
        ["web"],
    ]


def test_a_chain_of_thousands_is_no_trouble() -> None:
    programs = [program(f"p{n}", depends_on=(f"p{n + 1}",)) for n in range(5000)]
    assert order(*programs, program("p5000"))[-1] == ["p0"]


NAMES = "abcdefgh"


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**8 - 1)))
def test_everybody_comes_after_what_they_depend_on(masks: dict[str, int]) -> None:
    # Only later letters are depended on, so nothing goes in a circle.
    depends = {
        name: tuple(other for other in NAMES if other > name and mask >> NAMES.index(other) & 1)
        for name, mask in masks.items()
    }
    found = list(dependencies_first(depends))
    assert sorted(found) == sorted(depends)
    programs = {name: program(name, depends_on=others) for name, others in depends.items()}
    rank = ranks(programs)
    for name, others in depends.items():
        for other in others:
            if other in depends:
                assert found.index(other) < found.index(name)
                assert rank[other] < rank[name]


def test_with_all_that_is_needed() -> None:
    depends = {"web": ("app",), "app": ("db", "cache"), "db": (), "cache": ("db",), "x": ("web",)}
    assert with_dependencies(["web"], depends) == ["web", "app", "db", "cache"]
    assert with_dependencies(["db", "cache"], depends) == ["db", "cache"]
    assert with_dependencies([], depends) == []
