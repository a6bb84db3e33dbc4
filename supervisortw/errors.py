"""Every error that supervisortw raises on purpose; the text of each is what the operator reads.

::

    SupervisorError
    +- ConfigError            the configuration: all problems of a file, with file and line
    |  +- ConfigNotFound      no configuration file in any of the places looked at
    +- AuthError              who you are, or what you may do
    |  +- Denied
    |  +- PasswordWanted      the daemon wants a password, and none was given
    |  +- WrongPassword       a login by password has failed
    |  |  +- Impostor         whoever let us in does not know what the daemon has to know
    |  +- TooManyFailures     the daemon takes no logins from here for a while
    +- LocalError             this machine: files, sockets, processes
    |  +- AlreadyRunning      another daemon holds the state directory or the socket
    |  +- UnsafePath          a path that somebody else could change under us
    |  +- SpawnError          a program could not be started
    |  +- InvalidTransition   a life-cycle event that cannot happen in that state
    +- RemoteError            the other end of a control connection
       +- Unreachable         nothing answers there
       +- TimedOut            something is there and does not answer in time
       +- BadRequest          the daemon did not understand the request
       +- Refused             the daemon understood, and says no, with the reason
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

# Shortages that pass, and files that may be there again in a moment.
PASSING = frozenset(
    {
        *(errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
        *(errno.ETXTBSY, errno.ETIMEDOUT),
    }
)


class SupervisorError(Exception):
    """Something went wrong that the person at the terminal should read about."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration, and where.

    ``file`` is a path or the word for another source ("command line"); ``line`` counts from 1 and
    is None where the problem belongs to no single line.
    """

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}"


class ConfigError(SupervisorError):
    """The configuration has problems; ``problems`` holds all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigNotFound(ConfigError):
    """No configuration file was found; the message lists every place that was tried."""

    def __init__(self, name: str, places: Sequence[str]) -> None:
        self.places = tuple(places)
        listed = "".join(f"\n    {place}" for place in places)
        problem = Problem(name, None, f"not found; name one with -c, or make one of:{listed}")
        super().__init__([problem])


class AuthError(SupervisorError):
    """Who you are, or what you may do, was not accepted."""


class Denied(AuthError):
    """The daemon does not let this user in, or does not let them do that."""


class PasswordWanted(AuthError):
    """The daemon lets nobody in without a password, and there is none."""


class WrongPassword(AuthError):
    """A login by password has failed: the password is wrong, or somebody stands in between."""


class Impostor(WrongPassword):
    """Somebody let us in who does not know what the daemon knows of the password."""


class TooManyFailures(AuthError):
    """Too many logins from here have failed; the daemon takes none for a while."""


class LocalError(SupervisorError):
    """Something on this machine (a file, a socket, a process) is not as it must be."""


class AlreadyRunning(LocalError):
    """Another daemon is alive where this one wants to be."""


class UnsafePath(LocalError):
    """A path that somebody else could change under us; the message names the component."""


class SpawnError(LocalError):
    """A program could not be started.

    ``permanent`` is true where trying again cannot help before somebody mends something (no such
    command, no such user, log not writable), false for a shortage that passes (see PASSING).
    """

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


class InvalidTransition(LocalError):
    """An event that cannot happen in the state a program is in; nothing was changed."""


class RemoteError(SupervisorError):
    """The other end of a control connection failed us."""


class Unreachable(RemoteError):
    """Nothing answers at that address."""


class TimedOut(RemoteError):
    """The peer is there and did not answer in time."""


class BadRequest(RemoteError):
    """The daemon did not understand the request: wrong arguments, or a verb it does not know."""


class Refused(RemoteError):
    """The daemon understood the request and refuses it; the message says why."""
