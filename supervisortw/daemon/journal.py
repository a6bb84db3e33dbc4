"""The file in which the daemon writes down what it would have to know if it were killed now.

See `supervisortw.daemon.keptlines` for what becomes of its lines.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from twisted.logger import Logger

from supervisortw.core import chronicle
from supervisortw.core.anchor import Anchor
from supervisortw.core.chronicle import Foreign, Left
from supervisortw.core.exits import Exit
from supervisortw.core.limits import LIMITS
from supervisortw.core.memory import Memory
from supervisortw.core.model import STDERR
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.daemon.keptlines import KeptLines
from supervisortw.daemon.nested import Nested
from supervisortw.errors import PASSING, LocalError

log = Logger(namespace="supervisor")

_ENDING = ("ending", "")


class Journal:
    """Writes down what a later daemon would need; see `supervisortw.core.chronicle` for the lines.

    ``world`` and ``token`` are those of its opening. The first line makes the file, in place of what
    was there; what the daemon before has ``left`` goes on to hold. What comes within the context
    ``together`` is written in one go, at its end or at `flush`.
    """

    def __init__(self, directory: str, world: str, token: str, left: Left) -> None:
        self._world, self._token, self._spawns = world, token, left.spawns
        self._lines = dict(_holding(left))  # by what they are about
        self._exits = {
            name: _lines(name, exits)
            for name, exits in left.exits.items()
            if name in left.processes
        }
        self.together = Nested(self.flush)
        self._gathered: list[str] = []
        self._changed: dict[str, Memory] = {}
        self._file = KeptLines(
            _kept(directory),
            self._whole,
            least=LIMITS.journal_bytes,
            growth=LIMITS.journal_growth,
            most=LIMITS.journal_read_bytes,
            called="the journal",
            without="if supervisord is killed now, it does not know its programs again",
        )

    def flush(self) -> None:
        """Write what was gathered up to now."""
        for name, memory in self._changed.items():
            line = chronicle.process(name, memory)
            self._lines.pop(("made", name), None)
            self._hold(("process", name), line)
            self._gathered.append(line)
        self._changed.clear()
        if self._gathered:
            lines, self._gathered = "\n".join(self._gathered), []
            self._add(lines)

    def process(self, name: str, memory: Memory, exit: Exit | None = None) -> None:
        """Write down what is to be remembered of a process, and how its last one has ended."""
        if memory.spawn is not None:
            self._spawns = max(self._spawns, memory.spawn.number)
        if exit is not None:
            line = chronicle.exited(name, exit)
            self._exits.setdefault(name, deque(maxlen=LIMITS.exits_kept)).append(line)
            self._gathered.append(line)
        self._changed[name] = memory
        if not self.together.depth:
            self.flush()

    def made(self, name: str, memory: Memory) -> None:
        """Write down that the process is there whose mark was written down; the rest comes later."""
        self._write(("made", name), chronicle.made(name, memory))

    def exits(self, name: str) -> list[Exit]:
        """Return how the last processes of that name have ended, the oldest first."""
        self.flush()
        return [chronicle.exit_in(line) for line in self._exits.get(name, ())]

    def gone(self, name: str) -> None:
        """Forget a process."""
        self.flush()
        for each in (name, name + STDERR):
            self._lines.pop(("log", each), None)
        self._exits.pop(name, None)
        self._lines.pop(("made", name), None)
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
        self._file.remove()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, about: tuple[str, str], line: str) -> None:
        self._hold(about, line)
        self._append(line)

    def _hold(self, about: tuple[str, str], line: str) -> None:
        self._lines.pop(about, None)  # the order is that of the last lines
        self._lines[about] = line

    def _append(self, line: str) -> None:
        if self.together.depth:
            self._gathered.append(line)
        else:
            self._add(line)

    def _add(self, lines: str) -> None:
        self._file.append(lines.encode() + b"\n")

    def write_anew(self) -> None:
        """Write a new file with all lines that hold, in place of the old one."""
        self.flush()
        self._file.write_anew()

    def _whole(self) -> bytes:
        self._forget_old_exits()
        return "\n".join([*self._all_lines(), ""]).encode()

    def _all_lines(self) -> list[str]:
        """Return every line that holds."""
        opening = chronicle.opening(self._world, self._token, self._spawns)
        return [opening, *chain.from_iterable(self._exits.values()), *self._lines.values()]

    def _forget_old_exits(self) -> None:
        """Keep no more than a journal has room for."""
        most = max(1, LIMITS.exits_written // max(1, len(self._exits)))
        if most < LIMITS.exits_kept:
            for exits in self._exits.values():
                while len(exits) > most:
                    exits.popleft()


def _lines(name: str, exits: Iterable[Exit]) -> deque[str]:
    lines = (chronicle.exited(name, exit) for exit in exits)
    return deque(lines, maxlen=LIMITS.exits_kept)


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
