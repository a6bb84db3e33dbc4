"""Where the output of programs goes that is kept in no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from supervisortw.daemon.backlog import Giver


class Target(Protocol):
    """Something that takes output from several logs, as fast as it can and no faster.

    ``where`` is what people call it, and ``trouble`` why nothing gets there now, if that is so.
    """

    @property
    def where(self) -> str:
        """What people call it."""

    @property
    def trouble(self) -> str:
        """Why nothing gets there now, if that is so."""

    def open(self) -> None:
        """Open it if that is possible now. Raises LocalError if it must not, or cannot, be used."""

    def has_room(self, giver: Giver) -> bool:
        """True if something can be put there; if not, ``giver`` hears when that has changed.

        While there is trouble nobody hears of its end; who tries again notices.
        """

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        """Take entries, each of which gets there as a whole, now or later. Never waits.

        An entry is some lines, or one message.
        """

    def reopen(self) -> None:
        """Open it anew by its name, since somebody has moved it. Raises LocalError."""

    def forget(self, giver: Giver) -> None:
        """Tell ``giver`` nothing more."""

    def finish(self, done: Callable[[], None]) -> None:
        """Call ``done`` once all that it was given is written."""

    def close(self) -> None:
        """Let go of everything."""
