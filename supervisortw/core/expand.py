"""From a program with ``%(process_num)d`` in its texts to one record for each of its processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from supervisortw.core.model import Process, Program

# ``%%(`` stands for ``%(``; every other percent sign means itself, as in ``date +%H``.
_PLACE = re.compile(r"%(%\()|%\(([^()]{1,64})\)(s|0?[0-9]?d)|%\(")

NUMBER = "process_num"
PLAIN = "a plain %( is written %%("

Values = Mapping[str, str | int]


def expand(text: str, values: Values) -> str:
    """Return ``text`` with its ``%(name)s`` and ``%(name)02d`` filled in.

    Raises ValueError, with a sentence for people, for a name that is not in ``values``, a ``d`` for
    what is no number, or a ``%(`` that begins neither.
    """
    if "%(" not in text:
        return text

    def fill(place: re.Match[str]) -> str:
        escaped, name, form = place.groups()
        if escaped is not None:
            return "%("
        if name is None:
            raise ValueError(f"'%(' begins nothing such as {known(values)}; {PLAIN}")
        if name not in values:
            raise ValueError(f"unknown %({name}){form}; there are {known(values)}; {PLAIN}")
        value = values[name]
        if form == "s":
            return str(value)
        if isinstance(value, int):
            return f"{value:{form}}"
        raise ValueError(f"%({name}){form} is no number; write %({name})s")

    return _PLACE.sub(fill, text)


def known(values: Values) -> str:
    """Return the places that ``values`` can fill, for a message."""
    return ", ".join(f"%({name}){_form(value)}" for name, value in values.items())


def _form(value: str | int) -> str:
    return "d" if isinstance(value, int) else "s"


def literal(text: str) -> str:
    """Return what `expand` makes ``text`` of."""
    return text.replace("%(", "%%(")


def naming_values(program: Program, number: int) -> dict[str, str | int]:
    """Return what can be filled into the name of a process."""
    return {"program_name": program.name, "group_name": program.group, NUMBER: number}


def values_of(program: Program, number: int, process: str) -> dict[str, str | int]:
    """Return what can be filled into all other texts of the process that is called ``process``."""
    return {**naming_values(program, number), "process_name": process}


def processes_of(program: Program, count: int | None = None) -> tuple[Process, ...]:
    """Return a record for each process of ``program``; ``count`` in place of its own number of them.

    The one process of a program without a number of them is number 0. Raises ValueError, with a
    sentence for people, if a text cannot be filled in, or if two processes would have the same name.
    """
    own = {field.name: getattr(program, field.name) for field in fields(Program)}
    if program.processes is None:
        return (_process(program, own, program.name, 0),)
    names: dict[str, int] = {}
    for n in range(program.processes if count is None else count):
        number = program.first_number + n
        name = expand(program.process_name, naming_values(program, number))
        if name in names:
            raise ValueError(
                f"two processes would be called {name!r}; process-name needs %({NUMBER})d in it"
            )
        names[name] = number
    return tuple(_process(program, own, name, number) for name, number in names.items())


def _process(program: Program, own: Mapping[str, Any], name: str, number: int) -> Process:
    values = values_of(program, number, name)

    def filled(text: str) -> str:
        return expand(text, values)

    texts = {each: _filled(own[each], filled) for each in WITH_PLACES if own[each] is not None}
    full = name if program.group == name else f"{program.group}:{name}"
    return Process(
        **{**own, **texts, "name": full}, program=program.name, process=name, number=number
    )


# The settings in which places are filled in.
WITH_PLACES = (
    "command",
    "stop_command",
    "directory",
    "environment",
    "environment_files",
    "logfile",
    "stderr_logfile",
    "syslog_tag",
)


def _filled(value: Any, filled: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return filled(value)
    return tuple(_filled(each, filled) for each in value)
