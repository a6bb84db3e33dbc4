"""The directories and files that are the daemon's own: state, lock, pid file.

Each is made if it is missing, and refused if somebody else could change it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterable

from supervisortw.core.model import Settings, UnixAddress
from supervisortw.daemon.paths import is_private, make_directory, open_parent
from supervisortw.daemon.trusted import SAFELY, TrustedDirectory
from supervisortw.errors import AlreadyRunning, ConfigError, LocalError, Problem, UnsafePath

LOCK = "lock"
LINKS = 40  # as many as the kernel itself follows


def owners() -> frozenset[int]:
    """Return the users whose directories are believed: root and the daemon itself."""
    return frozenset({0, os.geteuid()})


def make_directories(settings: Settings, user: pwd.struct_passwd | None = None) -> None:
    """Make the state directory, and the directories of sockets, pid file and log, if missing.

    They belong to ``user``, if given. Raises UnsafePath and LocalError.
    """
    believed = owners() | ({user.pw_uid} if user else set())
    wanted = [settings.state_directory, os.path.join(settings.state_directory, "log")]
    sockets = [address.path for address in settings.sockets if isinstance(address, UnixAddress)]
    wanted += [os.path.dirname(path) for path in (*sockets, settings.pidfile, settings.logfile)]
    for path in wanted:
        if not os.path.isdir(path):
            make_directory(
                path,
                0o700,
                owners=believed,
                owner_uid=user.pw_uid if user else None,
                owner_gid=user.pw_gid if user else None,
            )


def refuse_unsafe_files(files: Iterable[str]) -> None:
    """Refuse configuration files that somebody else could change, if we are root.

    Whoever can change them can run commands as root. Raises ConfigError with all of them.
    """
    if os.geteuid() != 0:
        return
    problems = []
    for path in files:
        try:
            unchangeable(path, owners())
        except (LocalError, OSError) as error:  # OSError: it is gone since it was read
            why = error.strerror if isinstance(error, OSError) else error
            problems.append(Problem(path, None, f"root does not believe it: {why}"))
    if problems:
        raise ConfigError(problems)


def unchangeable(path: str, believed: frozenset[int]) -> str:
    """Return the file that the links of ``path`` lead to, which nobody but ``believed`` can change.

    Raises UnsafePath, LocalError and OSError.
    """
    for _ in range(LINKS):
        with open_parent(path, owners=believed) as directory:
            found = os.stat(os.path.basename(path), dir_fd=directory.fd, follow_symlinks=False)
            if found.st_uid not in believed:
                raise UnsafePath(f"{path} belongs to uid {found.st_uid}; chown it to root")
            if not stat.S_ISLNK(found.st_mode):
                if _can_be_written_by_others(path, directory):
                    raise UnsafePath(f"{path} can be written by others; chmod go-w it")
                return path
            target = os.readlink(os.path.basename(path), dir_fd=directory.fd)
        path = os.path.normpath(os.path.join(os.path.dirname(path), target))
    raise UnsafePath(f"{path}: too many links")


def _can_be_written_by_others(path: str, directory: TrustedDirectory) -> bool:
    """A group in which nobody else is may write: a umask of 002 leaves that to the owner's own."""
    flags = os.O_RDONLY | SAFELY
    descriptor = os.open(os.path.basename(path), flags, dir_fd=directory.fd)
    try:
        found = os.fstat(descriptor)
        if found.st_mode & stat.S_IWGRP and not is_private(found, descriptor):
            return True
        return bool(found.st_mode & stat.S_IWOTH)
    finally:
        os.close(descriptor)


def lock_state_directory(settings: Settings) -> int:
    """Take the lock that makes this the only daemon of its state directory; return its descriptor.

    The lock lasts until every process that has the descriptor is gone. Raises AlreadyRunning with
    the pid of the other daemon, and LocalError.
    """
    path = os.path.join(settings.state_directory, LOCK)
    with open_parent(path, owners=owners()) as directory:
        descriptor = directory.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise LocalError(f"cannot lock {path}: {error.strerror}") from None
        pid = f" (pid {holder})" if holder else ""
        raise AlreadyRunning(
            f"another supervisord{pid} is running with the state directory "
            f"{settings.state_directory}; a second one needs its own (key state-directory)"
        ) from None
    return descriptor


def write_lock_pid(descriptor: int) -> None:
    """Write our pid into the locked file, for those who are refused."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


class PidFile:
    """Tells other programs the daemon's pid. Advisory: nothing of ours reads it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self) -> None:
        """Write our pid. Raises LocalError."""
        with open_parent(self.path, owners=owners()) as directory:
            name = os.path.basename(self.path)
            descriptor = directory.open(name, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise LocalError(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        name = os.path.basename(self.path)
        with (
            contextlib.suppress(LocalError, OSError),
            open_parent(self.path, owners=owners()) as directory,
        ):
            os.unlink(name, dir_fd=directory.fd)
