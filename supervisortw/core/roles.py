"""What somebody who was let in may do: one of three roles, each with all that the lower ones have."""

from __future__ import annotations

import enum


class Role(enum.IntEnum):
    """Who looks, who steers, and who has the whole daemon."""

    OBSERVER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Role:
        """Read what ``str`` writes. Raises ValueError."""
        for role in cls:
            if text == str(role):
                return role
        raise ValueError(f"expected {', '.join(str(role) for role in cls)}")
