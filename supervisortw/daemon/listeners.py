"""All control sockets of a daemon: opened at the start, changed by a reload, made again when deleted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, Settings, TcpAddress, UnixAddress
from supervisortw.daemon.activation import Activated, GivenSocket
from supervisortw.daemon.controlport import ControlPort, GivenUnixSocket, bound_port
from supervisortw.daemon.controlsocket import ControlSocket, PeerPid
from supervisortw.daemon.places import make_directories
from supervisortw.daemon.tcpcontrol import Channels, TcpControl
from supervisortw.errors import AlreadyRunning, LocalError

log = Logger(namespace="supervisor")


class Listener(Protocol):
    """One control socket that is listened on."""

    warnings: tuple[str, ...]
    spoken: str

    def is_there(self) -> bool:
        """True if clients can still reach it by its address."""

    def remove_name(self) -> None:
        """Remove its name from the file system, if it is ours."""

    def stop(self) -> Deferred[None]:
        """Stop listening."""


class Listeners:
    """The control sockets that the settings ask for. One that is refused leaves a note behind.

    ``activated`` are those that somebody else has opened; they are listened on as well.
    """

    def __init__(
        self,
        channels: Channels,
        tcp: TcpControl,
        peer_pid: PeerPid,
        reactor: Any,
        activated: Activated | None = None,
    ) -> None:
        self._channels = channels
        self._tcp = tcp
        self._peer_pid = peer_pid
        self._reactor = reactor
        self._activated = activated or Activated()
        self._open: dict[str, Listener] = {}
        self._notes: dict[str, str] = {}
        self._basis: object = None
        self._made_as: object = None
        self._changing = DeferredLock()
        self._unwatch: Callable[[], None] = lambda: None
        self._reminder: IDelayedCall | None = None

    def notes(self) -> list[str]:
        """Return what an operator should know: listeners that were refused, and warnings."""
        warnings = [text for socket in self._open.values() for text in socket.warnings]
        return [*self._notes.values(), *self._activated.refusals, *warnings]

    @property
    def refused(self) -> bool:
        """True if there was asked for a listener that is not there."""
        return bool(self._notes or self._activated.refusals)

    @property
    def names(self) -> list[str]:
        """The addresses that are listened on; those that need neither TLS nor a password are first."""
        return sorted(self._open, key=lambda name: isinstance(self._open[name], ControlPort))

    def shown(self) -> list[str]:
        """Return for people what is listened on, and what is spoken there."""
        return [
            f"{name} ({self._open[name].spoken})" if self._open[name].spoken else name
            for name in self.names
        ]

    def open(self, settings: Settings) -> None:
        """Open every socket. Raises AlreadyRunning if another daemon listens on one of them."""
        for refusal in self._activated.refusals:
            log.critical("{note}", note=refusal)
        for address in self._wanted(settings):
            self._open_one(address, settings)
        self._opened(settings)

    def _wanted(self, settings: Settings) -> list[Address]:
        """Return what is asked for by the settings, and by whoever has opened sockets for us."""
        given = [
            each.address
            for each in self._activated.sockets
            if not any(each.is_at(address) for address in settings.sockets)
        ]
        return [*settings.sockets, *given]

    def differ(self, settings: Settings) -> bool:
        """True if `change` would do something: other settings, users or certificates, or a new try."""
        is_same = self._is_made_as(settings) and self._basis_of(settings) == self._basis
        return self.refused or not is_same

    def _basis_of(self, settings: Settings) -> object:
        return settings.sockets, self._tcp.basis(self._wanted(settings), settings)

    def _is_made_as(self, settings: Settings) -> bool:
        """True if the sockets in the file system have been made as ``settings`` want them."""
        return self._made_as == (settings.socket_mode, settings.socket_chown)

    def change(self, settings: Settings) -> Deferred[None]:
        """Close what is not wanted any more or not so, then open what is missing; open sessions stay."""
        return self._changing.run(lambda: ensureDeferred(self._change(settings)))

    async def _change(self, settings: Settings) -> None:
        wanted = self._wanted(settings)
        await self._tcp.prepare(wanted, settings)
        self._stop_watching()  # what we remove ourselves is no news
        self._notes.clear()
        staying = {str(address) for address in wanted} if self._is_made_as(settings) else set()
        for name, socket in list(self._open.items()):
            if not (name in staying and isinstance(socket, ControlSocket) and socket.is_there()):
                await socket.stop()
                del self._open[name]
        for address in wanted:
            if str(address) not in self._open:
                with contextlib.suppress(AlreadyRunning):
                    self._open_one(address, settings)
        self._opened(settings)
        self.watch(settings)

    def _open_one(self, address: Address, settings: Settings) -> None:
        name = str(address)
        try:
            listener = self._listener(address, settings)
        except LocalError as error:
            self._notes[name] = f"not listening on {name}: {error}"
            log.critical("{note}", note=self._notes[name])
            if isinstance(error, AlreadyRunning):
                raise
        else:
            self._open[name] = listener
            if isinstance(listener, ControlPort):
                log.info("listening on {name} ({spoken})", name=name, spoken=listener.spoken)
            else:
                for warning in listener.warnings:
                    log.warn("{warning}", warning=warning)

    def _listener(self, address: Address, settings: Settings) -> Listener:
        """Return a socket that listens at ``address``. Raises LocalError."""
        given = self._activated.at(address)
        if isinstance(address, TcpAddress):
            bound = bound_port(address) if given is None else given.duplicate()
            return self._tcp.open(address, bound, settings)
        if given is not None:
            return self._given(address, given)
        socket = ControlSocket(address.path, settings, self._channels.unix(), self._reactor)
        socket.start(self._peer_pid)
        return socket

    def _given(self, address: UnixAddress, given: GivenSocket) -> GivenUnixSocket:
        socket = GivenUnixSocket(address.path, given.duplicate())
        try:
            socket.start(self._channels.unix(), self._reactor)
        except LocalError:
            socket.stop()
            raise
        return socket

    # What is insecure is told again and again.

    def _opened(self, settings: Settings) -> None:
        self._made_as = settings.socket_mode, settings.socket_chown
        self._basis = self._basis_of(settings)
        self._stop_reminder()
        self._remind()

    def _remind(self) -> None:
        self._reminder = None
        dangers = [
            warning
            for socket in self._open.values()
            if isinstance(socket, ControlPort)
            for warning in socket.warnings
        ]
        for danger in dangers:
            log.critical("{danger}", danger=danger)
        if dangers:
            wait = LIMITS.insecure_told_seconds
            self._reminder = self._reactor.callLater(wait, self._remind)

    def _stop_reminder(self) -> None:
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    # Names in the file system.

    def watch(self, settings: Settings) -> None:
        """Make a socket again when somebody deletes it. Needs inotify; elsewhere, a reload does it."""
        try:
            from twisted.internet import inotify  # noqa: PLC0415  # cannot be imported everywhere
        except ImportError:
            return
        self._stop_watching()
        notifier = inotify.INotify(self._reactor)
        notifier.startReading()
        self._unwatch = notifier.loseConnection
        gone = inotify.IN_DELETE | inotify.IN_MOVED_FROM
        gone |= inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
        made = [socket for socket in self._open.values() if isinstance(socket, ControlSocket)]
        for directory in {os.path.dirname(socket.path) for socket in made}:
            notifier.watch(
                FilePath(directory),
                mask=gone,
                callbacks=[lambda *_: self._look(settings)],
            )

    def _stop_watching(self) -> None:
        unwatch, self._unwatch = self._unwatch, lambda: None
        unwatch()

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
        self._stop_watching()
        self._stop_reminder()
        for socket in self._open.values():
            await socket.stop()
        self._open.clear()
