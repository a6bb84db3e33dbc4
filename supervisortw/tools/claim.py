"""What a pid file says, and whether it is true. Linux only.

Whoever can write the file can name any process in it, so a number in it is a claim: it is believed
if the process runs as our user and descends from us. From then on the process is held by a
descriptor (pidfd), because its number may belong to another process a moment later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat

_READ_BYTES = 64
_DIGITS = 10
_GENERATIONS = 100  # between us and the process; a longer line is refused
_TRIES = 5  # a parent may end, and its children move up, while we walk


class ClaimRefused(Exception):
    """What the pid file says is not believed; the text is a sentence about it.

    It never leaves pid-proxy, which starts faster without the tree of errors.
    """


class NoClaim(ClaimRefused):
    """The pid file says nothing yet: it is missing, empty, or left over from an earlier start."""


class PidFile:
    """A pid file; what stood in it when this object was made belongs to an earlier start."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._left_over: tuple[int, ...] | None = None
        with contextlib.suppress(OSError):
            self._left_over = _stamp(os.lstat(path))

    def read(self) -> int:
        """Return the number in the file; raises NoClaim and ClaimRefused."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            raise NoClaim(f"{self.path} does not exist") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ClaimRefused(f"{self.path} is a link, which is not followed") from None
            raise ClaimRefused(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ClaimRefused(f"{self.path} is not a regular file")
            if _stamp(found) == self._left_over:
                raise NoClaim(f"{self.path} is left over from an earlier start")
            content = os.read(fd, _READ_BYTES)
        except OSError as error:
            raise ClaimRefused(f"{self.path} cannot be read: {error.strerror}") from None
        finally:
            os.close(fd)
        return self._parse(content)

    def _parse(self, content: bytes) -> int:
        number = content.strip(b" \t\r\n")
        if not number:
            raise NoClaim(f"{self.path} is empty")
        # Of bytes, isdigit takes ASCII digits only. 0 and 1 are never the process of a daemon.
        if not number.isdigit() or len(number) > _DIGITS or int(number) < 2:
            shown = ascii(number[:20].decode("latin-1")) + ("..." if number[20:] else "")
            raise ClaimRefused(f"{self.path} holds {shown}, which is no process id")
        return int(number)

    def hold(self) -> Descendant:
        """Return the process that the file names; raises NoClaim and ClaimRefused."""
        pid = self.read()
        try:
            return Descendant(pid)
        except ClaimRefused as refusal:
            raise ClaimRefused(f"{self.path} names process {pid}, {refusal}") from None


class Descendant:
    """A process that runs as our user and descends from us; close it after use.

    Made from a number, it raises ClaimRefused, with a relative clause as its text.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self.fd = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError):
            raise ClaimRefused("which does not exist") from None
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                raise ClaimRefused("which is a thread, not a process") from None
            raise ClaimRefused(f"which cannot be held: {error.strerror}") from None
        try:
            self._started = start_time(pid)
            self.branch = self.find_branch()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    def is_alive(self) -> bool:
        """True until the process has ended, reaped or not."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return not poll.poll(0)

    def find_branch(self) -> int:
        """Return the child of ours that the process descends from, or is; raises ClaimRefused.

        Judges the process anew: it may have changed its user, its parent may have ended.
        """
        branch = find_branch(self.pid, us=os.getpid(), uid=os.getuid())
        # All that was read is about this process if the number is still its own: then it has not
        # been reaped, and nobody else can have had the number in between.
        try:
            signal.pidfd_send_signal(self.fd, 0)
        except ProcessLookupError:
            raise ClaimRefused("which does not exist") from None
        except PermissionError:
            raise ClaimRefused("which we must not signal") from None
        if start_time(self.pid) != self._started:
            raise ClaimRefused("which is not the one that it was")
        return branch

    def send(self, number: int) -> None:
        """Send a signal; raises ClaimRefused if the process is not, or no longer, to be believed."""
        self.find_branch()
        try:
            signal.pidfd_send_signal(self.fd, number)
        except OSError as error:
            raise ClaimRefused(f"which cannot be signalled: {error.strerror}") from None


def find_branch(pid: int, *, us: int, uid: int, proc: str = "/proc") -> int:
    """Return the child of process ``us`` that ``pid`` descends from, or is.

    Raises ClaimRefused, with a relative clause as its text, if there is none or if not all four
    user ids of ``pid`` are ``uid``.
    """
    if pid == us:
        raise ClaimRefused("which is pid-proxy itself")
    uids, _ = _status(pid, proc)
    if set(uids) != {uid}:
        listed = ", ".join(str(number) for number in dict.fromkeys(uids))
        raise ClaimRefused(f"which runs as uid {listed}; pid-proxy runs as uid {uid}")
    for _ in range(_TRIES):
        with contextlib.suppress(_MovedUp):
            return _climb(pid, us, proc)
    raise ClaimRefused("which was not started by pid-proxy")


class _MovedUp(Exception):
    """A process on the way to us has ended; the walk has to be repeated."""


def _climb(pid: int, us: int, proc: str) -> int:
    branch = pid
    for _ in range(_GENERATIONS):
        try:
            _, parent = _status(branch, proc)
        except ClaimRefused:
            raise _MovedUp from None
        if parent == us:
            return branch
        if parent <= 1:
            break
        branch = parent
    raise ClaimRefused("which was not started by pid-proxy")


def _status(pid: int, proc: str) -> tuple[list[int], int]:
    """The four user ids of a process, and its parent."""
    fields = dict(
        line.split(b":", 1) for line in _read(f"{proc}/{pid}/status").splitlines() if b":" in line
    )
    try:
        return [int(uid) for uid in fields[b"Uid"].split()], int(fields[b"PPid"])
    except (KeyError, ValueError):
        raise ClaimRefused("of which /proc tells nothing") from None


def start_time(pid: int, proc: str = "/proc") -> int:
    """Return when the process began, in clock ticks since boot; raises ClaimRefused."""
    # The name of the command, in parentheses, may hold anything; field 3 comes after the last one.
    fields = _read(f"{proc}/{pid}/stat").rpartition(b")")[2].split()
    try:
        return int(fields[22 - 3])
    except (IndexError, ValueError):
        raise ClaimRefused("of which /proc tells nothing") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(8192)
    except OSError:  # it has ended, or /proc hides what other users run
        raise ClaimRefused("of which /proc tells nothing") from None


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
