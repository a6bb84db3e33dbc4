"""From a program with ``%(process_num)d`` in its texts to one record for each of its processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from supervisortw.core.model import Process, Program

# ``%%(`` stands for ``%(``; every other percent sign means itself, as in ``date +%H``.
_PLACE = re.compile(r"%(%\()|%\(([^()]*)\)(s|0?[0-9]?d)")

NUMBER = "process_num"
NAMES = ("program_name", "group_name", NUMBER)


def expand(text: str, values: Mapping[str, str | int]) -> str:
    """Return ``text`` with its ``%(name)s`` and ``%(name)02d`` filled in.

    Raises ValueError, with a sentence for people, for a name that is not in ``values`` or a ``d`` for
    what is no number.
    """

    def fill(place: re.Match[str]) -> str:
        escaped, name, form = place.groups()
        if escaped is not None:
            return "%("
        if name not in values:
            known = ", ".join(f"%({each})s" for each in values)
            raise ValueError(f"unknown %({name}){form}; there are {known}")
        value = values[name]
        if form == "s":
            return str(value)
        if not isinstance(value, int):
            raise ValueError(f"%({name}){form} is no number; write %({name})s")
        return f"{value:{form}}"

    return _PLACE.sub(fill, text)


def processes_of(program: Program, count: int | None = None) -> tuple[Process, ...]:
    """Return a record for each process of ``program``; ``count`` in place of its own number of them.

    Raises ValueError, with a sentence for people, if a text cannot be filled in, or if two processes
    would have the same name.
    """
    if program.processes is None:
        return (_process(program, program.name, 0),)
    number = program.processes if count is None else count
    numbers = range(program.first_number, program.first_number + number)
    found = tuple(_process(program, program.process_name, n) for n in numbers)
    if len({each.name for each in found}) < len(found):
        raise ValueError(
            f"all processes would be called {found[0].process!r}; process-name needs %({NUMBER})d"
        )
    return found


def _process(program: Program, pattern: str, number: int) -> Process:
    values: dict[str, str | int] = {
        "program_name": program.name,
        "group_name": program.group,
        NUMBER: number,
    }

    def filled(text: str) -> str:
        return expand(text, values)

    process = filled(pattern)
    values["process_name"] = process
    own = {field.name: getattr(program, field.name) for field in fields(Program)}
    own |= {name: _filled(own[name], filled) for name in _WITH_PLACES if own[name] is not None}
    full = process if program.group == process else f"{program.group}:{process}"
    own["name"] = full
    return Process(**own, program=program.name, process=process, number=number)


# The settings in which places are filled in.
_WITH_PLACES = (
    "command",
    "stop_command",
    "directory",
    "environment",
    "environment_files",
    "logfile",
    "stderr_logfile",
)


def _filled(value: Any, filled: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return filled(value)
    return tuple(_filled(each, filled) for each in value)
