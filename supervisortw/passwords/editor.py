"""The commands that change a password file: the same at the prompt and on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import Passwd, Record, comment, realm_of
from supervisortw.core.roles import Role
from supervisortw.core.selection import nearest
from supervisortw.core.srp import user_name
from supervisortw.core.text import one_line
from supervisortw.passwords.asking import Ask, UsageError
from supervisortw.passwords.findings import findings
from supervisortw.passwords.making import new_passwd, new_password, new_record, refuse_weak
from supervisortw.passwords.passwdfile import NoPasswdFile, PasswdFile


class Parser(argparse.ArgumentParser):
    """Raises UsageError for what it does not understand; one with help prints it when asked."""

    def __init__(self, **keys: object) -> None:
        super().__init__(allow_abbrev=False, **keys)  # type: ignore[arg-type]
        add = self.add_argument
        add("--role", metavar="ROLE", type=_role, help="what a new user may do: " + _ROLES)
        add("-g", "--generate", action="store_true", help="make a password, and show it once")
        add("--comment", metavar="TEXT", type=_comment, help="a remark on a new user")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(one_line(message))


@dataclass(slots=True)
class Options(argparse.Namespace):
    """What the options of a command say."""

    role: Role | None = None
    generate: bool = False
    comment: str = ""


class Editor:
    """A password file while it is being changed; nothing is on the disk before `save`.

    ``say`` prints a line. ``tell`` is called with a password that was made here, to show it once.
    """

    def __init__(
        self,
        file: PasswdFile,
        ask: Ask,
        say: Callable[[str], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._file = file
        self._ask = ask
        self._say = say
        self._tell = tell
        self.is_new = False
        try:
            self.passwd = file.read()
        except NoPasswdFile:
            self.passwd, self.is_new = new_passwd(), True
        self._saved = self.passwd

    @property
    def unsaved(self) -> bool:
        """True if there are changes that are not on the disk."""
        return self.passwd != self._saved

    def run(self, words: Sequence[str], options: Options) -> bool:
        """Carry out one command, and return whether it found all well. Raises UsageError and others."""
        name, *arguments = words
        command = COMMANDS.get(name)
        if command is None:
            near = nearest(name, COMMANDS)
            hint = f"did you mean {' or '.join(near)}?" if near else "'help' shows all commands"
            raise UsageError(f"no such command: {one_line(name)}; {hint}")
        if len(arguments) not in command.takes:
            raise UsageError(f"usage: {command.usage}")
        return command.run(self, options, *arguments) is not False

    def save(self) -> None:
        """Write the file. Raises LocalError."""
        self._file.write(self.passwd)
        self._saved, self.is_new = self.passwd, False

    def share(self, other: PasswdFile) -> None:
        """Take over the realm of another daemon's file, and how passwords are hashed there."""
        theirs = other.read()
        self._use_realm(replace(self.passwd, realm=theirs.realm, kdf=theirs.kdf))

    def _use_realm(self, passwd: Passwd) -> None:
        self.passwd = passwd
        old = [
            record.user
            for record in passwd.records.values()
            if (record.realm, record.kdf) != (passwd.realm, passwd.kdf)
        ]
        self._say(f"the realm is {passwd.realm.hex()}")
        if old:
            self._say(f"it holds for new passwords; {len(old)} users need one: {' '.join(old)}")

    def _record(self, user: str) -> Record:
        found = self.passwd.records.get(user)
        if found is None:
            near = nearest(user, self.passwd.records)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"no such user: {one_line(user)}{hint}")
        return found

    def _password(self, user: str, options: Options) -> str:
        if options.generate:
            return new_password()
        password = self._ask.password(user)
        warning = refuse_weak(password)
        if warning:
            self._say(f"warning: {warning}")
        return password

    def _put(self, record: Record, password: str, options: Options) -> None:
        self.passwd = self.passwd.put(record)
        if options.generate:
            self._tell(record.user, password)

    def add(self, options: Options, user: str) -> None:
        """Put a new user in."""
        user_name(user)
        users = self.passwd.records
        if user in users:
            raise UsageError(f"there is a user {user} already; 'passwd {user}' sets a new password")
        if len(users) >= LIMITS.passwd_users:
            raise UsageError(f"a password file has at most {LIMITS.passwd_users} users")
        role = options.role or self._ask.role(user, Role.OBSERVER if users else Role.ADMIN)
        password = self._password(user, options)
        record = new_record(self.passwd, user, password, role=role, comment=options.comment)
        self._put(record, password, options)
        self._say(f"{user} added as {role}")

    def set_password(self, options: Options, user: str) -> None:
        """Give a user a new password."""
        old = self._record(user)
        password = self._password(user, options)
        record = new_record(
            *(self.passwd, user, password),
            role=old.role,
            comment=old.comment,
            locked=old.locked,
        )
        self._put(record, password, options)
        self._say(f"{user} has a new password" + (", and is disabled" if old.locked else ""))

    def set_role(self, _: Options, user: str, role: str) -> None:
        """Give a user another role."""
        try:
            self.passwd = self.passwd.put(replace(self._record(user), role=Role.parse(role)))
        except ValueError as error:
            raise UsageError(f"no such role: {one_line(role)}; {error}") from None
        self._say(f"{user} is {role} now")

    def delete(self, _: Options, user: str) -> None:
        """Take a user out."""
        self._record(user)
        self.passwd = self.passwd.without(user)
        self._say(f"{user} deleted")

    def disable(self, _: Options, user: str) -> None:
        """Let a user in no more, and keep what is known of them."""
        self.passwd = self.passwd.put(replace(self._record(user), locked=True))
        self._say(f"{user} cannot log in any more")

    def enable(self, _: Options, user: str) -> None:
        """Let a user in again."""
        self.passwd = self.passwd.put(replace(self._record(user), locked=False))
        self._say(f"{user} can log in")

    def list_users(self, _: Options) -> None:
        """Print who is in the file; nothing that would help to guess a password."""
        rows = [("USER", "ROLE", "STATE", "PASSWORD SET", "COMMENT")]
        for each in self.passwd.records.values():
            state = "disabled" if each.locked else "enabled"
            rows.append((each.user, str(each.role), state, each.changed[:10], each.comment))
        if len(rows) == 1:
            self._say("no users")
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._say("  ".join(cells).rstrip())

    def realm(self, _: Options, text: str | None = None) -> None:
        """Print the realm, or set it."""
        if text is None:
            self._say(self.passwd.realm.hex())
            return
        try:
            self._use_realm(replace(self.passwd, realm=realm_of(text)))
        except ValueError as error:
            raise UsageError(str(error)) from None

    def check(self, _: Options) -> bool:
        """Print what should be known of the file; return whether that is nothing."""
        found = findings(self.passwd, self._file.mode)
        for line in found or ["nothing to complain about"]:
            self._say(line)
        return not found

    def help(self, _: Options) -> None:
        """Print all commands."""
        for line in help_lines():
            self._say(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; ``takes`` is how many words may follow its name."""

    usage: str
    summary: str
    run: Callable[..., bool | None]
    takes: tuple[int, ...] = (1,)
    makes: bool = False  # a file, where there is none


_ROLES = ", ".join(str(role) for role in Role)
COMMANDS = MappingProxyType(
    {
        "add": Command(
            usage="add USER [--role ROLE] [-g] [--comment TEXT]",
            summary="add a user; asks for role and password (-g makes one)",
            run=Editor.add,
            makes=True,
        ),
        "passwd": Command(
            usage="passwd USER [-g]",
            summary="set a new password",
            run=Editor.set_password,
        ),
        "role": Command(
            usage="role USER ROLE",
            summary=f"change what a user may do: {_ROLES}",
            run=Editor.set_role,
            takes=(2,),
        ),
        "del": Command(usage="del USER", summary="delete a user", run=Editor.delete),
        "disable": Command(
            usage="disable USER", summary="let a user in no more", run=Editor.disable
        ),
        "enable": Command(usage="enable USER", summary="let a user in again", run=Editor.enable),
        "list": Command(usage="list", summary="show all users", run=Editor.list_users, takes=(0,)),
        "realm": Command(
            usage="realm [HEX]",
            summary="show the realm, or set the one of another daemon",
            run=Editor.realm,
            takes=(0, 1),
        ),
        "check": Command(
            usage="check", summary="tell what could be better", run=Editor.check, takes=(0,)
        ),
        "help": Command(usage="help", summary="show this", run=Editor.help, takes=(0,), makes=True),
    }
)
AT_THE_PROMPT = (
    ("save", "write the changes to the file"),
    ("quit", "leave; 'quit!' drops changes that are not saved"),
)


def help_lines() -> list[str]:
    """Return a line for each command."""
    pairs = [*((each.usage, each.summary) for each in COMMANDS.values()), *AT_THE_PROMPT]
    width = max(len(usage) for usage, _ in pairs)
    return [f"{usage:{width}}  {summary}" for usage, summary in pairs]


def _role(text: str) -> Role:
    try:
        return Role.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _comment(text: str) -> str:
    try:
        return comment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
