"""Values from a record that may hold anything: what was written down, and may be damaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, TypeVar

from supervisortw.core.born import Born
from supervisortw.core.ended import Ended
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State

LARGEST = 2**53  # every program that reads JSON has whole numbers up to here
LONGEST = 4096  # characters of a text

quoted = encode_basestring_ascii  # a text in JSON, without a look at whether it is one

_Kind = TypeVar("_Kind", int, str, bool)


class Reader:
    """Gives values by name; each raises ValueError if it is not what it should be."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain = plain

    def _of_kind(self, name: str, kind: type[_Kind], default: _Kind) -> _Kind:
        value = self._plain.get(name, default)
        if type(value) is not kind:  # a bool is an int as well
            raise _senseless(name)
        return value

    def number(self, name: str) -> int:
        """Return a whole number that is not negative; 0 if there is none."""
        value = self._of_kind(name, int, 0)
        if not 0 <= value <= LARGEST:
            raise _senseless(name)
        return value

    def flag(self, name: str) -> bool:
        """Return a truth; False if there is none."""
        return self._of_kind(name, bool, False)

    def text(self, name: str) -> str:
        """Return a text that is not too long; an empty one if there is none."""
        value = self._of_kind(name, str, "")
        if len(value) > LONGEST:
            raise _senseless(name)
        return value

    def seconds(self, name: str) -> float:
        """Return a time; 0 if there is none."""
        return _seconds(name, self._plain.get(name, 0.0))

    def times(self, name: str) -> list[float]:
        """Return a list of times."""
        return [_seconds(name, value) for value in self._list(name)]

    def state(self, name: str, default: State) -> State:
        """Return a state."""
        return State(self._of_kind(name, str, default.value))

    def mark(self, name: str) -> SpawnId | None:
        """Return the mark of a process, None if there is none."""
        text = self.text(name)
        mark = SpawnId.parse(text) if text else None
        if text and mark is None:
            raise _senseless(name)
        return mark

    def ended(self, name: str) -> Ended | None:
        """Return how a process ended, None if there is none."""
        value = self._list(name)
        if not value:
            return None
        code, signal, core, uptime = value
        for number in (code, signal):
            if number is not None and (type(number) is not int or not 0 <= number <= LARGEST):
                raise _senseless(name)
        return Ended(code=code, signal=signal, core=core is True, uptime=_seconds(name, uptime))

    def born(self, name: str) -> Born | None:
        """Return between which times a process was started, None if there is none."""
        times = self.times(name)
        if not times:
            return None
        earliest, latest = times
        return Born(earliest, latest)

    def _list(self, name: str) -> list[Any]:
        value = self._plain.get(name, [])
        if type(value) is not list:
            raise _senseless(name)
        return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _senseless(name)
    if not math.isfinite(value) or value < 0:
        raise _senseless(name)
    return float(value)


def _senseless(name: str) -> ValueError:
    return ValueError(f"no sensible value of {name}")
