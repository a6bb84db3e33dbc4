"""Which environment a program gets.

Under the daemon's own identity a program inherits the daemon's environment, less the variables that
were meant for the daemon alone. Under another identity it starts clean: what the daemon was given may
hold secrets that the other user must not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from supervisortw.core.model import Program

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


def build(
    program: Program,
    daemon: Mapping[str, str],
    login: Login | None,
    given: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment of ``program``, and the names that were withheld from it, sorted.

    ``login`` None means that the program runs under the daemon's own identity. ``given`` is what its
    files of environment variables say; its own ``environment`` wins over them, and both over the rest.
    """
    if login is None:
        inherited = {name for name in daemon if not _is_one_of(name, FOR_THE_DAEMON_ALONE)}
    else:
        inherited = {name for name in daemon if _is_one_of(name, KEPT_FOR_OTHERS)}
    allowed = {name for name in daemon if _is_passed(name, program.pass_environment)}
    passed = inherited | allowed
    environment = {name: daemon[name] for name in sorted(passed)}
    if login is not None:
        if "PATH" not in passed:
            environment["PATH"] = DEFAULT_PATH
        environment["HOME"] = login.home
        environment["USER"] = environment["LOGNAME"] = login.name
        environment["SHELL"] = login.shell
    environment["SUPERVISOR_ENABLED"] = "1"
    environment["SUPERVISOR_PROCESS_NAME"] = program.name
    environment.update(given or {})
    environment.update(program.environment)
    withheld = sorted(name for name in daemon if name not in environment)
    return environment, tuple(withheld)


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """True if ``name`` is a pattern, or begins with one that ends in an underscore."""
    return any(
        name == pattern or (pattern.endswith("_") and name.startswith(pattern))
        for pattern in patterns
    )


def _is_passed(name: str, patterns: Iterable[str]) -> bool:
    """True if ``pass-environment`` lets it through; ``*`` means all but what is the daemon's alone."""
    for pattern in patterns:
        if pattern == name:
            return True
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return not _is_one_of(name, FOR_THE_DAEMON_ALONE)
    return False
