"""Paths of a configuration: made absolute, and each file used for one thing only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from supervisortw.config.datatypes import is_shared
from supervisortw.config.problems import COMMAND_LINE, Place, Problems
from supervisortw.config.wording import quoted, shown
from supervisortw.core.expand import literal
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, UnixAddress

# The room in the kernel's address of a UNIX socket, less the byte that ends it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Where relative paths start: those in any file, and those on the command line.

    ``uid`` is the user whose default places hold; None: the one who runs this process.
    """

    file: str
    command_line: str
    uid: int | None = None

    def absolute(self, path: str, place: Place) -> str:
        """Return ``path``, which stands at ``place``, as an absolute one. Links are not looked at."""
        start = self.command_line if place == COMMAND_LINE else self.file
        return os.path.normpath(os.path.join(start, path))

    def template(self, path: str) -> str:
        """Return as an absolute one a ``path`` that stands in a file and may hold ``%(...)d``."""
        return os.path.normpath(os.path.join(literal(self.file), path))


@dataclass(slots=True)
class Claims:
    """Which file is used for what, so that no two things write to the same."""

    problems: Problems
    _taken: dict[str, tuple[str, Place]] = field(default_factory=dict)

    def claim(self, path: str, what: str, place: Place) -> bool:
        """Note that ``path`` is ``what``, or, and return False, that it is something else already.

        Beside files, TCP ports can be claimed, by how they are written.
        """
        if is_shared(path):
            return True
        if path not in self._taken:
            self._taken[path] = what, place
            return True
        other, where = self._taken[path]
        self.problems.add(
            place, f"{what} cannot be {shown(path)}: that is {other} ({where.seen_from(place)})"
        )
        return False


def addresses(
    given: list[Address], places: list[Place], directories: Directories, problems: Problems
) -> dict[Address, Place]:
    """Return control sockets with absolute paths, each once, with the place of each."""
    found: dict[Address, Place] = {}
    for address, place in zip(given, places, strict=True):
        complete = address
        if isinstance(address, UnixAddress):
            complete = UnixAddress(path=directories.absolute(address.path, place))
            check_socket_path(complete.path, "socket-name", place, problems)
        if complete in found:
            where = found[complete].seen_from(place)
            problems.add(place, f"the socket {shown(str(complete))} is given twice ({where})")
        found.setdefault(complete, place)
    return found


def check_socket_path(path: str, key: str, place: Place, problems: Problems) -> None:
    """Note if ``path``, for which ``key`` is, is too long to be the name of a UNIX socket."""
    length = len(os.fsencode(path))
    if length > LIMITS.socket_path_bytes:
        problems.add(
            place,
            f"the path of a UNIX socket has at most {LIMITS.socket_path_bytes} bytes;"
            f" {shown(path)} has {length}: choose a shorter one with {quoted(key)}",
        )


def directories(source: str, uid: int | None = None) -> Directories:
    """Return where the relative paths start of the file ``source``, and of its command line."""
    try:
        here = os.getcwd()
    except OSError:  # it was removed; absolute paths need none
        here = "/"
    return Directories(file=os.path.dirname(source), command_line=here, uid=uid)
