"""Files of environment variables: one ``NAME=VALUE`` a line.

Empty lines and lines that begin with ``#`` mean nothing. A value may stand in single or double quotes,
which are taken away; nothing in a value is replaced. ``export`` in front of a name is ignored, so that
a file for a shell can be used as it is.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def parse(text: str) -> dict[str, str]:
    """Return the variables; of two with one name, the later.

    Raises ValueError with the number of the line that is wrong, and why.
    """
    variables = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            try:
                name, value = variable(line.removeprefix("export "))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            variables[name] = _unquoted(value)
    return variables


def variable(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``. Raises ValueError."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not _NAME.match(name):
        raise ValueError("expected NAME=VALUE")
    if "\0" in value:
        raise ValueError("a value cannot hold a NUL character")
    return name, value.strip()


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
