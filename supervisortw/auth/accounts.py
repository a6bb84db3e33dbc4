"""Where the users with passwords are looked up."""

from __future__ import annotations

from typing import Protocol

from supervisortw.core.passwd import Passwd


class Accounts(Protocol):
    """The users that a daemon knows by their passwords, as they are at the moment."""

    def passwd(self) -> Passwd | None:
        """Return all of them, or None if nobody can log in by password: no file, or an unsafe one."""


class NoAccounts:
    """The accounts of a daemon without a password file."""

    def passwd(self) -> Passwd | None:
        """Return None."""
        return None
