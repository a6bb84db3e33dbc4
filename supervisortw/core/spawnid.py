"""The mark that every process carries in its environment, and so does everything that it starts."""

from __future__ import annotations

import re
from typing import NamedTuple

VARIABLE = "SUPERVISOR_SPAWN_ID"

# A full name may hold a colon: what stands before the first and after the last one is not the name.
_TEXT = re.compile(r"([0-9a-f]{1,64}):([^\0\n]{1,256}):([0-9]{1,18})")


class SpawnId(NamedTuple):
    """One start of one process: which daemon started it, its full name, and the how manieth it is.

    ``daemon`` is a random hexadecimal number that no other daemon has.
    """

    daemon: str
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.daemon}:{self.name}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> SpawnId | None:
        """Return what ``text`` means, or None: anybody can put anything into an environment."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        return cls(daemon=match[1], name=match[2], number=int(match[3]))

    @property
    def process(self) -> tuple[str, str]:
        """What all spawns of one process have in common: their daemon and their name."""
        return self.daemon, self.name
