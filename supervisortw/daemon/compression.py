"""Older files of logs made smaller, one after the other, beside the reactor.

The youngest of them stays as it is: whoever follows the log may be behind. A file is compressed under
another name, and takes the place of the original when it is whole; a daemon that dies before leaves the
original. Compressed files are gzip's.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.logdirectory import LogDirectory, OpenDirectory
from supervisortw.daemon.rotation import FLAGS, GZ, MODE, older, remove
from supervisortw.errors import LocalError

log = Logger(namespace="supervisor")

_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_FIRST = 2

InThread = Callable[..., Deferred[Any]]


@dataclass(frozen=True, slots=True)
class OlderFiles:
    """The older files of the log ``name`` in a directory."""

    open_directory: OpenDirectory
    name: str


class Compressor:
    """Compresses the older files of logs; ``in_thread(function, *arguments)`` calls it in a thread."""

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._waiting: dict[str, OlderFiles] = {}  # by the path of the log
        self._is_busy = False
        self._stopped = False

    def compress(self, path: str, files: OlderFiles) -> None:
        """Compress what is there of the log at ``path``, as soon as the others before it are done."""
        self._waiting[path] = files
        if not self._is_busy and not self._stopped:
            self._is_busy = True
            ensureDeferred(self._work())

    def stop(self) -> None:
        """Begin nothing more, and give up what has begun."""
        self._stopped = True

    async def _work(self) -> None:
        try:
            while self._waiting and not self._stopped:
                path = next(iter(self._waiting))
                files = self._waiting.pop(path)
                try:
                    while await self._next(files):
                        pass
                except (LocalError, OSError) as error:
                    reason = error.strerror if isinstance(error, OSError) else error
                    log.error(
                        "older files of {path} not compressed: {reason}", path=path, reason=reason
                    )
        finally:
            self._is_busy = False

    async def _next(self, files: OlderFiles) -> bool:
        """Compress one file; return whether there was one."""
        fresh = f"{files.name}{GZ}.new"
        with ExitStack() as done:
            with files.open_directory() as directory:
                number = _first_plain(directory, files.name)
                if number is None:
                    return False
                source = directory.open(older(files.name, number), os.O_RDONLY, 0)
                done.callback(os.close, source)
                remove(directory, fresh)  # of a daemon that has died
                target = directory.open(fresh, FLAGS | os.O_EXCL, MODE)
                done.callback(os.close, target)
            whole = False
            try:
                whole = await self._in_thread(self._copy, source, target)
            finally:
                with files.open_directory() as directory:
                    whole = whole and _take_place(directory, files.name, source)
                    if not whole:
                        remove(directory, fresh)
        return whole

    def _copy(self, source: int, target: int) -> bool:
        """Compress one file into another; return False if it is not wanted any more."""
        compressor = zlib.compressobj(wbits=_GZIP_FORMAT)
        with (
            open(source, "rb", 0, closefd=False) as read,
            open(target, "wb", closefd=False) as write,
        ):
            while data := read.read(LIMITS.compressed_at_once_bytes):
                if self._stopped:
                    return False
                write.write(compressor.compress(data))
            write.write(compressor.flush())
        return True


def _first_plain(directory: LogDirectory, name: str) -> int | None:
    """Return the number of the youngest file that is to be compressed."""
    number = _FIRST
    while True:
        if directory.stat(older(name, number)) is not None:
            return number
        if directory.stat(older(name, number) + GZ) is None:
            return None
        number += 1


def _take_place(directory: LogDirectory, name: str, source: int) -> bool:
    """Put the compressed file in the place of ``source``, which may have another number by now."""
    wanted = os.fstat(source)
    number = 1
    while True:
        plain = older(name, number)
        found = directory.stat(plain)
        if found is not None and os.path.samestat(found, wanted):
            directory.rename(f"{name}{GZ}.new", plain + GZ)
            directory.remove(plain)
            return True
        if found is None and directory.stat(plain + GZ) is None and number >= _FIRST:
            return False
        number += 1
