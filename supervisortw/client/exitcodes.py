"""The exit codes of supervisorctl: one table, the same for one command and for many."""

from __future__ import annotations

import enum

from supervisortw.errors import AuthError, BadRequest, Refused, RemoteError, TimedOut, Unreachable


class ExitCode(enum.IntEnum):
    """What became of a command; of several, the highest counts."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NOT_AS_ASKED = 3
    REFUSED = 4
    INTERRUPTED = 5
    UNREACHABLE = 6
    DENIED = 7
    TIMED_OUT = 8


def code_of(error: Exception) -> ExitCode:
    """Return the exit code that ``error`` stands for."""
    for kind, code in (
        (Refused, ExitCode.REFUSED),
        (BadRequest, ExitCode.USAGE),
        (TimedOut, ExitCode.TIMED_OUT),
        (Unreachable, ExitCode.UNREACHABLE),
        (RemoteError, ExitCode.SOME_FAILED),
        (AuthError, ExitCode.DENIED),
    ):
        if isinstance(error, kind):
            return code
    return ExitCode.SOME_FAILED
