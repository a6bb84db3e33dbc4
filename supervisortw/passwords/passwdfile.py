"""The password file on a disk: read only where nobody else can have changed it, and written whole.

Whoever reads it finds what it was before or what it is now, whenever a writer dies. A file that cannot
be believed is an error and never an empty file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import Passwd, PasswdError, parse, written
from supervisortw.daemon.filewords import in_words, user
from supervisortw.daemon.paths import make_directory, open_parent
from supervisortw.daemon.places import owners
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import LocalError, UnsafePath

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NoPasswdFile(LocalError):
    """There is no such file."""


class BadPasswdFile(LocalError):
    """The file is where it should be, and what is in it is wrong: that stays so until it is changed."""


class ChangedMeanwhile(LocalError):
    """Somebody else has changed the file since it was read; nothing was written."""


class Stamp(NamedTuple):
    """What differs for each content of a file, as far as a file system can tell."""

    modified: int
    changed: int
    inode: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Return the stamp of a file that was looked at."""
        return cls(found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


class PasswdFile:
    """The file at the absolute ``path``. All of its methods block for a moment.

    It has to belong to root or to us, and a new one becomes ours. If we are root and ``owner`` is given,
    the file is that user's (whom a daemon runs as), in a directory of root's and no /tmp. With
    ``lenient``, a file that others can read is taken, which a daemon refuses; `write` closes it.
    """

    def __init__(self, path: str, *, owner: int | None = None, lenient: bool = False) -> None:
        self.path = path
        self.mode = 0o600  # as it was when it was read
        self.stamp: Stamp | None = None  # of what was read
        self._owner = owner if os.geteuid() == 0 else None
        self._lenient = lenient
        self._directory, self._name = os.path.split(path)
        self._known = b""  # the digest of what was read; nothing if there was no file

    def look(self) -> Stamp | None:
        """Return the stamp of the file as it is now, or None if it cannot be looked at."""
        try:
            return Stamp.of(os.lstat(self.path))
        except OSError:
            return None

    def read(self) -> Passwd:
        """Return what is in the file.

        Raises NoPasswdFile, BadPasswdFile, UnsafePath for what others could have changed, and LocalError.
        """
        self._known = b""
        with self._opened() as directory:
            data, found = self._content(directory)
        self.mode, self.stamp = stat.S_IMODE(found.st_mode), Stamp.of(found)
        self._known = _digest(data)
        if len(data) > LIMITS.passwd_bytes:
            raise BadPasswdFile(f"{self.path} has more than {LIMITS.passwd_bytes} bytes")
        try:
            return parse(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadPasswdFile(f"{self.path} has bytes in it that are not UTF-8 text") from None
        except PasswdError as error:
            raise BadPasswdFile(f"{self.path}:{error.line}: {error}") from None

    def write(self, passwd: Passwd) -> None:
        """Have ``passwd`` in the file, on the disk, in place of what was read from it.

        The directory is made if it is missing. Raises ChangedMeanwhile, UnsafePath and LocalError.
        """
        data = written(passwd).encode("utf-8")
        if len(data) > LIMITS.passwd_bytes:
            raise LocalError(f"{self.path} would have more than {LIMITS.passwd_bytes} bytes")
        if not os.path.lexists(self._directory):
            make_directory(self._directory, 0o755, owners=owners())
        with self._opened() as directory, in_words("write", self.path), self._locked(directory):
            if self._now(directory) != self._known:
                raise ChangedMeanwhile(
                    f"somebody else has changed {self.path} meanwhile: nothing was saved; leave, "
                    "and do it again"
                )
            self._replace(directory, data)
        self._known, self.mode = _digest(data), 0o600

    @contextlib.contextmanager
    def _opened(self) -> Iterator[TrustedDirectory]:
        try:
            directory = open_parent(self.path, owners=owners())
        except LocalError as error:
            raise self._explained(error) from error
        with directory:
            if self._owner is not None and not directory.sticky:
                directory.owners |= {self._owner}  # of the files; the way to them is root's
            yield directory

    def _content(self, directory: TrustedDirectory) -> tuple[bytes, os.stat_result]:
        try:
            descriptor = directory.open(self._name, os.O_RDONLY, 0)
        except LocalError as error:
            raise self._explained(error) from error
        with in_words("read", self.path), open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            self._judge(stat.S_IMODE(found.st_mode))
            return file.read(LIMITS.passwd_bytes + 1), found

    def _explained(self, error: LocalError) -> LocalError:
        cause = error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        if number == errno.ENOENT:
            return NoPasswdFile(f"{error}; make it with: supervisorctl passwd {self.path}")
        if number in (errno.EACCES, errno.EPERM):
            return LocalError(f"{error}; the file has to belong to {user(os.geteuid())}")
        return error

    def _judge(self, mode: int) -> None:
        others = _OTHERS_WRITE if self._lenient else _OTHERS
        if not mode & others:
            return
        if mode & _OTHERS_WRITE:
            raise UnsafePath(
                f"{self.path} (mode {mode:04o}) can be changed by others; run chmod 600 {self.path}, "
                "and look whether all users in it are yours"
            )
        raise UnsafePath(
            f"{self.path} (mode {mode:04o}) can be read by others; run chmod 600 {self.path}"
        )

    @contextlib.contextmanager
    def _locked(self, directory: TrustedDirectory) -> Iterator[None]:
        """Let other writers wait. The lock is a file of its own, which stays: ours is replaced."""
        descriptor = directory.open(f"{self._name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _now(self, directory: TrustedDirectory) -> bytes:
        try:
            return _digest(self._content(directory)[0])
        except NoPasswdFile:
            return b""

    def _replace(self, directory: TrustedDirectory, data: bytes) -> None:
        fresh = f"{self._name}.new"
        with contextlib.suppress(FileNotFoundError):  # of a writer that has died here
            os.unlink(fresh, dir_fd=directory.fd)
        descriptor = directory.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # a umask may have taken more
                if self._owner is not None:
                    os.fchown(descriptor, self._owner, -1)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.rename(fresh, self._name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=directory.fd)
            raise
        os.fsync(directory.fd)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
