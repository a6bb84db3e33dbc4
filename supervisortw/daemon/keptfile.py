"""Files in the state directory in which the daemon leaves something for the daemon after it.

Each is written whole: whoever reads it, finds what it was before or what it is now. What is wrong with
one keeps no daemon from starting.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import LocalError, SupervisorError, UnsafePath

log = Logger(namespace="supervisor")

_Content = TypeVar("_Content")


class KeptFile:
    """One of these files, of at most ``most`` bytes. All of its methods block for a moment."""

    def __init__(self, path: str, most: int) -> None:
        self.path = path
        self._name = os.path.basename(path)
        self._most = most

    def write(self, data: bytes, *, lasting: bool = False) -> None:
        """Have ``data`` in the file, in place of what was there. Raises LocalError.

        ``lasting`` waits until it is on the disk; otherwise it outlives the daemon, not the machine.
        """
        try:
            os.close(self.replace(data, lasting=lasting))
        except OSError as error:
            raise LocalError(f"cannot write {self.path}: {error.strerror}") from None

    def replace(self, data: bytes, *, lasting: bool = False) -> int:
        """Do as `write`, and return a descriptor to append with. Raises LocalError and OSError."""
        with open_parent(self.path, owners=owners()) as directory:
            return self._replace(directory, data, lasting=lasting)

    def _replace(self, directory: TrustedDirectory, data: bytes, *, lasting: bool) -> int:
        fresh = f"{self._name}.new"
        with suppress(FileNotFoundError):  # of a daemon that has died here
            os.unlink(fresh, dir_fd=directory.fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        descriptor = directory.open(fresh, flags, 0o600)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                os.fchmod(descriptor, 0o600)  # a umask may have taken more
                file.write(data)
                file.flush()
                if lasting:
                    os.fsync(descriptor)
            os.rename(fresh, self._name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
            if lasting:
                os.fsync(directory.fd)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(fresh, dir_fd=directory.fd)
            raise
        return descriptor

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with (
            suppress(LocalError, OSError),
            open_parent(self.path, owners=owners()) as directory,
        ):
            os.unlink(self._name, dir_fd=directory.fd)

    def read(self, decode: Callable[[bytes], _Content]) -> _Content | None:
        """Return what ``decode`` makes of the file, or None if there is none that can be used.

        ``decode`` raises SupervisorError for what is not right; the file is set aside then, and also if
        somebody else could have put it there. The log tells of it.
        """
        try:
            data = self.content()
        except UnsafePath as error:
            self._set_aside(error)
            return None
        except LocalError as error:  # a shortage, or a disk that fails: the file may be all right
            log.error("{reason}", reason=error)
            return None
        try:
            if data is not None and len(data) > self._most:
                raise LocalError(f"it has more than {self._most} bytes")
            return None if data is None else decode(data)
        except SupervisorError as error:
            self._set_aside(error)
            return None

    def content(self) -> bytes | None:
        """Return what is in the file, one byte more than there may be at most, or None if there is none.

        Raises LocalError, as UnsafePath if somebody else could have put it there.
        """
        try:
            with open_parent(self.path, owners=owners()) as directory:
                try:
                    os.stat(self._name, dir_fd=directory.fd, follow_symlinks=False)
                except FileNotFoundError:
                    return None
                descriptor = directory.open(self._name, os.O_RDONLY, 0)
            with open(descriptor, "rb") as file:
                if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o022:
                    raise UnsafePath(f"{self.path} can be written by others")
                return file.read(self._most + 1)
        except OSError as error:
            raise LocalError(f"cannot read {self.path}: {error.strerror}") from error

    def _set_aside(self, why: SupervisorError) -> None:
        """Put the file where nobody reads it, and say so."""
        try:
            done = f"it is {os.path.basename(self.move_away())} now"
        except (LocalError, OSError) as error:
            done = f"it cannot be set aside: {error}"
        reason, *_ = str(why).splitlines()  # a configuration can have a hundred problems
        log.error("{path} is not used: {reason}; {done}", path=self.path, reason=reason, done=done)

    def move_away(self) -> str:
        """Put the file where nobody reads it; return where that is. Raises LocalError and OSError."""
        damaged = f"{self._name}.damaged"
        with open_parent(self.path, owners=owners()) as directory:
            os.rename(self._name, damaged, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
        return f"{self.path}.damaged"


def kept_configuration(directory: str) -> KeptFile:
    """Return the file, in the state directory, of the configuration that was in force last."""
    return KeptFile(os.path.join(directory, "configuration.json"), LIMITS.kept_bytes)
