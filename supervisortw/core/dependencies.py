"""What waits for what, and whether any of it would wait for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def find_cycle(depends: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names along a circle, the first once more at the end, or () if there is none.

    ``depends`` tells for each name which ones it depends on. A name that is no key depends on
    nothing. Takes time in proportion to the number of names and of dependencies.
    """
    finished: set[str] = set()
    for start in depends:
        # The names from ``start`` to where we are, each with those that are still to be looked at.
        path: dict[str, Iterator[str]] = {} if start in finished else {start: iter(depends[start])}
        while path:
            last = next(reversed(path))
            for name in path[last]:
                if name in path:
                    names = list(path)
                    return (*names[names.index(name) :], name)
                if name not in finished:
                    path[name] = iter(depends.get(name, ()))
                    break
            else:
                path.popitem()
                finished.add(last)
    return ()
