"""In which order programs start, and the reverse of it for stops.

A lower priority number starts earlier; whoever depends on another program starts after it, whatever
the numbers say. Programs of one rank start together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from supervisortw.core.model import Program


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Where a program stands in the order: its priorities, then how deep its dependencies go."""

    priority: tuple[int, int]
    depth: int = 0


def ranks(programs: Mapping[str, Program]) -> dict[str, Rank]:
    """Return the rank of each program. The dependencies must not go in a circle."""
    found: dict[str, Rank] = {}
    for name in dependencies_first({name: each.depends_on for name, each in programs.items()}):
        program = programs[name]
        behind = [found[other] for other in program.depends_on if other in found]
        priority = max([_own_priority(program), *(rank.priority for rank in behind)])
        depths = [rank.depth + 1 for rank in behind if rank.priority == priority]
        found[name] = Rank(priority, max(depths, default=0))
    return found


def _own_priority(program: Program) -> tuple[int, int]:
    group = program.group_priority
    return (program.priority if group is None else group, program.priority)


def dependencies_first(depends: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Return every name after all that it depends on; names that are no keys are passed over."""
    done: set[str] = set()
    for start in depends:
        path: list[tuple[str, Iterator[str]]] = []
        _enter(start, depends, done, path)
        while path:
            name, others = path[-1]
            for other in others:
                if _enter(other, depends, done, path):
                    break
            else:
                path.pop()
                yield name


def _enter(
    name: str,
    depends: Mapping[str, Sequence[str]],
    done: set[str],
    path: list[tuple[str, Iterator[str]]],
) -> bool:
    if name in done or name not in depends:
        return False
    done.add(name)
    path.append((name, iter(depends[name])))
    return True


def with_dependencies(names: Sequence[str], depends: Mapping[str, Sequence[str]]) -> list[str]:
    """Return ``names`` and everything that they depend on, directly or not, each once."""
    found = dict.fromkeys(names)
    todo = list(names)
    while todo:
        for other in depends.get(todo.pop(), ()):
            if other not in found:
                found[other] = None
                todo.append(other)
    return list(found)
