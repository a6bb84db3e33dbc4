"""The control socket in the file system: made safely, never wider than it should be, made again.

The socket is bound under a umask that gives nobody else anything, in a directory in whose path nobody
else can put something. A socket that was left behind is replaced; a live one is refused with the pid
of its owner; anything else in its place is left alone.
"""

# The port underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from supervisortw.core.model import Settings
from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.errors import AlreadyRunning, LocalError

log = Logger(namespace="supervisor")

PeerPid = Callable[[socket.socket], "int | None"]


class ControlSocket:
    """Listens on one UNIX socket."""

    def __init__(
        self, path: str, settings: Settings, factory: IProtocolFactory, reactor: Any
    ) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self._settings = settings
        self._factory = factory
        self._reactor = reactor
        self._port: _Port | None = None

    def start(self, peer_pid: PeerPid) -> None:
        """Bind and listen. ``peer_pid`` tells who owns the other end of a connection.

        Raises AlreadyRunning if another daemon listens there, and LocalError.
        """
        with open_parent(self.path, owners=owners()) as directory:
            self.warnings = tuple(directory.warnings)
            if directory.sticky:
                where = os.path.dirname(self.path)
                self.warnings += (f"{self.path}: everybody can make files in {where}",)
            _make_way(self.path, peer_pid)
            self._port = self._bind()
        try:
            _change_owner(self.path, self._settings.socket_chown)
        except LocalError:
            self.stop()
            raise

    def _bind(self) -> _Port:
        mode = self._settings.socket_mode
        port = _Port(self.path.encode(), self._factory, mode=mode, reactor=self._reactor)
        mask = os.umask(~mode & 0o777)
        try:
            port.startListening()
        except CannotListenError as error:
            reason = error.socketError.strerror or error.socketError
            raise LocalError(f"cannot listen on {self.path}: {reason}") from None
        finally:
            os.umask(mask)
        return port

    def is_there(self) -> bool:
        """True if the name in the file system is still our socket."""
        return self._port is not None and self._port.is_there()

    def remove_name(self) -> None:
        """Remove the name from the file system, if it is still our socket."""
        if self.is_there():
            os.unlink(self.path)

    def stop(self) -> Deferred[None]:
        """Stop listening; the name is removed if it is still ours."""
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening()


class _Port(unix.Port):
    """A UNIX port that removes its name only while it is its own."""

    _identity: tuple[int, int] | None = None

    def startListening(self) -> None:
        super().startListening()
        found = os.lstat(self._bindPath)
        self._identity = (found.st_dev, found.st_ino)

    def is_there(self) -> bool:
        try:
            found = os.lstat(self._bindPath)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def connectionLost(self, reason: Failure) -> None:
        if self.is_there():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._bindPath)
        # Not unix.Port's own, which removes whatever bears the name by now.
        tcp.Port.connectionLost(self, reason)


def _make_way(path: str, peer_pid: PeerPid) -> None:
    """Remove a socket that a dead daemon has left behind.

    Raises AlreadyRunning if it is alive, and LocalError if something else is in its place.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise LocalError(f"{path} is there already and is no socket; remove it or name another one")
    probe = socket.socket(socket.AF_UNIX)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except BlockingIOError:  # its queue is full: somebody is there, and busy
        raise AlreadyRunning(f"another supervisord listens on {path}") from None
    except OSError as error:
        if error.errno != errno.ECONNREFUSED:
            raise LocalError(f"cannot replace {path}: {error.strerror}") from None
        if found.st_uid not in owners():
            raise LocalError(f"cannot replace {path}: it belongs to another user") from None
        os.unlink(path)
    else:
        pid = peer_pid(probe)
        who = f"another supervisord (pid {pid})" if pid else "another supervisord"
        raise AlreadyRunning(f"{who} listens on {path}")
    finally:
        probe.close()


def _change_owner(path: str, chown: tuple[str, str | None] | None) -> None:
    """Give the socket to the user and group of ``socket-chown``. Raises LocalError."""
    if chown is None:
        return
    user, group = chown
    try:
        entry = pwd.getpwuid(int(user)) if _is_number(user) else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise LocalError(f"socket-chown: no such user: {user}") from None
    gid = entry.pw_gid
    if group is not None:
        try:
            gid = int(group) if _is_number(group) else grp.getgrnam(group).gr_gid
        except KeyError:
            raise LocalError(f"socket-chown: no such group: {group}") from None
    try:
        os.chown(path, entry.pw_uid, gid, follow_symlinks=False)
    except OSError as error:
        raise LocalError(f"socket-chown: {path}: {error.strerror}") from None
    except OverflowError:
        raise LocalError(f"socket-chown: no such group: {group}") from None


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
