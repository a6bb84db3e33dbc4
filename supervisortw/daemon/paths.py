"""Opens files and directories in whose place nobody else can put something of theirs.

Known here: directory descriptors, owners, permission bits, links. Not known: what the files are
for, and any configuration.

A path is walked from "/", one descriptor at a time, and no name is looked up twice: what was
checked is what is used. ``owners`` are the users whose directories and files are believed; a daemon
passes root and itself. Each directory on the way must belong to one of them and be writable by
nobody else, with these exceptions:

* a sticky directory such as /tmp: others may add names there, but cannot touch ours, and the next
  component has to belong to one of ``owners`` anyway;
* a directory writable by the private group of its owner, and without an access list that lets in
  more users (those of macOS and NFS are not seen);
* a directory of root writable by a system group (/var/log on some systems): as if it were sticky,
  with a warning, because members of that group are nearly root and the administrator made it so;
* a link to a directory, if the link belongs to one of ``owners``: the walk goes on at its target.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import posixpath
import pwd
import stat
import sys
from collections import deque

from supervisortw.daemon.filewords import A_LINK, group, kind, plain, swapped, user, users
from supervisortw.daemon.trusted import TrustedDirectory, closed_on_error
from supervisortw.errors import LocalError, UnsafePath

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH, where there is one, needs no read permission: a /home of mode 0711 is a way, too.
_ON_THE_WAY = _DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)

_LINKS = 40  # as many as the kernel itself follows
_SYSTEM_GROUPS_BELOW = 1000
_New = tuple[int, int, int]  # mode, uid and gid of a directory to be made; -1: as it comes


def open_directory(path: str, *, owners: frozenset[int]) -> TrustedDirectory:
    """Open the directory ``path``, which only ``owners`` can change or replace.

    The last component may not be a link. Raises UnsafePath naming the component that others could
    change, and LocalError where there is no such directory or no permission.
    """
    return _Walk(path, owners).finish(links_at_the_end=False)


def open_parent(path: str, *, owners: frozenset[int]) -> TrustedDirectory:
    """Open the directory that ``path`` is in, for work on its last component by name.

    A link to that directory is followed. Raises UnsafePath and LocalError.
    """
    return _Walk(_split(path)[0], owners).finish(links_at_the_end=True)


def open_regular(path: str, flags: int, mode: int, *, owners: frozenset[int]) -> int:
    """Open or make a regular file that has one name and belongs to one of ``owners``.

    ``flags`` and ``mode`` are those of `os.open`; the umask counts. A file that does not pass is
    neither written, truncated nor removed. Whoever wants the warnings of the walk calls
    `open_parent` and its method. Raises UnsafePath and LocalError.
    """
    with open_parent(path, owners=owners) as directory:
        return directory.open(_split(path)[1], flags, mode)


def make_directory(
    path: str,
    mode: int,
    *,
    owners: frozenset[int],
    owner_uid: int | None = None,
    owner_gid: int | None = None,
) -> tuple[str, ...]:
    """Make the directory ``path`` where it is missing; returns warnings for the log.

    Parents that had to be made are ours and 0755; the last component gets exactly ``mode`` and the
    owner asked for. What is there already is checked as in `open_directory`, and not changed; the
    last component may also belong to ``owner_uid``. Raises UnsafePath and LocalError.
    """
    if mode & 0o022:
        raise ValueError("a directory that others can write to would not pass the next time")
    uid, gid = (-1 if number is None else number for number in (owner_uid, owner_gid))
    if uid not in (-1, os.geteuid()) and os.geteuid() != 0:
        raise LocalError(f"only root can make directory {path} for {user(uid)}")
    with _Walk(path, owners, (mode, uid, gid)).finish(links_at_the_end=False) as directory:
        return directory.warnings


class _Walk:
    """The way to a directory: where we stand, and which components lie ahead."""

    def __init__(self, path: str, owners: frozenset[int], new: _New | None = None) -> None:
        self.owners = owners
        self.new = new  # None if nothing shall be made
        self.ahead = deque(_components(path))
        self.path, self.fd, self.sticky = "/", -1, False
        self.warnings: list[str] = []
        self.links_left = _LINKS
        self.through = ""  # the last link followed

    def finish(self, *, links_at_the_end: bool) -> TrustedDirectory:
        """Go all the way; raises UnsafePath and LocalError."""
        try:
            self._enter("/")
            while self.ahead:
                name = self.ahead.popleft()
                try:
                    self._step(name, may_follow=bool(self.ahead) or links_at_the_end)
                except OSError as error:
                    verb = "reach" if self.new is None else "make or reach"
                    raise plain(error, verb, f"directory {self._below(name)}") from error
            # A full descriptor, for whoever wants to list, lock or sync the directory.
            with contextlib.suppress(PermissionError):
                self._hold(os.open(".", _DIRECTORY | os.O_RDONLY, dir_fd=self.fd), self.path)
        except BaseException:
            self._hold(-1, "")
            raise
        return TrustedDirectory(self.path, self.fd, self.owners, self.sticky, tuple(self.warnings))

    def _step(self, name: str, *, may_follow: bool) -> None:
        try:
            self._enter(name)
        except FileNotFoundError:
            if self.new is None:
                raise
            try:
                self._make(name, *self.new)
            except FileExistsError:  # somebody was faster: it is judged like any other
                self._enter(name)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, *A_LINK):
                raise
            self._follow(name, may_follow=may_follow)

    def _enter(self, name: str) -> None:
        fd = os.open(name, _ON_THE_WAY, dir_fd=self.fd)
        with closed_on_error(fd):
            owners = self.owners
            if not self.ahead and self.new is not None:
                owners |= {self.new[1]}
            self.sticky = self._judge(fd, self._below(name), owners)
        self._hold(fd, self._below(name))

    def _make(self, name: str, mode: int, uid: int, gid: int) -> None:
        os.mkdir(name, 0o700, dir_fd=self.fd)  # closed to others until owner and mode are right
        fd = os.open(name, _DIRECTORY | os.O_RDONLY, dir_fd=self.fd)
        with closed_on_error(fd):
            if os.fstat(fd).st_uid != os.geteuid():
                raise swapped(self._below(name))
            if not self.ahead:
                os.fchown(fd, uid, gid)
            os.fchmod(fd, 0o755 if self.ahead else mode)
        self.sticky = False
        self._hold(fd, self._below(name))

    def _follow(self, name: str, *, may_follow: bool) -> None:
        """Put the target of a link ahead of us."""
        path = self._below(name)
        link = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        if not stat.S_ISLNK(link.st_mode):
            raise LocalError(f"{path} is {kind(link)}, not a directory")
        if not may_follow:
            raise UnsafePath(f"{path} is a link; name the directory that it points to")
        if link.st_uid not in self.owners:
            raise UnsafePath(
                f"{path} is a link that belongs to {user(link.st_uid)}, who could point it "
                f"elsewhere; make it anew as {users(self.owners)}, or use another directory"
            )
        if link.st_nlink != 1:  # others can give a second name to a link of ours
            raise UnsafePath(f"{path} is a link that has {link.st_nlink} names; make it anew")
        self.links_left -= 1
        if self.links_left < 0:
            raise UnsafePath(f"{path} comes after {_LINKS} other links; do they go round?")
        target = os.readlink(name, dir_fd=self.fd)
        self.through = path
        self.ahead.extendleft(reversed(_components(target, relative=True)))
        if target.startswith("/"):
            self._enter("/")

    def _below(self, name: str) -> str:
        # Links are resolved already, so ".." takes away what stands before it.
        return posixpath.normpath(posixpath.join(self.path, name))

    def _hold(self, fd: int, path: str) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.path = fd, path

    def _judge(self, fd: int, path: str, owners: frozenset[int]) -> bool:
        """Whether others may add names to a directory; raises UnsafePath if they may change ours."""
        found = os.fstat(fd)
        way = f", reached through the link {self.through}," if self.through else ""
        if found.st_uid not in owners:
            raise UnsafePath(
                f"{path}{way} belongs to {user(found.st_uid)}, who could put anything in place of "
                f"what is in it; chown it to {users(self.owners)}, or use another directory"
            )
        if not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        if found.st_mode & stat.S_ISVTX:
            return True
        for_all = bool(found.st_mode & stat.S_IWOTH)
        if not for_all and is_private(found, fd):
            return False
        who = "every user of this machine" if for_all else group(found.st_gid)
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        what = f"{path} (mode {mode}){way} lets {who} replace what is in it"
        if not for_all and found.st_uid == 0 and found.st_gid < _SYSTEM_GROUPS_BELOW:
            self.warnings.append(f"{what}; chmod g-w {path} is safer")
            return True
        bits = "go-w" if for_all else "g-w"
        raise UnsafePath(f"{what}; run chmod {bits} {path}, or use another directory")


def _components(path: str, *, relative: bool = False) -> list[str]:
    if "\0" in path or not (relative or path.startswith("/")):
        raise LocalError(f"{path!r} is not an absolute path")
    return [name for name in path.split("/") if name not in ("", ".")]


def _split(path: str) -> tuple[str, str]:
    _components(path)
    directory, name = posixpath.split(path)
    if name in ("", ".", ".."):
        raise LocalError(f"{path} names a directory, not a file")
    return directory, name


def is_private(found: os.stat_result, fd: int) -> bool:
    """Whether the group of a directory or file is its owner's own: same name, nobody else in it.

    ``fd`` is a descriptor of it.
    """
    try:
        owner, group = pwd.getpwuid(found.st_uid), grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    # Those whose primary group it is stand in no list of members.
    primary = {user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid}
    if group.gr_name != owner.pw_name or {*primary, *group.gr_mem} - {owner.pw_name}:
        return False
    if sys.platform != "linux":
        return True
    try:
        # An access list may let in more users than the bits tell. (The fd may be an O_PATH.)
        os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access")
    except OSError as error:
        return error.errno in (errno.ENODATA, errno.EOPNOTSUPP)
    return False
