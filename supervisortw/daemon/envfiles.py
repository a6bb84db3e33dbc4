"""Reading the files of environment variables that a program is given at each start."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from supervisortw.core.envfile import parse
from supervisortw.core.limits import LIMITS
from supervisortw.daemon.paths import open_regular
from supervisortw.daemon.places import owners
from supervisortw.errors import LocalError, SpawnError


def read_all(paths: Iterable[str]) -> dict[str, str]:
    """Return the variables of all files, later ones winning; a file ``-PATH`` may be missing.

    The files hold secrets and decide what runs how, so they have to belong to root or the daemon's
    user, and nobody else may write them. Raises SpawnError.
    """
    variables: dict[str, str] = {}
    for path in paths:
        optional = path.startswith("-")
        name = path.removeprefix("-")
        if not (optional and not os.path.lexists(name)):
            variables.update(_read(name))
    return variables


def _read(path: str) -> dict[str, str]:
    try:
        descriptor = open_regular(path, os.O_RDONLY, 0, owners=owners())
    except LocalError as error:
        raise SpawnError(f"environment-file: {error}", permanent=True) from None
    with open(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o022:
            raise _refusal(path, "others can write it; chmod go-w it")
        data = file.read(LIMITS.environment_file_bytes + 1)
    if len(data) > LIMITS.environment_file_bytes:
        raise _refusal(path, f"more than {LIMITS.environment_file_bytes} bytes")
    try:
        return parse(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _refusal(path, "not UTF-8") from None
    except ValueError as error:
        raise _refusal(path, str(error)) from None


def _refusal(path: str, reason: str) -> SpawnError:
    return SpawnError(f"environment-file {path}: {reason}", permanent=True)
