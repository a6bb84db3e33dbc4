"""The two schemas, read from the package's own XML files once."""

from __future__ import annotations

import functools
import xml.sax.expatreader  # noqa: F401  # what ZConfig reads schemas with; it looks for it only then
from importlib.resources import files
from io import StringIO
from typing import Any

from ZConfig.loader import SchemaLoader

# For each program, the file that holds its schema. The name of the program is also the type of the
# one section on the outside of its configuration.
SCHEMA_FILES = {"supervisord": "schema.xml", "supervisorctl": "supervisorctl.xml"}


@functools.cache
def schema(program: str) -> Any:
    """Return ZConfig's form of the schema for ``program`` (supervisord or supervisorctl)."""
    name = SCHEMA_FILES[program]
    text = files("supervisortw.config").joinpath(name).read_text(encoding="utf-8")
    return SchemaLoader().loadFile(StringIO(text), f"package:supervisortw.config:{name}")
