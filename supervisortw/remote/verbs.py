"""Everything that can be asked of a daemon: a closed table of verbs, who may, and with what arguments.

A verb is looked up in `VERBS`, never by its name on an object.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.spread import pb

from supervisortw import __version__
from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.core.signals import signal_name, signal_number
from supervisortw.core.text import one_line
from supervisortw.errors import BadRequest, Denied
from supervisortw.remote.security import LARGEST_INTEGER

Check = Callable[[object], Any]

# What an operator may send to a program; the others can leave it dead or in a state that nobody wants.
OPERATORS_SIGNALS = frozenset(
    {
        *(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
    }
)


def names(value: object) -> list[str]:
    """Accept a list of short texts."""
    if isinstance(value, (list, tuple)) and len(value) <= LIMITS.broker_list_items:
        return [text(item) for item in value]
    raise BadRequest("a list of names was expected")


def text(value: object) -> str:
    """Accept a short text."""
    if isinstance(value, str) and len(value) <= LIMITS.name_characters:
        return value
    raise BadRequest("a short text was expected")


def log_name(value: object) -> str | None:
    """Accept a program's name, or None for the daemon's own log."""
    return None if value is None else text(value)


def number(value: object) -> int:
    """Accept a number that is not negative, and that we could send back."""
    if type(value) is int and 0 <= value <= LARGEST_INTEGER:
        return value
    raise BadRequest("a number was expected")


def data(value: object) -> bytes:
    """Accept bytes that a program could be given at once."""
    if isinstance(value, bytes) and len(value) <= LIMITS.stdin_bytes:
        return value
    raise BadRequest(f"a value of at most {LIMITS.stdin_bytes} bytes was expected")


def receiver(value: object) -> pb.RemoteReference:
    """Accept an object of the peer's."""
    if isinstance(value, pb.RemoteReference):
        return value
    raise BadRequest("a reference was expected")


# What takes a higher role than its verb, and what that is called.
Demand = tuple[Role, str]


def _nothing_more(arguments: Sequence[Any]) -> Demand:
    return Role.OBSERVER, ""


def _own_log(arguments: Sequence[Any]) -> Demand:
    """The daemon's own log tells of all programs, and of who asks for what."""
    return (Role.ADMIN, "supervisord's own log") if arguments[0] is None else (Role.OBSERVER, "")


def _other_signals(arguments: Sequence[Any]) -> Demand:
    try:
        number = signal_number(arguments[0])
    except ValueError:  # what it is called is refused with better words
        return Role.OPERATOR, ""
    if number in OPERATORS_SIGNALS:
        return Role.OPERATOR, ""
    return Role.ADMIN, f"the signal {signal_name(number)}"


@dataclass(frozen=True, slots=True)
class Verb:
    """What it takes to ask for something: at least ``role``, and arguments that pass ``checks``.

    ``demand`` tells of arguments that take more, given those that have passed.
    """

    role: Role
    checks: tuple[Check, ...] = ()
    demand: Callable[[Sequence[Any]], Demand] = _nothing_more


VERBS: dict[str, Verb] = {
    "hello": Verb(Role.OBSERVER),
    "ping": Verb(Role.OBSERVER),
    "page": Verb(Role.OBSERVER, (number, number)),
    "status": Verb(Role.OBSERVER, (names,)),
    "why": Verb(Role.OBSERVER, (names,)),
    "tail": Verb(Role.OBSERVER, (log_name, number), _own_log),
    "read_log": Verb(Role.OBSERVER, (log_name, number, number), _own_log),
    "follow": Verb(Role.OBSERVER, (log_name, number, text, receiver), _own_log),
    "unfollow": Verb(Role.OBSERVER, (number,)),
    "events": Verb(Role.OBSERVER, (number, number)),
    "follow_events": Verb(Role.OBSERVER, (number, receiver)),
    "start": Verb(Role.OPERATOR, (names,)),
    "stop": Verb(Role.OPERATOR, (names,)),
    "stop_all_of_it": Verb(Role.OPERATOR, (names,)),
    "restart": Verb(Role.OPERATOR, (names,)),
    "signal": Verb(Role.OPERATOR, (text, names), _other_signals),
    "clear": Verb(Role.OPERATOR, (names,)),
    "scale": Verb(Role.ADMIN, (text, number)),  # the number of processes is configuration
    "write_stdin": Verb(Role.ADMIN, (data, names)),  # what a shell reads are commands
    "reload": Verb(Role.ADMIN),
    "reread": Verb(Role.ADMIN),
    "shutdown": Verb(Role.ADMIN),
}


def verbs_of(role: Role) -> list[str]:
    """Return the verbs that somebody with ``role`` may ask for, with some arguments at least."""
    return sorted(name for name, verb in VERBS.items() if verb.role <= role)


def checked(role: Role, name: str, arguments: Any, keywords: Any) -> list[Any]:
    """Return the arguments of a call as its verb takes them. Raises Denied and BadRequest."""
    verb = VERBS.get(name)
    if verb is None:
        raise BadRequest(f"supervisord {__version__} has no verb {one_line(name)[:64]!r}")
    _require(verb.role, name.replace("_", " "), role)
    if keywords or len(arguments) != len(verb.checks):
        raise BadRequest(f"{name} takes {len(verb.checks)} arguments")
    values = [check(value) for check, value in zip(verb.checks, arguments, strict=True)]
    _require(*verb.demand(values), role)
    return values


def _require(needed: Role, what: str, role: Role) -> None:
    if role < needed:
        raise Denied(f"{what} takes the role {needed}; yours is {role}")
