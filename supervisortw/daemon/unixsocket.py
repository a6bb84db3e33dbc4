"""The name of a UNIX socket in the file system: way made for it, given to its owner, removed again.

Known here: how a socket is bound such that it is never wider than it should be, and that a name may
be somebody else's by now. Not known: who listens, and for whom.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator

from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.errors import LocalError

Owner = tuple[int, int]  # uid and gid

_LARGEST = 2**32 - 2  # the next number would mean "leave it as it is"


class SocketName:
    """A name that was just bound, and which socket it is the name of.

    Of one that was bound earlier ``held`` tells which; it is what `held` had returned then.
    """

    def __init__(self, path: str, held: int | None = None) -> None:
        self.path = path
        self._identity = _identity(os.lstat(path) if held is None else os.fstat(held))

    def is_there(self) -> bool:
        """True if the name is still that of our socket."""
        try:
            return _identity(os.lstat(self.path)) == self._identity
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the name from the file system, if it is still that of our socket."""
        if self.is_there():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def held(self) -> int | None:
        """Return a descriptor of our socket's file, to be closed by the caller.

        None if the name is somebody else's by now, or if this system has no such descriptors.
        """
        if not hasattr(os, "O_PATH"):
            return None
        try:
            held = self._hold()
        except OSError:
            return None
        if _identity(os.fstat(held)) == self._identity:
            return held
        os.close(held)
        return None

    def _hold(self) -> int:
        return os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def change(self, mode: int, owner: Owner) -> None:
        """Change the mode and the owner of our socket, and of nothing else. Raises LocalError.

        Its owner could have put a link in its place, so what is changed is what was looked at.
        """
        try:
            with self._held() as (way, follow):
                os.chown(way, *owner, follow_symlinks=follow)
                os.chmod(way, mode, follow_symlinks=follow)
        except OSError as error:
            raise LocalError(
                f"cannot change mode and owner of {self.path}: {error.strerror}"
            ) from error

    @contextlib.contextmanager
    def _held(self) -> Iterator[tuple[str, bool]]:
        """Give a path of our socket, and whether that is a link to be followed."""
        if not self.is_there():
            raise LocalError(f"{self.path} was removed or replaced by somebody")
        if not hasattr(os, "O_PATH"):
            yield self.path, False
            return
        held = self._hold()
        try:
            if _identity(os.fstat(held)) != self._identity:
                raise LocalError(f"{self.path} was replaced by somebody")
            yield f"/proc/self/fd/{held}", True
        finally:
            os.close(held)


def is_socket(path: str) -> bool:
    """True if ``path`` names a socket, and not a link to one."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def trusted_place(path: str) -> Iterator[tuple[str, ...]]:
    """Make sure that nobody else can put something in place of ``path``; gives what to warn of.

    Raises UnsafePath and LocalError.
    """
    with open_parent(path, owners=owners()) as directory:
        warnings = directory.warnings
        if directory.sticky:
            where = os.path.dirname(path)
            warnings += (f"{path}: everybody can make files in {where}",)
        yield warnings


@contextlib.contextmanager
def born_with(mode: int) -> Iterator[None]:
    """Let a socket that is bound within have ``mode`` from the first moment on."""
    mask = os.umask(~mode & 0o777)
    try:
        yield
    finally:
        os.umask(mask)


def make_way(path: str, owner: Owner | None, alive: Callable[[socket.socket], LocalError]) -> None:
    """Remove a socket that somebody who is dead has left behind: us, root, or ``owner``.

    Raises what ``alive`` returns if somebody listens there (it is given a connection to them, or a
    socket without one if they are too busy), and LocalError if something else is in its place.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise LocalError(f"{path} is there already and is no socket; remove it or name another one")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its queue is full: somebody is there, and busy
            raise alive(probe) from None
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise LocalError(f"cannot replace {path}: {error.strerror}") from error
            if found.st_uid not in owners() | ({owner[0]} if owner else set()):
                raise LocalError(f"cannot replace {path}: it belongs to another user") from None
            os.unlink(path)
        else:
            raise alive(probe)


def owner_of(key: str, names: tuple[str, str | None] | None) -> Owner | None:
    """Return who the user and group ``names`` of the configuration's ``key`` are on this machine.

    Without a group it is the user's. Raises LocalError.
    """
    if names is None:
        return None
    user, group = names
    try:
        entry = pwd.getpwuid(int(user)) if _is_number(user) else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise LocalError(f"{key}: no such user: {user}") from None
    if group is None:
        return entry.pw_uid, entry.pw_gid
    try:
        gid = int(group) if _is_number(group) else grp.getgrnam(group).gr_gid
    except KeyError:
        raise LocalError(f"{key}: no such group: {group}") from None
    if gid > _LARGEST:
        raise LocalError(f"{key}: no such group: {group}")
    return entry.pw_uid, gid


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
