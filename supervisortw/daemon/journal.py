"""The file in which the daemon writes down what it would have to know if it were killed now.

Every line is written at once, with one write(2) of some microseconds, and not synced: it outlives the
daemon, and the end of the machine makes all of it void. When the file has grown to a multiple of what
holds, it is written anew. Trouble with the file never stops the daemon: what it did not take is written
with the next line, as a new file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from twisted.logger import Logger

from supervisortw.core import chronicle
from supervisortw.core.anchor import Anchor
from supervisortw.core.chronicle import Foreign, Left
from supervisortw.core.limits import LIMITS
from supervisortw.core.memory import Memory
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.errors import PASSING, LocalError

log = Logger(namespace="supervisor")

_ENDING = ("ending", "")


class Journal:
    """Writes down what a later daemon would need; see `supervisortw.core.chronicle` for the lines.

    ``world`` and ``token`` are those of its opening. The first line makes the file, in place of what
    was there; what the daemon before has ``left`` goes on to hold.
    """

    def __init__(self, directory: str, world: str, token: str, left: Left) -> None:
        self._kept = _kept(directory)
        self._world, self._token, self._spawns = world, token, left.spawns
        self._lines = dict(_holding(left))  # by what they are about
        self._file = -1
        self._size = 0
        self._limit = 0
        self._troubled = False
        self._closed = False

    def process(self, name: str, memory: Memory) -> None:
        """Write down what is to be remembered of a process."""
        if memory.spawn is not None:
            self._spawns = max(self._spawns, memory.spawn.number)
        self._write(("process", name), chronicle.process(name, memory))

    def gone(self, name: str) -> None:
        """Forget a process."""
        for each in (name, f"{name}/stderr"):
            self._lines.pop(("log", each), None)
        if self._lines.pop(("process", name), None) is not None:
            self._append(chronicle.gone(name))

    def scaled(self, program: str, said: int, count: int) -> None:
        """Write down that a program was scaled."""
        self._write(("scaled", program), chronicle.scaled(program, said, count))

    def unscaled(self, program: str) -> None:
        """Write down that a program is not scaled any more."""
        if self._lines.pop(("scaled", program), None) is not None:
            self._append(chronicle.unscaled(program))

    def log(self, name: str, anchor: Anchor) -> None:
        """Write down where the file of a log begins."""
        self._write(("log", name), chronicle.log(name, anchor))

    def ending(self, exit_code: int) -> None:
        """Write down that the daemon shuts down, in order to exit with ``exit_code``."""
        self._write(_ENDING, chronicle.ending(exit_code))

    def remove(self) -> None:
        """Remove the file: nothing is left that somebody would have to go on with."""
        self.close()
        self._closed = True
        self._kept.remove()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, about: tuple[str, str], line: str) -> None:
        self._lines.pop(about, None)  # the order is that of the last lines
        self._lines[about] = line
        self._append(line)

    def _append(self, line: str) -> None:
        if self._closed:
            return
        data = line.encode() + b"\n"
        if self._file < 0 or self._size + len(data) > self._limit:
            self.write_anew()
            return
        try:
            whole = os.write(self._file, data) == len(data)
        except OSError as error:
            self._in_trouble(error)
            return
        self._size += len(data)
        if not whole:  # the disk is full: the next line begins a new file
            self._in_trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def write_anew(self) -> None:
        """Write a new file with all lines that hold, in place of the old one."""
        self.close()
        opening = chronicle.opening(self._world, self._token, self._spawns)
        data = "\n".join([opening, *self._lines.values(), ""]).encode()
        try:
            file = self._kept.replace(data)
        except (LocalError, OSError) as error:
            self._in_trouble(error)
            return
        self._file, self._size = file, len(data)
        grown = max(LIMITS.journal_bytes, LIMITS.journal_growth * len(data))
        self._limit = min(grown, LIMITS.journal_read_bytes)
        if self._troubled:
            self._troubled = False
            log.info("the journal is written again")

    def _in_trouble(self, error: Exception) -> None:
        self.close()
        self._kept.remove()  # what is old would be believed
        if not self._troubled:
            self._troubled = True
            reason = error.strerror if isinstance(error, OSError) else error
            log.error(
                "cannot write {path}: {reason}; if supervisord is killed now, it does not know its"
                " programs again",
                path=self._kept.path,
                reason=reason,
            )


def _holding(left: Left) -> Iterator[tuple[tuple[str, str], str]]:
    """Give the lines that tell what was left, with what each is about."""
    for program, (said, count) in left.scaled.items():
        yield ("scaled", program), chronicle.scaled(program, said, count)
    for name, memory in left.processes.items():
        yield ("process", name), chronicle.process(name, memory)
    for name, anchor in left.logs.items():
        yield ("log", name), chronicle.log(name, anchor)
    if left.ending:
        yield _ENDING, chronicle.ending(left.exit_code)


def what_was_left(directory: str) -> Left | None:
    """Return what the daemon before us has left in its journal, None if there is none.

    A journal that is damaged or foreign is set aside, with a message; what still makes sense in it
    counts.
    """
    kept = _kept(directory)
    try:
        data = kept.content()
        if data is None:
            return None
        if len(data) > LIMITS.journal_read_bytes:
            raise LocalError(f"it has more than {LIMITS.journal_read_bytes} bytes")
        left = chronicle.read(data)
    except (LocalError, Foreign) as error:
        log.error("{path} cannot be used: {reason}", path=kept.path, reason=error)
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in PASSING):
            _set_aside(kept)
        return None
    if left.damaged:
        lines = "1 line makes" if left.damaged == 1 else f"{left.damaged} lines make"
        log.error("{path} is damaged: {lines} no sense", path=kept.path, lines=lines)
        _set_aside(kept)
    return left


def _kept(directory: str) -> KeptFile:
    return KeptFile(os.path.join(directory, "journal"), LIMITS.journal_read_bytes)


def _set_aside(kept: KeptFile) -> None:
    try:
        path = kept.move_away()
    except (LocalError, OSError) as error:
        log.error("it cannot be set aside: {error}", error=error)
    else:
        log.info("it was set aside as {path}", path=path)
