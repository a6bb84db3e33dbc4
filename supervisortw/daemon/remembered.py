"""Which processes operators have stopped, beyond the end of the daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import is_program_name
from supervisortw.daemon.keptfile import KeptFile
from supervisortw.errors import LocalError

VERSION = 1

InThread = Callable[..., Deferred[Any]]  # calls a function with its arguments in a thread


class Remembered(Collection[str]):
    """The full names of the processes that stay down when the daemon is started again.

    What was changed holds at once here, and for the next daemon when the Deferred has fired: it is on
    the disk then. The Deferred fails with LocalError if that is not possible; the next change tries
    again with all of it. Changes that come while one is being written are written together.
    """

    def __init__(self, directory: str, in_thread: InThread, most: int = LIMITS.processes) -> None:
        """Know nothing yet. ``directory`` is the state directory; ``most`` is a number of names."""
        path = os.path.join(directory, "stopped.json")
        self._file = KeptFile(path, most * LIMITS.name_characters)
        self._in_thread = in_thread
        self._most = most
        self._names: set[str] = set()
        self._on_disk: frozenset[str] = frozenset()
        self._is_writing = False
        self._waiting: list[Deferred[None]] = []

    def load(self) -> None:
        """Read what the last daemon has left. It blocks, and never fails; see `KeptFile.read`."""
        self._on_disk = self._file.read(_decode) or frozenset()
        self._names = set(self._on_disk)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def stopped(self, names: Iterable[str]) -> Deferred[None]:
        """Remember that these were stopped by an operator."""
        together = self._names.union(names)
        if len(together) > self._most:
            reason = f"more than {self._most} stopped programs cannot be remembered"
            return fail(LocalError(reason))
        self._names = together
        return self._save()

    def started(self, names: Iterable[str]) -> Deferred[None]:
        """Forget that these were stopped: somebody has started them, or they are no more."""
        self._names = self._names.difference(names)
        return self._save()

    def _save(self) -> Deferred[None]:
        if not self._is_writing and self._names == self._on_disk:
            return succeed(None)
        saved: Deferred[None] = Deferred()
        self._waiting.append(saved)
        if not self._is_writing:
            self._write()
        return saved

    def _write(self) -> None:
        self._is_writing = True
        waiting, self._waiting = self._waiting, []
        names = frozenset(self._names)
        written = self._in_thread(_write, self._file, names)
        written.addCallback(partial(self._written, names))
        written.addBoth(self._settle, waiting)

    def _written(self, names: frozenset[str], _: None) -> None:
        self._on_disk = names

    def _settle(self, result: Failure | None, waiting: list[Deferred[None]]) -> None:
        """Tell those who waited for this time of writing, and begin the next one."""
        self._is_writing = False
        if self._waiting:
            self._write()
        for saved in waiting:
            if isinstance(result, Failure):
                saved.errback(result)
            else:
                saved.callback(None)


def _write(file: KeptFile, names: frozenset[str]) -> None:
    record = {"version": VERSION, "stopped": sorted(names)}
    file.write(json.dumps(record).encode("ascii"), lasting=True)


def _decode(data: bytes) -> frozenset[str]:
    try:
        record = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise LocalError("it cannot be decoded") from None
    if not isinstance(record, dict) or record.keys() != {"version", "stopped"}:
        raise LocalError("it is something else")
    names = record["stopped"]
    if record["version"] != VERSION or not isinstance(names, list):
        raise LocalError("it is of another version")
    if not all(isinstance(name, str) and _is_process_name(name) for name in names):
        raise LocalError("there is something in it that is no name")
    return frozenset(names)


def _is_process_name(name: str) -> bool:
    group, colon, process = name.rpartition(":")
    return is_program_name(process) and (not colon or is_program_name(group))
