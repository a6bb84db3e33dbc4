"""What is asked for, in words that `forker` understands, and what went wrong, in words for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Limit
from supervisortw.daemon.birth import StepFailed
from supervisortw.errors import PASSING, SpawnError
from supervisortw.interfaces import SpawnRequest


def search(request: SpawnRequest) -> list[str]:
    """Return the paths at which the command of ``request`` may be found, in order.

    A name is looked for in the absolute directories of PATH; others would mean different places for
    different readers.
    """
    first = request.command[0]
    if "/" in first:
        return [first]
    places = request.environment.get("PATH", os.defpath).split(":")
    return [os.path.join(place, first) for place in places if place.startswith("/")]


def encode(request: SpawnRequest, paths: Sequence[str], original: Sequence[Limit] = ()) -> bytes:
    """Return the message that describes ``request`` to the forker.

    ``original`` are limits that hold where the request has none of its own. Raises ValueError for what
    no program can be given, SpawnError if the message is too large.
    """
    items = [os.fsencode(item) for item in _items(request, paths, original)]
    message = b"\0".join(items)
    if message.count(b"\0") != len(items) - 1:
        raise ValueError("embedded null byte")
    if len(message) > LIMITS.spawn_request_bytes:
        raise too_large(len(message))
    return message


def _items(request: SpawnRequest, paths: Sequence[str], original: Sequence[Limit]) -> Iterator[str]:
    yield from (f"path {path}" for path in paths)
    yield f"args {len(request.command)}"
    yield from request.command
    yield f"env {len(request.environment)}"
    for name, value in request.environment.items():
        if not name or "=" in name:
            raise ValueError("illegal environment variable name")
        yield f"{name}={value}"
    yield f"directory {request.directory}"
    if request.umask is not None:
        yield f"umask {request.umask}"
    if request.cgroup is not None:
        yield f"cgroup {request.cgroup}"
    own = {limit.name for limit in request.limits}
    for limit in (*request.limits, *(each for each in original if each.name not in own)):
        soft, hard = ("unlimited" if n is None else n for n in (limit.soft, limit.hard))
        yield f"limit {limit.name} {soft} {hard}"
    if request.nice is not None:
        yield f"nice {request.nice}"
    if request.identity is not None:
        yield f"uid {request.identity.uid}"
        yield f"gid {request.identity.gid}"
        yield f"groups {' '.join(map(str, request.identity.groups))}"
    if request.no_new_privileges:
        yield "no-new-privileges yes"
    if request.death_signal is not None:
        yield f"death-signal {request.death_signal}"
    yield from (f"listen {name}" for name, _ in request.listening)


def too_large(size: int) -> SpawnError:
    """Return the refusal of a command and environment of ``size`` bytes."""
    most = LIMITS.spawn_request_bytes
    return SpawnError(
        f"command and environment are too large ({size} bytes, at most {most})", permanent=True
    )


def refusal(failure: StepFailed, paths: Sequence[str], request: SpawnRequest) -> SpawnError:
    """Return why the program was not started, for the operator."""
    permanent = failure.number not in PASSING
    name = paths[0] if len(paths) == 1 else request.command[0]
    if failure.step == "exec":
        return SpawnError(_exec_failed(failure.number, paths, request), permanent=permanent)
    what = os.strerror(failure.number)
    who = "" if request.identity is None else request.identity.login.name
    word, _, rest = failure.step.partition(" ")
    told = {
        "clone": what,
        "queue": f"too many programs wait to be started (at most {LIMITS.spawns_waiting})",
        "cgroup": f"cannot put it into {request.cgroup}: {what}",
        "limit": f"cannot set its limit {rest}: {what}",
        "nice": f"cannot set its nice value to {request.nice}: {what}",
        "identity": f"cannot become {who}: {what}",
        "root": f"{who} could become root again",
        "directory": f"its directory {request.directory}: {what}",
        "no-new-privileges": f"cannot forbid new privileges: {what}",
        "death-signal": f"cannot have it end with the daemon: {what}",
    }.get(word, f"{failure.step}: {what}")
    return SpawnError(f"cannot start {name}: {told}", permanent=permanent)


def _exec_failed(number: int, paths: Sequence[str], request: SpawnRequest) -> str:
    first = request.command[0]
    there = [path for path in paths if os.path.exists(path)]
    if number in {errno.ENOENT, errno.ENOTDIR} and not there:
        if "/" in first:
            return f"command not found: {first}"
        return (
            f"command not found: {first} (looked in {request.environment.get('PATH', os.defpath)})"
        )
    path = there[0] if there else paths[0]
    if number == errno.ENOENT:
        return f"cannot start {path}: the interpreter in its first line is missing"
    if number == errno.EACCES:
        who = "" if request.identity is None else f" by {request.identity.login.name}"
        what = "a directory" if os.path.isdir(path) else f"not executable{who}"
        return f"cannot start {path}: {what}"
    if number == errno.ENOEXEC:
        return f"cannot start {path}: not a program (a script needs a first line like #!/bin/sh)"
    return f"cannot start {path}: {os.strerror(number)}"
