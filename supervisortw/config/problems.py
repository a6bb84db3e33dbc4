"""Collects everything that is wrong with a configuration, in the order in which a person reads it."""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.config.wording import shown
from supervisortw.core.limits import LIMITS
from supervisortw.errors import ConfigError, Problem

# What comes after so many problems is more of the same, and nobody reads it.


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands.

    ``order`` puts places in reading order across included files: the line of the main file, then
    for each level of inclusion the number of the included file and the line in it.
    """

    file: str
    line: int | None
    order: tuple[int, ...] = ()

    def seen_from(self, other: Place) -> str:
        """Return how to point at this place in a message about ``other``."""
        if self.line is None:
            return f"on the {self.file}" if self.file == COMMAND_LINE.file else shown(self.file)
        if self.file == other.file:
            return f"line {self.line}"
        return f"{shown(self.file)}:{self.line}"


COMMAND_LINE = Place("command line", None)


class TooManyProblems(Exception):
    """Reading on would tell nothing new."""


class Problems:
    """All problems and warnings of one load."""

    def __init__(self) -> None:
        self._found: dict[Problem, tuple[int, ...]] = {}
        self._warnings: dict[Problem, tuple[int, ...]] = {}

    def add(self, place: Place, message: str) -> None:
        """Note that the configuration cannot be used, because of what stands at ``place``."""
        # The same problem comes twice where a file is included twice.
        self._found.setdefault(_problem(place, message), place.order)
        if len(self._found) >= LIMITS.problems:
            raise TooManyProblems

    def warn(self, place: Place, message: str) -> None:
        """Note something that the operator should know and that forbids nothing."""
        self._warnings.setdefault(_problem(place, message), place.order)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, each with its file and line."""
        return tuple(str(warning) for warning in _in_order(self._warnings))

    def raise_all(self) -> None:
        """Raise ConfigError if there is any problem."""
        if self._found:
            found = _in_order(self._found)
            if len(found) >= LIMITS.problems:
                rest = f"more than {LIMITS.problems - 1} problems; the rest is not shown"
                found.append(Problem(found[-1].file, None, rest))
            raise ConfigError(found)


def _problem(place: Place, message: str) -> Problem:
    return Problem(shown(place.file), place.line, message)


def _in_order(found: dict[Problem, tuple[int, ...]]) -> list[Problem]:
    return sorted(found, key=lambda problem: found[problem])
