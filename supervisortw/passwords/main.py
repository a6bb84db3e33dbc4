"""``supervisorctl passwd``: users and passwords of a daemon, from a prompt or by one command.

There is no reactor: nothing else has to happen while a password is being typed or hashed.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import pwd
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass

from supervisortw.config.loader import load_daemon
from supervisortw.config.places import find
from supervisortw.core.srp import SrpError
from supervisortw.core.text import printable
from supervisortw.daemon.places import refuse_unsafe_files
from supervisortw.errors import ConfigNotFound, LocalError, SupervisorError
from supervisortw.passwords.asking import Ask, Piped, Typed, UsageError
from supervisortw.passwords.editor import COMMANDS, Editor, Options, Parser, help_lines
from supervisortw.passwords.passwdfile import NoPasswdFile, PasswdFile
from supervisortw.passwords.prompt import at_terminal, run_prompt
from supervisortw.secrecy import keep_memory_secret

PROMPT_ONLY = ("save", "quit", "quit!")
WELL, NOT_WELL, USAGE, INTERRUPTED = 0, 1, 2, 5  # as all commands of supervisorctl end


@dataclass(slots=True)
class Given(Options):
    """The command line."""

    daemon_config: str | None = None
    password_stdin: bool = False
    password_fd: int | None = None
    realm_from: str | None = None


def main(arguments: Sequence[str]) -> int:
    """Carry out ``supervisorctl passwd`` with these words behind it; return the exit code."""
    keep_memory_secret()
    try:
        given = Given()
        words = _parser().parse_intermixed_args(arguments, given).words
        return _flushed(_run(given, words))
    except UsageError as error:
        _complain(str(error))
        return USAGE
    except (SupervisorError, SrpError) as error:
        _complain(str(error))
        return NOT_WELL
    except KeyboardInterrupt:
        _complain("interrupted; nothing was saved")
        return INTERRUPTED
    except OSError as error:  # a password that was made here may have been lost
        _complain(f"cannot write what there is to say: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_WELL


def _flushed(code: int) -> int:
    """Return ``code`` once all is written. Raises OSError."""
    print(end="", flush=True)
    return code


def _run(given: Given, words: list[str]) -> int:
    path, words = _split(words)
    file = _file(path, given.daemon_config)
    ask = _ask(given, words)
    if not words and given.realm_from is None:
        if sys.stdin is None:
            raise UsageError("a prompt needs a standard input")
        editor = Editor(file, ask, print, _show)
        return WELL if run_prompt(editor, file.path, print, _complain) else NOT_WELL
    return _at_once(file, ask, given, words)


def _at_once(file: PasswdFile, ask: Ask, given: Given, words: Sequence[str]) -> int:
    """Carry out one command, and save what it changes."""
    made: list[str] = []  # printed when it counts
    # Passwords that are made here are all that scripts want to read.
    say = _complain if given.generate else print
    editor = Editor(file, ask, say, lambda _, password: made.append(password))
    if editor.is_new and given.realm_from is None and not (words and COMMANDS[words[0]].makes):
        raise NoPasswdFile(
            f"{file.path} does not exist; the first user makes it: supervisorctl passwd {file.path}"
        )
    if given.realm_from is not None:
        editor.share(PasswdFile(os.path.abspath(given.realm_from), lenient=True))
    well = editor.run(words, given) if words else True
    if editor.unsaved:
        editor.save()
    for password in made:
        print(password)
    return WELL if well else NOT_WELL


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """Tell a file from the command behind it; either may be left out. Raises UsageError."""
    if not words:
        return None, words
    word, *rest = words
    name = printable(word)
    if word in COMMANDS:
        if rest or 0 in COMMANDS[word].takes:
            return None, words
        if not os.path.lexists(word):  # otherwise that is what can be meant
            raise UsageError(f"usage: {COMMANDS[word].usage} (a file of that name: ./{name})")
    elif "/" not in word and not os.path.lexists(word):
        near = difflib.get_close_matches(word, COMMANDS, cutoff=0.7)
        if near or word in PROMPT_ONLY:
            hint = f"did you mean {' or '.join(near)}?" if near else "it is for the prompt"
            raise UsageError(f"no such command: {name}; {hint} (a file of that name: ./{name})")
    return word, rest


def _ask(given: Given, words: Sequence[str]) -> Ask:
    ways = (given.generate, given.password_stdin, given.password_fd is not None)
    if any(ways) and (not words or words[0] not in ("add", "passwd")):
        raise UsageError("a password is for the commands add USER and passwd USER only")
    if sum(ways) > 1:
        raise UsageError("-g, --password-stdin and --password-fd: only one of them can be")
    if given.password_stdin:
        return Piped(0)
    if given.password_fd is not None:
        return Piped(given.password_fd)
    return Typed(can_choose=not words and at_terminal())


def _file(path: str | None, daemon_config: str | None) -> PasswdFile:
    """Return the file that is named, or that of the daemon's configuration. Raises SupervisorError."""
    owner = None
    if path is not None:
        if daemon_config is not None:
            raise UsageError(f"two files: {path}, and the one that {daemon_config} names")
        path = os.path.abspath(path)
    else:
        path, owner = _configured(daemon_config)
    with contextlib.suppress(OSError):
        owner = os.lstat(path).st_uid  # who owns it, keeps it
    return PasswdFile(path, owner=owner, lenient=True)


def _configured(daemon_config: str | None) -> tuple[str, int | None]:
    try:
        source = daemon_config or find("supervisord")
    except ConfigNotFound as error:
        looked = "".join(f"\n    {place}" for place in error.places)
        raise LocalError(
            "which password file? Say supervisorctl passwd FILE; there is no supervisord.conf that "
            f"names one (see also --daemon-config):{looked}"
        ) from None
    configuration = load_daemon(source)
    refuse_unsafe_files(configuration.files)
    path = configuration.settings.passwdfile
    if path is None:
        raise LocalError(
            f"which password file? {source} does not say: add the line 'passwdfile PATH' to it, or "
            "say supervisorctl passwd FILE"
        )
    return path, _uid(configuration.settings.user)


def _uid(name: str | None) -> int | None:
    """Return whom the daemon runs as, if that is known."""
    if name is None:
        return None
    try:
        if name.isascii() and name.isdigit():
            return int(name)
        return pwd.getpwnam(name).pw_uid
    except (KeyError, OverflowError):
        raise LocalError(f"no such user: {name} (key user)") from None


def _parser() -> Parser:
    commands = "\n".join(f"  {line}" for line in help_lines())
    parser = Parser(
        prog="supervisorctl passwd",
        usage="supervisorctl passwd [OPTION ...] [FILE] [COMMAND ...]",
        description=(
            "Edit the users and passwords of supervisord: with a command, or from a prompt without "
            "one.\nFILE is by default the 'passwdfile' of supervisord.conf."
        ),
        epilog=f"commands:\n{commands}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--daemon-config", metavar="FILE", help="the supervisord.conf that names the file")
    add("--password-stdin", action="store_true", help="read the password from standard input")
    add("--password-fd", metavar="N", type=_descriptor, help="read it from this descriptor")
    add("--realm-from", metavar="FILE", help="share the realm of another daemon's password file")
    add("words", nargs="*", metavar="COMMAND", help="what to do, see below")
    return parser


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise ValueError(text)
    return int(text)


def _show(user: str, password: str) -> None:
    print(f"the password of {user} is {password}\nit is not shown again")


def _complain(text: str) -> None:
    print(printable(text), file=sys.stderr)
