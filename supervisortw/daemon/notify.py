"""Where programs send what they tell by sd_notify(3): a UNIX socket for each process.

A socket for each, and not one for all, tells who speaks without looking at pids: the sender may be a
`systemd-notify` that is gone before its message is read. Who may send is settled by the permissions
of the socket and, where the kernel names the sender, once more for each message.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from functools import cached_property

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.core.notify import Notice, parse
from supervisortw.daemon.paths import make_directory, open_directory
from supervisortw.daemon.places import owners
from supervisortw.daemon.unixsocket import is_socket
from supervisortw.errors import LocalError, SpawnError
from supervisortw.interfaces import DescriptorStore

log = Logger(namespace="supervisor")

# Is given what was said, and the pid of the sender (0: not known), who may have ended meanwhile.
Heard = Callable[[Notice, int], None]

MODE = 0o711  # of the directory: all get through, only we can put something there

# Shortages that pass.
_PASSING = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT}
)
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_SENDERS_ARE_TOLD = sys.platform == "linux"
if sys.platform == "linux":
    # No room for a descriptor behind the credentials, which come first: the kernel closes what was
    # sent along (FDSTORE=1, BARRIER=1), and it never is in our table.
    _ROOM = socket.CMSG_SPACE(_CREDENTIALS.size)
else:
    _ROOM = socket.CMSG_SPACE(1024)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def notify_directory(state_directory: str) -> str:
    """Return the directory for the sockets of the daemon that has this state directory.

    Programs of root's daemon run as any user, so each component of its path has to let everybody
    through. The state directory lets nobody, and may lie where nobody gets anyway (/root); the
    directory of the control socket is closed, too. So it is a directory of its own in /run, which
    only root can write to, named after the state directory, whose lock makes us its only user. Every
    program of another daemon runs as the daemon's own user, for whom the state directory will do.
    """
    if os.geteuid() != 0:
        return os.path.join(state_directory, "notify")
    run = "/run" if os.path.isdir("/run") else "/var/run"
    return f"{run}/supervisortw-notify-{_short(os.path.realpath(state_directory))}"


class NotifySockets:
    """The sockets of all processes that tell of themselves.

    ``place`` tells the directory, and is asked when the first socket is opened: twistd becomes another
    user after it has put the daemon together. Nobody else uses that directory: what is found in it
    was left behind by a daemon that is dead. What of it is to be used on is adopted before the first
    socket is opened; the rest is removed then.
    """

    def __init__(
        self, place: Callable[[], str], reactor: IReactorFDSet, store: DescriptorStore
    ) -> None:
        self._place = place
        self._reactor = reactor
        self._store = store
        self._sockets: dict[str, _NotifySocket] = {}
        self._tidy = False

    @cached_property
    def _directory(self) -> str:
        return self._place()

    def open(self, name: str, uid: int, heard: Heard) -> str:
        """Listen to process ``name``, which runs as ``uid``; return its NOTIFY_SOCKET.

        To be called before each start of the process. The path is always the same, also that of a
        later daemon, but the socket is a new one: what was sent to the former one and not read yet is
        lost, so a dead process cannot say that the new one is ready. What remains is a process that
        outlived the stop (it left the session, or ``stop-scope leader`` spared it) and speaks later:
        nothing but the pid, which is handed on, tells it from the new one's children.

        Raises SpawnError if there is no socket to be had.
        """
        self.close(name)
        self._listen(name, self._bind(name, uid, tidy=True), uid, heard)
        return self._path(name)

    def adopt(self, name: str, uid: int, heard: Heard) -> str:
        """Go on listening to process ``name`` of the daemon before this one; return its NOTIFY_SOCKET.

        What it has sent meanwhile is heard. If the socket was not kept, or its name was deleted, a new
        one takes its place, to which the process will send just as well. Raises SpawnError if there is
        none to be had.
        """
        path = self._path(name)
        kept = self._store.take(_kept(name))
        if kept is None or not is_socket(path):
            if kept is not None:
                os.close(kept)
            opened = self._bind(name, uid, tidy=False)
        else:
            opened = socket.socket(fileno=kept)
            opened.setblocking(False)
        self._listen(name, opened, uid, heard)
        return path

    def _listen(self, name: str, opened: socket.socket, uid: int, heard: Heard) -> None:
        self._sockets[name] = _NotifySocket(opened, name, uid, heard, self._reactor)

    def _bind(self, name: str, uid: int, *, tidy: bool) -> socket.socket:
        """Return a new socket, which is kept. Raises SpawnError."""
        path = self._path(name)
        size = len(os.fsencode(path))
        if size > LIMITS.socket_path_bytes:
            raise SpawnError(
                f"no socket for notify: the path {path} has {size} bytes, and at most"
                f" {LIMITS.socket_path_bytes} are possible; choose a shorter state-directory",
                permanent=True,
            )
        try:
            self._make_directory(tidy=tidy)
            opened = _bind(path, uid)
        except (LocalError, OSError) as error:
            raise _spawn_error(error, path) from None
        self._store.keep(_kept(name), opened.fileno())
        return opened

    def close(self, name: str) -> None:
        """Stop listening to process ``name``, and remove its socket, if there is one."""
        listening = self._sockets.pop(name, None)
        if listening is not None:
            self._store.drop(_kept(name))
            listening.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path(name))

    def close_all(self) -> None:
        """Stop listening, and remove the directory with whatever is left in it."""
        for name in list(self._sockets):
            self.close(name)
        with contextlib.suppress(LocalError, OSError):
            self._remove_sockets()
            os.rmdir(self._directory)

    def _path(self, name: str) -> str:
        # Not the name itself, which can be too long for the path of a socket, or "..".
        return os.path.join(self._directory, _short(name))

    def _make_directory(self, *, tidy: bool) -> None:
        """Make the directory where it is missing, also later on: somebody may tidy up /run."""
        make_directory(self._directory, MODE, owners=owners())
        if tidy and not self._tidy:
            self._remove_sockets()
            self._tidy = True

    def _remove_sockets(self) -> None:
        """Remove all that nobody listens to."""
        ours = {_short(name) for name in self._sockets}
        with open_directory(self._directory, owners=owners()) as directory:
            os.fchmod(directory.fd, MODE)  # one that was there already may have another
            for name in os.listdir(directory.fd):
                found = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
                if stat.S_ISSOCK(found.st_mode) and name not in ours:
                    os.unlink(name, dir_fd=directory.fd)


@implementer(IReadDescriptor)
class _NotifySocket:
    """One socket in the reactor."""

    def __init__(
        self, opened: socket.socket, name: str, uid: int, heard: Heard, reactor: IReactorFDSet
    ) -> None:
        self._socket = opened
        self._name = name
        self._uid = uid
        self._heard = heard
        self._reactor = reactor
        self._told: set[str] = set()
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "notify"

    def doRead(self) -> None:
        for _ in range(LIMITS.notices_per_turn):
            if self._socket.fileno() < 0:  # whoever heard it has closed us
                return
            try:
                data, extra, flags, _sender = self._socket.recvmsg(
                    LIMITS.notice_bytes, _ROOM, _FLAGS
                )
            except BlockingIOError:
                return
            pid, uid = _open_extra(extra)
            if _SENDERS_ARE_TOLD and uid not in {*owners(), self._uid}:
                who = f"uid {uid} (pid {pid})"
                self._ignore("uid", f"it comes from {who}; the program runs as uid {self._uid}")
            elif flags & socket.MSG_TRUNC:
                self._ignore("size", f"it has more than {LIMITS.notice_bytes} bytes")
            else:
                self._heard(parse(data), pid)

    def _ignore(self, kind: str, why: str) -> None:
        """Tell the first one of each kind: a program could go on for ever."""
        if kind not in self._told:
            self._told.add(kind)
            log.warn("{name}: notify: a message is ignored: {why}", name=self._name, why=why)

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()


def _kept(name: str) -> str:
    return f"notify/{name}"


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]


def _bind(path: str, uid: int) -> socket.socket:
    """Return a new socket that belongs to ``uid``, and to which nobody else can send."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        if sys.platform == "linux":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        mask = os.umask(0o177)
        try:
            opened.bind(path)
        finally:
            os.umask(mask)
        if uid != os.geteuid():
            # By name, which is safe here: nobody but us can put something else in its place.
            os.chown(path, uid, -1, follow_symlinks=False)
    except BaseException:
        opened.close()
        raise
    return opened


def _open_extra(extra: Iterable[tuple[int, int, bytes]]) -> tuple[int, int | None]:
    """Return pid and uid of the sender, 0 and None if nobody tells; close what was sent along."""
    pid, uid = 0, None
    for level, kind, data in extra:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            for start in range(0, len(data) - 3, 4):
                os.close(int.from_bytes(data[start : start + 4], sys.byteorder))
        elif sys.platform == "linux" and kind == socket.SCM_CREDENTIALS:
            pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def _spawn_error(error: LocalError | OSError, path: str) -> SpawnError:
    cause = error if isinstance(error, OSError) else error.__cause__
    passing = isinstance(cause, OSError) and cause.errno in _PASSING
    reason = f"{path}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    return SpawnError(f"no socket for notify: {reason}", permanent=not passing)
