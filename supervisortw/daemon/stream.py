"""Targets that are written to as a stream of lines: the daemon's own streams, FIFOs and devices."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DAEMON_STREAMS
from supervisortw.daemon.backlog import Backlog, Giver
from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.daemon.ways import OwnWay, Way, way_to
from supervisortw.errors import LocalError, UnsafePath
from supervisortw.interfaces import Clock

_Identity = tuple[int, int, int]  # device, inode, and which device it is, if it is one


class Source(Protocol):
    """Finds what a stream is written to."""

    where: str

    def open(self) -> tuple[Way, _Identity]:
        """Return a way to it, and what it is. Raises LocalError."""

    def identity(self) -> _Identity | None:
        """Return what it is now, if that can be known."""


@implementer(IWriteDescriptor)
class Stream:
    """Writes what it is given to a descriptor, as fast as that is read."""

    def __init__(self, source: Source, reactor: IReactorFDSet, clock: Clock) -> None:
        self.trouble = ""
        self._source = source
        self._reactor = reactor
        self._clock = clock
        self._backlog = Backlog()
        self._way: Way | None = None
        self._identity: _Identity | None = None
        self._next_try = 0.0
        self._finished: Callable[[], None] | None = None

    @property
    def where(self) -> str:
        """What people call it."""
        return self._source.where

    def open(self) -> None:
        """Open it if it is not open. Raises LocalError."""
        if self._way is None:
            self._way, self._identity = self._source.open()

    def has_room(self, giver: Giver) -> bool:
        """True if something can be put there."""
        if not self._is_open():
            return False
        if self._backlog.has_room(giver):
            return True
        self.trouble = self.trouble or "it is not read fast enough"
        return False

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        """Take entries, each of which is written as a whole."""
        for entry in entries:
            self._backlog.add(giver, entry)
        self._write()

    def _is_open(self) -> bool:
        """Open it, or what is there in its place, if that is to be tried now."""
        now = self._clock.seconds()
        if now >= self._next_try:
            try:
                self.open()
                if self._source.identity() not in {None, self._identity}:
                    self.reopen()
            except LocalError as error:
                self.trouble = str(error)
                self._next_try = now + LIMITS.log_retry_seconds
        return self._way is not None

    def _write(self) -> None:
        """Write what is taken now; the reactor tells when there is room for more."""
        left = LIMITS.target_writes_per_turn
        try:
            while self._way is not None and self._backlog and left:
                count = self._way.write(self._backlog.oldest())
                if not count:
                    break
                left -= 1
                self._backlog.written(count)
        except OSError as error:
            self._fail(error)
        self._watch()
        if not self._backlog:
            self.trouble = "" if self._way is not None else self.trouble
            self._tell_the_end()

    def _watch(self) -> None:
        if self._way is None:
            return
        if self._backlog:
            self._reactor.addWriter(self)
        else:
            self._reactor.removeWriter(self)

    def _fail(self, error: OSError) -> None:
        nobody = error.errno in {errno.EPIPE, errno.ECONNRESET, errno.ENXIO}
        self.trouble = "nobody reads it any more" if nobody else str(error.strerror)
        self._next_try = self._clock.seconds() + LIMITS.log_retry_seconds
        self._let_go()
        self._backlog.drop_all()

    def _let_go(self) -> None:
        if self._way is not None:
            self._reactor.removeWriter(self)
            self._way.close()
            self._way = None

    def reopen(self) -> None:
        """Open it anew by its name. Raises LocalError."""
        if self._way is None:
            return
        way, identity = self._source.open()
        self._let_go()
        if self._backlog.is_begun():  # nobody is to see the end of it alone
            self._backlog.drop()
        self._way, self._identity = way, identity
        self._write()

    def forget(self, giver: Giver) -> None:
        """Tell ``giver`` nothing more."""
        self._backlog.forget(giver)

    def finish(self, done: Callable[[], None]) -> None:
        """Call ``done`` once all that it was given is written, or cannot be."""
        self._finished = done
        self._write()

    def _tell_the_end(self) -> None:
        done, self._finished = self._finished, None
        if done is not None:
            done()

    def close(self) -> None:
        """Write what is taken now, and let go of everything."""
        self._write()
        self._let_go()
        self._backlog.drop_all()

    # In the reactor.

    def fileno(self) -> int:
        """Return what becomes writable."""
        return -1 if self._way is None else self._way.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor's own messages are marked with."""
        return "output"

    def doWrite(self) -> None:
        """Write more."""
        self._write()

    def connectionLost(self, reason: Failure) -> None:
        """Nobody is at the other end any more."""
        self._fail(OSError(errno.EPIPE, "nobody reads it"))


class OwnStream:
    """One of the daemon's own streams, which is never opened by a path.

    It becomes another one when the daemon lets go of its terminal.
    """

    def __init__(self, number: int, where: str) -> None:
        self.where = where
        self._number = number

    def open(self) -> tuple[Way, _Identity]:
        """Return a way to it, and what it is."""
        try:
            return way_to(self._number), _identity(os.fstat(self._number))
        except OSError as error:
            raise LocalError(f"{self.where} cannot be used: {error.strerror}") from error

    def identity(self) -> _Identity | None:
        """Return what it is now."""
        try:
            return _identity(os.fstat(self._number))
        except OSError:
            return None


def own_stream(name: str, reactor: Any) -> Stream:
    """Return the stream of the daemon's own that is called ``name``, one of DAEMON_STREAMS."""
    source = OwnStream(DAEMON_STREAMS.index(name) + 1, f"supervisord's {name}")
    return Stream(source, reactor, reactor)


class SpecialFile:
    """A FIFO, or a character device, such as a terminal.

    Only in a directory that nobody else can change is it opened: a link in its place could lead us
    anywhere.
    """

    def __init__(self, path: str) -> None:
        self.where = path

    def open(self) -> tuple[Way, _Identity]:
        """Open it, whether or not somebody is at its other end. Raises LocalError."""
        try:
            with open_parent(self.where, owners=owners()) as directory:
                name = os.path.basename(self.where)
                found = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
                if directory.sticky and found.st_uid not in owners():
                    raise UnsafePath(f"{self.where} belongs to somebody else, in {directory.path}")
                descriptor = os.open(name, _flags(found.st_mode), dir_fd=directory.fd)
        except OSError as error:
            reason = "nobody reads it" if error.errno == errno.ENXIO else error.strerror
            raise LocalError(f"{self.where}: {reason}") from error
        opened = os.fstat(descriptor)
        if not _is_special(opened.st_mode):
            os.close(descriptor)
            raise LocalError(f"{self.where} is no FIFO and no device any more")
        return OwnWay(descriptor), _identity(opened)

    def identity(self) -> _Identity | None:
        """Return what has the name now."""
        try:
            found = os.stat(self.where, follow_symlinks=False)
        except OSError:
            return None
        return _identity(found) if _is_special(found.st_mode) else None


def is_special(path: str) -> bool:
    """True if there is a FIFO or a character device, or a link to one, at ``path``."""
    with contextlib.suppress(OSError):
        return _is_special(os.stat(path).st_mode)
    return False


def _is_special(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _flags(mode: int) -> int:
    # A FIFO that is open for reading, too, can be opened without a reader, and waits for the next one
    # when that has gone. Linux promises it, POSIX does not.
    both = stat.S_ISFIFO(mode) and sys.platform == "linux"
    access = os.O_RDWR if both else os.O_WRONLY
    return access | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino, found.st_rdev
