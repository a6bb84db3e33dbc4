"""A cgroup of its own for each process that wants one, so that nobody can leave its tree unseen.

Leaves are made below the cgroup that the daemon is in, where cgroup2 is mounted and the daemon may
write. A leaf's name holds the daemon's random number: two daemons may share a cgroup, and have programs
of the same name.
"""

from __future__ import annotations

import errno
import os
import re
from urllib.parse import quote

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import proc
from supervisortw.errors import SpawnError

PREFIX = "supervisortw"
PROCS = "cgroup.procs"
_OCTAL = re.compile(r"\\([0-7]{3})")
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class NoCgroup(Exception):
    """Why there is no cgroup2 for us, in words."""


class Cgroups:
    """The leaves of one daemon; ``own`` is the directory of the daemon's own cgroup, None without.

    ``proc`` is where processes are looked up. No method needs a reactor; `members`, `has`, `kill` and
    `remove` are fit for a thread.
    """

    def __init__(self, daemon: str, own: str | None, why_not: str | None = None) -> None:
        self._daemon = daemon
        self._own = own
        self._why_not = why_not

    @classmethod
    def find(cls, daemon: str, process: str = "/proc/self") -> Cgroups:
        """Return those of the daemon whose random number is ``daemon``."""
        try:
            own = own_directory(_read(f"{process}/mountinfo"), _read(f"{process}/cgroup"))
            check_writable(own)
        except NoCgroup as reason:
            return cls(daemon, None, str(reason))
        except OSError:
            return cls(daemon, None, "this system has no cgroup2")
        return cls(daemon, own)

    def why_not(self) -> str | None:
        """Return why no program can have a cgroup, in words; None if they can."""
        return self._why_not

    def directory_for(self, name: str) -> str:
        """Return the directory of the leaf of ``name``, which is made if it is not there.

        A process is put into it by writing its pid, or 0 for itself, to ``cgroup.procs`` there. Raises
        SpawnError.
        """
        leaf = self._leaf(name)
        if leaf is None:
            raise SpawnError(f"cannot give it a cgroup: {self._why_not}", permanent=True)
        try:
            os.mkdir(leaf, 0o755)
        except FileExistsError:
            pass
        except OSError as error:
            raise SpawnError(
                f"cannot make cgroup {leaf}: {error.strerror}",
                permanent=error.errno not in _PASSING,
            ) from None
        return leaf

    def members(self, name: str) -> list[int]:
        """Return the processes in the leaf and in what they made below it."""
        found: list[int] = []
        for directory in self._directories(name):
            try:
                lines = _read(f"{directory}/{PROCS}").split()
            except OSError:
                continue
            # 0 stands for a process that cannot be named in our pid namespace.
            found += [int(line) for line in lines if line != "0"]
        return found

    def has(self, name: str, pid: int) -> bool:
        """True if the process is in the leaf or below it."""
        if self._own is None:
            return False
        try:
            lines = _read(f"{proc.DIRECTORY}/{pid}/cgroup").splitlines()
        except OSError:
            return False
        leaf = self._leaf_name(name)
        return any(line.startswith("0::") and leaf in line.split("/") for line in lines)

    def kill(self, name: str) -> bool:
        """Send SIGKILL to all of them at once; False if this kernel cannot, or we must not."""
        leaf = self._leaf(name)
        if leaf is None:
            return False
        try:
            _write(f"{leaf}/cgroup.kill", b"1")
        except OSError:  # since Linux 5.14
            return False
        return True

    def memory_events(self, name: str) -> str | None:
        """Return the file in which the kernel counts what lack of memory has done to the leaf."""
        leaf = self._leaf(name)
        return None if leaf is None else f"{leaf}/memory.events"

    def remove(self, name: str) -> bool:
        """Remove the leaf; False if somebody is in it, or it cannot be removed."""
        try:
            for directory in reversed(self._directories(name)):
                os.rmdir(directory)
        except OSError:
            return False
        return True

    def _leaf_name(self, name: str) -> str:
        return f"{PREFIX}.{self._daemon}.{quote(name, safe='@')}"

    def _leaf(self, name: str) -> str | None:
        return None if self._own is None else f"{self._own}/{self._leaf_name(name)}"

    def _directories(self, name: str) -> list[str]:
        """Return the leaf and the directories below it, each before those within it."""
        leaf = self._leaf(name)
        found: list[str] = [] if leaf is None or not os.path.isdir(leaf) else [leaf]
        for directory in found:
            try:
                inside = [entry.path for entry in os.scandir(directory) if entry.is_dir()]
            except OSError:
                continue
            found += inside[: max(0, LIMITS.cgroup_directories - len(found))]
        return found


def own_directory(mountinfo: str, cgroup: str) -> str:
    """Return the directory of our own cgroup, from /proc/self/mountinfo and /proc/self/cgroup.

    Raises NoCgroup. cgroup2 may be alone at /sys/fs/cgroup, or beside the older one.
    """
    own = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)
    mounts = [mount for mount in map(_cgroup2, mountinfo.splitlines()) if mount is not None]
    if own is None or not mounts:
        raise NoCgroup("cgroup2 is not mounted")
    for root, place in mounts:
        if root in {"/", own} or own.startswith(f"{root}/"):
            inside = own if root == "/" else own.removeprefix(root)
            if ".." in inside.split("/"):
                continue  # seen from our namespace, it is above what there is
            return place.rstrip("/") + inside.rstrip("/")
    raise NoCgroup(f"our own cgroup {own} is not in what is mounted at {mounts[0][1]}")


def _cgroup2(line: str) -> tuple[str, str] | None:
    """Return the root and the place of a mount if it is one of cgroup2."""
    mount, separator, kind = line.partition(" - ")
    fields = mount.split(" ")
    if not separator or kind.split(" ")[0] != "cgroup2" or len(fields) < 6:
        return None
    root, place = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), text) for text in fields[3:5])
    return root, place


def check_writable(own: str) -> None:
    """Raise NoCgroup if we cannot make a leaf in ``own``, or move a process from there into it."""
    if not os.path.isdir(own):
        raise NoCgroup(f"our own cgroup {own} is not there")
    if os.access(own, os.W_OK) and os.access(f"{own}/{PROCS}", os.W_OK):
        return
    if os.statvfs(own).f_flag & os.ST_RDONLY:
        raise NoCgroup(f"{own} is mounted read-only")
    raise NoCgroup(f"no permission to write in {own}")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
