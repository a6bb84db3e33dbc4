"""Making room in a log: the file becomes an older one, and a new one takes its place.

The older files of ``web.log`` are ``web.log.1``, ``web.log.2`` and so on, the youngest first. A file is
cut behind its last newline; what stands behind that begins the new file. The steps are such that
a daemon that dies between any two of them loses and repeats nothing: the next one sees from the files
how far it had got (`finish`).

1. The part behind the last newline is copied to ``web.log.new``.
2. ``web.log`` is cut behind its last newline.
3. Older files move on by one, up to the first number that is free, or the oldest goes.
4. ``web.log`` becomes ``web.log.1``.
5. ``web.log.new`` becomes ``web.log``.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.logs.logdirectory import LogDirectory
from supervisortw.errors import LocalError

FLAGS = os.O_RDWR | os.O_CREAT
MODE = 0o640
GZ = ".gz"


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new file, open, and how many bytes of the old one stay in the old one.

    ``removed`` are files that have no name any more, still open: to close the last descriptor of a large
    one takes long.
    """

    file: int
    cut: int
    removed: tuple[int, ...]


def older(name: str, number: int) -> str:
    """Return the name of an older file of the log ``name``."""
    return f"{name}.{number}"


def line_end(file: int, size: int) -> int | None:
    """Return behind which byte a file can be cut without cutting a line.

    None if there is no newline in its last LIMITS.log_line_bytes.
    """
    begin = max(0, size - LIMITS.log_line_bytes)
    found = os.pread(file, size - begin, begin).rfind(b"\n")
    return None if found < 0 else begin + found + 1


def rotate(directory: LogDirectory, name: str, file: int, cut: int, backups: int) -> Rotated:
    """Put a new file in the place of ``file``, which is kept up to ``cut`` as the youngest older one.

    ``backups`` is how many older ones there are at most. Raises LocalError; the log can go on in the
    old file then.
    """
    fresh = _fresh(name)
    remove(directory, fresh)  # of somebody else: what a daemon has left there is finished by now
    made = directory.open(fresh, FLAGS | os.O_EXCL, MODE)
    try:
        _give(file, cut, made)
    except OSError as error:
        os.close(made)
        directory.remove(fresh)
        raise LocalError(f"cannot write {fresh}: {error.strerror}") from error
    try:
        removed = _replace(directory, name, backups)
    except LocalError:
        try:
            _take_back(directory, name, file, made)
        finally:
            os.close(made)
        raise
    return Rotated(made, cut, tuple(removed))


def finish(directory: LogDirectory, name: str, backups: int) -> None:
    """Go on where a daemon that has died had got to. Raises LocalError."""
    fresh = _fresh(name)
    if directory.stat(fresh) is None:
        return
    if directory.stat(name) is None:
        directory.rename(fresh, name)
        return
    file = directory.open(name, os.O_RDWR, MODE)
    try:
        if not _ends_with_line(file):
            directory.remove(fresh)  # nothing was taken from the file yet
            return
        made = directory.open(fresh, os.O_RDWR, MODE)
        try:
            for removed in _replace(directory, name, backups):
                os.close(removed)
        except LocalError:
            _take_back(directory, name, file, made)
            raise
        finally:
            os.close(made)
    finally:
        os.close(file)


def write_all(file: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``. Raises OSError, with some of it perhaps written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _give(file: int, cut: int, made: int) -> None:
    """Move what stands behind ``cut`` to the new file."""
    rest = os.pread(file, os.fstat(file).st_size - cut, cut)
    if rest:
        write_all(made, rest, 0)
        os.ftruncate(file, cut)


def remove(directory: LogDirectory, name: str) -> None:
    """Remove a file if it is there. Raises LocalError."""
    if directory.stat(name) is not None:
        directory.remove(name)


def _replace(directory: LogDirectory, name: str, backups: int) -> list[int]:
    """Put the new file in its place; return what was removed for that, open."""
    moves = [(_fresh(name), name)]
    removed: list[int] = []
    try:
        if backups:
            moves = [*_moves(directory, name, backups, removed), (name, older(name, 1)), *moves]
        directory.rename_all(moves)
    except LocalError:
        for each in removed:
            os.close(each)
        raise
    return removed


def _moves(
    directory: LogDirectory, name: str, backups: int, removed: list[int]
) -> list[tuple[str, str]]:
    """Remove what has too high a number; return how the others move on, so that 1 is free."""
    free = 1
    while free <= backups and find_older(directory, name, free) is not None:
        free += 1
    surplus = backups if free > backups else backups + 1
    while (found := find_older(directory, name, surplus)) is not None:
        with contextlib.suppress(LocalError):
            removed.append(directory.open(found, os.O_RDONLY, 0))
        for form in ("", GZ):
            remove(directory, older(name, surplus) + form)
        surplus += 1
    moves = []
    for number in range(min(free, backups), 1, -1):
        found = find_older(directory, name, number - 1)
        assert found is not None
        form = found.removeprefix(older(name, number - 1))
        moves.append((found, older(name, number) + form))
    return moves


def find_older(directory: LogDirectory, name: str, number: int) -> str | None:
    """Return the name of an older file, compressed or not, if it is there."""
    plain = older(name, number)
    return next((each for each in (plain, plain + GZ) if directory.stat(each) is not None), None)


def _take_back(directory: LogDirectory, name: str, file: int, made: int) -> None:
    """Put what the new file has to the end of the old one, if that has still its name.

    Then it does not end with a line, so `finish` sees that nothing was taken from it.
    """
    named = directory.stat(name)
    if named is not None and os.path.samestat(named, os.fstat(file)):
        try:
            write_all(file, os.pread(made, os.fstat(made).st_size, 0), os.fstat(file).st_size)
        except OSError as error:
            raise LocalError(f"cannot write {name}: {error.strerror}") from error


def _ends_with_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"


def _fresh(name: str) -> str:
    return f"{name}.new"
