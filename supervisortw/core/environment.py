"""Which environment a program gets.

Under the daemon's own identity a program inherits the daemon's environment, less the variables that
were meant for the daemon alone. Under another identity it starts clean: what the daemon was given may
hold secrets that the other user must not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from supervisortw.core.model import Process

OURS = ("SUPERVISOR_",)
FOR_THE_DAEMON_ALONE = (
    "NOTIFY_SOCKET",
    "CREDENTIALS_DIRECTORY",
    "WATCHDOG_",
    "LISTEN_",
    *OURS,
)
KEPT_FOR_OTHERS = ("LANG", "LC_", "TZ")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a login of that user would set."""

    name: str
    home: str
    shell: str


def inherited(
    daemon: Mapping[str, str], login: Login | None, passed: Iterable[str]
) -> dict[str, str]:
    """Return what a program has from the daemon's environment and from its login.

    ``login`` None means that the program runs under the daemon's own identity. ``passed`` is its
    ``pass-environment``.
    """
    if login is None:
        names = {name for name in daemon if not _is_one_of(name, FOR_THE_DAEMON_ALONE)}
    else:
        names = {name for name in daemon if _is_one_of(name, KEPT_FOR_OTHERS)}
    names |= {name for name in daemon if _is_passed(name, passed)}
    environment = {name: daemon[name] for name in sorted(names)}
    if login is not None:
        environment.setdefault("PATH", DEFAULT_PATH)
        environment["HOME"] = login.home
        environment["USER"] = environment["LOGNAME"] = login.name
        environment["SHELL"] = login.shell
    return environment


def build(
    process: Process, base: Mapping[str, str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of ``process``: what it has `inherited`, and what is its own.

    ``given`` is what its files of environment variables say; its own ``environment`` wins over them,
    and both over the rest.
    """
    return {
        **base,
        "SUPERVISOR_ENABLED": "1",
        "SUPERVISOR_PROCESS_NAME": process.process,
        "SUPERVISOR_GROUP_NAME": process.group,
        **(given or {}),
        **dict(process.environment),
    }


def withheld(daemon: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the daemon's variables that are not in ``environment``, sorted."""
    return tuple(sorted(name for name in daemon if name not in environment))


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """True if ``name`` is a pattern, or begins with one that ends in an underscore."""
    return any(
        name == pattern or (pattern.endswith("_") and name.startswith(pattern))
        for pattern in patterns
    )


def _is_like(name: str, pattern: str) -> bool:
    """True if ``name`` is ``pattern``, in which each star stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def _is_passed(name: str, patterns: Iterable[str]) -> bool:
    """True if ``pass-environment`` lets it through; ``*`` means all but what is the daemon's alone."""
    for pattern in patterns:
        if pattern == name:
            return True
        if "*" in pattern and _is_like(name, pattern):
            return not _is_one_of(name, FOR_THE_DAEMON_ALONE)
    return False
