"""What a command of supervisorctl is."""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.text import one_line
from supervisortw.errors import SupervisorError

Run = Callable[[Desk, Sequence[str]], Coroutine[Deferred[Any], Any, ExitCode]]


class UsageError(SupervisorError):
    """A command was given words that it does not take."""


class Leave(SupervisorError):
    """The user wants to leave the prompt."""


class Words(enum.Enum):
    """What the arguments of a command are, for completion."""

    NOTHING = enum.auto()
    PROGRAMS = enum.auto()
    ONE_PROGRAM = enum.auto()
    LOGS = enum.auto()
    SIGNAL_THEN_PROGRAMS = enum.auto()
    GROUPS = enum.auto()
    HOSTS = enum.auto()
    COMMANDS = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: how it is called, what it does in a line and in full, and the code that does it."""

    name: str
    arguments: str
    summary: str
    details: str
    run: Run
    words: Words = Words.NOTHING

    @property
    def usage(self) -> str:
        """How the command is called."""
        return f"{self.name} {self.arguments}".rstrip()


def some(words: Sequence[str], verb: str) -> list[str]:
    """Return the names that were given. Raises UsageError if there are none."""
    if not words:
        raise UsageError(f"{verb} what? Name programs, or say all, up or down")
    return list(words)


def none(words: Sequence[str]) -> None:
    """Raise UsageError if there are words where there should be none."""
    if words:
        raise UsageError(f"unexpected: {one_line(' '.join(words))}")
