"""Another user, who tries to have root write where only root can. For tests that run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STRANGER = 65534


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """Give a directory that every user can reach, unlike tmp_path."""
    made = Path(os.path.realpath(tempfile.mkdtemp()))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def open_files() -> list[tuple[int, int]]:
    """Return the files and directories that are open now; test runners open pipes as they like."""
    found = []
    for fd in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            status = os.fstat(int(fd))
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                found.append((int(fd), status.st_ino))
    return found


@contextlib.contextmanager
def running(work: Callable[[], None], uid: int = STRANGER) -> Iterator[None]:
    """Let another user work meanwhile."""
    pid = as_stranger(work, uid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def as_stranger(work: Callable[[], None], uid: int = STRANGER) -> int:
    """Let another user work in a process of theirs; it exits with 0 if that went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def swap_for_ever(log: Path, victim: Path) -> None:
    """Put files, links and second names of ``victim`` in the place of ``log``, as fast as may be."""
    spare = log.with_name("spare")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for put in (
            spare.touch,
            lambda: spare.symlink_to(victim),
            lambda: os.link(victim, spare),
        ):
            with contextlib.suppress(OSError):  # the kernel may forbid second names
                put()
                spare.rename(log)
            # The rename of one name of a file onto another does nothing.
            spare.unlink(missing_ok=True)
            log.unlink(missing_ok=True)


def swap_directory_for_ever(directory: Path, victims: Path) -> None:
    """Have ``directory`` be one of our own, with a link in it, and a link to ``victims``, in turn."""
    real, link = directory.with_name("real"), directory.with_name("link")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            link.symlink_to(victims)
        with contextlib.suppress(OSError):
            (directory / "log").symlink_to(victims / "log")
        for here, there in (
            (directory, real),
            (link, directory),
            (directory, link),
            (real, directory),
        ):
            with contextlib.suppress(OSError):
                here.rename(there)
        with contextlib.suppress(OSError):
            (directory / "log").unlink()
