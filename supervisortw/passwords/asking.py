"""Where passwords come from: typed at a terminal without being shown, or read from a descriptor.

Never from a command line, which every user of the machine can read.
"""

from __future__ import annotations

import getpass
import os
import warnings
from typing import Protocol

from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.core.srp import SrpError
from supervisortw.errors import SupervisorError
from supervisortw.passwords.making import refuse_weak

NO_TERMINAL = (
    "there is no terminal to ask for a password at; give it by --password-stdin or --password-fd N, "
    "or have one made with -g"
)
_ROLES = ", ".join(str(role) for role in Role)


class UsageError(SupervisorError):
    """A command was given words that it does not take, or lacks some that it needs."""


class Ask(Protocol):
    """Gets from somebody what a command needs to know beside its words."""

    def password(self, user: str) -> str:
        """Return the new password of ``user``. Raises UsageError and SrpError."""

    def role(self, user: str, offered: Role) -> Role:
        """Return the role of ``user``, who is new. Raises UsageError."""


class Typed:
    """Asks at the terminal. With ``can_choose`` false, roles are not asked for."""

    def __init__(self, *, can_choose: bool) -> None:
        self._can_choose = can_choose

    def password(self, user: str) -> str:
        """Ask twice, but only once for one that is not taken anyway."""
        password = _hidden(f"password of {user}: ")
        refuse_weak(password)
        if _hidden("the same again: ") != password:
            raise UsageError("these are two different passwords; nothing was changed")
        return password

    def role(self, user: str, offered: Role) -> Role:
        """Ask until the answer is a role."""
        if not self._can_choose:
            raise role_missing()
        while True:
            try:
                answer = input(f"role of {user} ({_ROLES}) [{offered}]: ").strip()
            except EOFError:
                raise UsageError("no role was chosen; nothing was changed") from None
            try:
                return Role.parse(answer) if answer else offered
            except ValueError as error:
                print(error)


class Piped:
    """Reads one password, in one line, from a descriptor, and asks for nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def password(self, user: str) -> str:
        """Read all there is; a line end at its end does not belong to it."""
        most = LIMITS.password_bytes + 2
        data = b""
        try:
            while len(data) <= most and (more := os.read(self._descriptor, most)):
                data += more
        except OSError as error:
            where = f"descriptor {self._descriptor}"
            raise UsageError(f"cannot read the password from {where}: {error.strerror}") from None
        try:
            text = data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise SrpError("the password has bytes in it that are not UTF-8") from None
        if "\n" in text:
            raise UsageError("expected one line, with the password and nothing else")
        return text

    def role(self, user: str, offered: Role) -> Role:
        """Refuse to guess."""
        raise role_missing()


def role_missing() -> UsageError:
    """Return the error for a role that nobody can be asked for."""
    return UsageError(f"which role? Add --role ROLE: {_ROLES}")


def _hidden(prompt: str) -> str:
    with warnings.catch_warnings():
        # Rather nothing than a password on the screen.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except getpass.GetPassWarning:
            raise UsageError(NO_TERMINAL) from None
        except EOFError:
            raise UsageError("no password was typed; nothing was changed") from None
