"""All control sockets of a daemon: opened at the start, changed by a reload, made again when deleted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from supervisortw.core.model import Settings, TcpAddress
from supervisortw.daemon.controlsocket import ControlSocket, PeerPid
from supervisortw.daemon.places import make_directories
from supervisortw.errors import AlreadyRunning, LocalError

log = Logger(namespace="supervisor")

NO_TCP_YET = "control over TCP is not part of this version; name a path for a UNIX socket"


class Listeners:
    """The control sockets that the settings ask for. One that is refused leaves a note behind."""

    def __init__(self, factory: IProtocolFactory, peer_pid: PeerPid, reactor: Any) -> None:
        self._factory = factory
        self._peer_pid = peer_pid
        self._reactor = reactor
        self._open: dict[str, ControlSocket] = {}
        self._notes: dict[str, str] = {}
        self._changing = DeferredLock()
        self._unwatch: Callable[[], None] = lambda: None

    def notes(self) -> list[str]:
        """Return what an operator should know: listeners that were refused, and warnings."""
        warnings = [text for socket in self._open.values() for text in socket.warnings]
        return [*self._notes.values(), *warnings]

    @property
    def refused(self) -> bool:
        """True if the settings ask for a listener that is not there."""
        return bool(self._notes)

    def open(self, settings: Settings) -> None:
        """Open every socket. Raises AlreadyRunning if another daemon listens on one of them."""
        for address in settings.sockets:
            self._open_one(str(address), isinstance(address, TcpAddress), settings)

    def change(self, settings: Settings) -> Deferred[None]:
        """Close every socket, then open those that are wanted now; open sessions stay."""
        return self._changing.run(lambda: ensureDeferred(self._change(settings)))

    async def _change(self, settings: Settings) -> None:
        self._notes.clear()
        for socket in self._open.values():
            await socket.stop()
        self._open.clear()
        self._open_all_that_can_be(settings)
        self.watch(settings)

    def _open_all_that_can_be(self, settings: Settings) -> None:
        for address in settings.sockets:
            with contextlib.suppress(AlreadyRunning):
                self._open_one(str(address), isinstance(address, TcpAddress), settings)

    def _open_one(self, name: str, is_tcp: bool, settings: Settings) -> None:
        if is_tcp:
            self._notes[name] = f"not listening on {name}: {NO_TCP_YET}"
            log.critical("{note}", note=self._notes[name])
            return
        socket = ControlSocket(name, settings, self._factory, self._reactor)
        try:
            socket.start(self._peer_pid)
        except LocalError as error:
            self._notes[name] = f"not listening on {name}: {error}"
            log.critical("{note}", note=self._notes[name])
            if isinstance(error, AlreadyRunning):
                raise
        else:
            self._open[name] = socket
            for warning in socket.warnings:
                log.warn("{warning}", warning=warning)

    def watch(self, settings: Settings) -> None:
        """Make a socket again when somebody deletes it. Needs inotify; elsewhere, a reload does it."""
        try:
            from twisted.internet import inotify  # noqa: PLC0415  # cannot be imported everywhere
        except ImportError:
            return
        self._unwatch()
        notifier = inotify.INotify(self._reactor)
        notifier.startReading()
        self._unwatch = notifier.loseConnection
        gone = inotify.IN_DELETE | inotify.IN_MOVED_FROM
        gone |= inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
        for directory in {os.path.dirname(name) for name in self._open}:
            notifier.watch(
                FilePath(directory),
                mask=gone,
                callbacks=[lambda *_: self._look(settings)],
            )

    def _look(self, settings: Settings) -> None:
        gone = [name for name, socket in self._open.items() if not socket.is_there()]
        if gone:
            log.warn("control socket deleted: {names}; making it again", names=", ".join(gone))
            with contextlib.suppress(LocalError):  # then the listener says so
                make_directories(settings)
            self.change(settings).addErrback(
                lambda failure: log.failure("control sockets not made again", failure)
            )

    def discard(self) -> None:
        """Remove the sockets from the file system at once: the daemon will not come up."""
        for socket in self._open.values():
            socket.remove_name()

    def close(self) -> Deferred[None]:
        """Stop listening, and remove the sockets."""
        return self._changing.run(lambda: ensureDeferred(self._close()))

    async def _close(self) -> None:
        self._unwatch()
        for socket in self._open.values():
            await socket.stop()
        self._open.clear()
