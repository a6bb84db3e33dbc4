"""A directory that nobody else can change, and the regular files in it."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisortw.daemon.filewords import in_words, kind, swapped, user, users, verb
from supervisortw.daemon.logdirectory import check_name
from supervisortw.errors import UnsafePath

# O_NONBLOCK: opening a FIFO must not wait. O_NOCTTY: a terminal must not become ours.
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(slots=True)
class TrustedDirectory:
    """An open directory that passed, and what the walk found; close it, or use ``with``.

    ``path`` is where the walk ended, links followed. ``sticky`` tells that others may add names
    here. ``warnings`` are sentences for the log.
    """

    path: str
    fd: int
    owners: frozenset[int]
    sticky: bool
    warnings: tuple[str, ...]

    def __enter__(self) -> TrustedDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; doing it again changes nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make the regular file ``name`` here, which has one name and a believed owner.

        ``flags`` and ``mode`` are those of `os.open`; the umask counts. A file that does not pass is
        neither written, truncated nor removed. Raises UnsafePath and LocalError.
        """
        path = self._checked(name)
        with in_words(verb(flags), path):
            fd = os.open(name, (flags & ~os.O_TRUNC) | SAFELY, mode, dir_fd=self.fd)
        with closed_on_error(fd), in_words(verb(flags), path):
            opened = os.fstat(fd)
            check_file(opened, path, self.owners)
            # Another name of somebody's file could be put here, be opened by us, and be taken away
            # before we count. As long as this name is the file, and is its only one, all is well.
            named = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            check_file(named, path, self.owners)
            if not os.path.samestat(opened, named):
                raise swapped(path)
            make_ready(fd, flags)
        return fd

    def rename(self, old: str, new: str) -> None:
        """Give ``old`` the name ``new``, whatever has that now. Raises LocalError."""
        path = self._checked(old, new)
        with in_words("rename", path):
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename one after the other; what is not there is passed over. Raises LocalError."""
        for old, new in pairs:
            path = self._checked(old, new)
            with in_words("rename", path), contextlib.suppress(FileNotFoundError):
                os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove ``name``, which is no directory. Raises LocalError."""
        path = self._checked(name)
        with in_words("remove", path):
            os.unlink(name, dir_fd=self.fd)

    def stat(self, name: str) -> os.stat_result | None:
        """Return what ``name`` is, or None if there is no such thing. Raises LocalError."""
        path = self._checked(name)
        with in_words("look at", path), contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        return None

    def _checked(self, *names: str) -> str:
        """Return the path of the first name; raises LocalError if one is no name of a file."""
        for name in names:
            check_name(name)
        return posixpath.join(self.path, names[0])


def check_file(found: os.stat_result, path: str, owners: frozenset[int]) -> None:
    """Raise UnsafePath for what is not a regular file with one name that belongs to one of ``owners``."""
    remedy = "remove it, or use another name"
    if not stat.S_ISREG(found.st_mode):
        raise UnsafePath(f"{path} is {kind(found)}, not a regular file; {remedy}")
    if found.st_uid not in owners:
        owner = user(found.st_uid)
        raise UnsafePath(f"{path} belongs to {owner}, not to {users(owners)}; {remedy}")
    if found.st_nlink > 1:
        raise UnsafePath(f"{path} is one of {found.st_nlink} hard links to its file; {remedy}")
    if found.st_nlink == 0:
        raise swapped(path)


def make_ready(fd: int, flags: int) -> None:
    """Do what ``flags`` ask for, and what must wait until a file has passed. Raises OSError."""
    if flags & os.O_TRUNC:
        os.ftruncate(fd, 0)
    os.set_blocking(fd, not flags & os.O_NONBLOCK)


@contextlib.contextmanager
def closed_on_error(fd: int) -> Iterator[None]:
    """Close a descriptor if what is done with it fails."""
    try:
        yield
    except BaseException:
        os.close(fd)
        raise
