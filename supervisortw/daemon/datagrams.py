"""A syslog server that gets each message as a datagram: a local one, or one behind UDP."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.addresses import Address, Addresses, why_not_found
from supervisortw.daemon.backlog import Backlog, Giver
from supervisortw.daemon.paths import open_parent
from supervisortw.daemon.places import owners
from supervisortw.errors import LocalError, UnsafePath
from supervisortw.interfaces import Cancel, Clock, Timer

LOCAL_SOCKETS = ("/dev/log", "/var/run/syslog")  # Linux; macOS

# Makes a connected socket, and calls back with it, or with why there is none; returns how to stop that.
Connected = Callable[[socket.socket | str], None]
Connect = Callable[[Connected], Cancel]


@implementer(IWriteDescriptor)
class Datagrams:
    """Sends messages through a socket that is made anew when the server has been started again.

    What cannot be sent waits, and is tried again as long as something waits.
    """

    def __init__(self, where: str, connect: Connect, reactor: IReactorFDSet, clock: Clock) -> None:
        self.where = where
        self.trouble = ""
        self._connect = connect
        self._reactor = reactor
        self._clock = clock
        self._backlog = Backlog()
        self._socket: socket.socket | None = None
        self._stop_connecting: Cancel | None = None
        self._retry: Timer | None = None
        self._next_try = 0.0
        self._finished: Callable[[], None] | None = None

    def open(self) -> None:
        """Do nothing: a server that is not there yet may come."""

    def has_room(self, giver: Giver) -> bool:
        """True if something can be put there."""
        if self._backlog.has_room(giver):
            return True
        self.trouble = self.trouble or "it does not take messages fast enough"
        return False

    def put(self, giver: Giver, entries: Sequence[bytes]) -> None:
        """Take messages."""
        for entry in entries:
            self._backlog.add(giver, entry)
        self._send()

    def _send(self) -> None:
        """Send what is taken now; the reactor tells when there is room for more."""
        if self._socket is None:
            self._begin()
        left = LIMITS.target_writes_per_turn
        while self._socket is not None and self._backlog and left:
            left -= 1
            try:
                self._socket.send(self._backlog.oldest())
            except BlockingIOError:
                break
            except OSError as error:
                self._refused(error)
            else:
                self._backlog.written(len(self._backlog.oldest()))
        self._watch()
        if not self._backlog:
            self.trouble = ""
            self._tell_the_end()

    def _tell_the_end(self) -> None:
        done, self._finished = self._finished, None
        if done is not None:
            done()

    def _refused(self, error: OSError) -> None:
        if error.errno == errno.EMSGSIZE:
            self.trouble = "a message is too long for it"
            self._backlog.drop()
            return
        self.trouble = str(error.strerror)
        self._let_go()
        if error.errno == errno.ENOBUFS:  # the socket is well, but nothing tells when there is room
            self._next_try = self._clock.seconds() + LIMITS.log_retry_seconds
        self._begin()

    def _begin(self) -> None:
        """Make a socket, now, or when that was not tried for a while."""
        if self._stop_connecting is not None or self._retry is not None or not self._backlog:
            return
        wait = self._next_try - self._clock.seconds()
        if wait > 0:
            self._retry = self._clock.callLater(wait, self._try_again)
            return
        self._next_try = self._clock.seconds() + LIMITS.log_retry_seconds
        self._stop_connecting = _nothing  # while it may call back at once
        stop = self._connect(self._connected)
        if self._stop_connecting is not None:
            self._stop_connecting = stop

    def _connected(self, found: socket.socket | str) -> None:
        self._stop_connecting = None
        if isinstance(found, str):
            self.trouble = found
            self._begin()
            return
        found.setblocking(False)
        self._socket = found
        self._send()

    def _try_again(self) -> None:
        self._retry = None
        self._send()

    def _watch(self) -> None:
        if self._socket is None:
            return
        if self._backlog:
            self._reactor.addWriter(self)
        else:
            self._reactor.removeWriter(self)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._reactor.removeWriter(self)
            self._socket.close()
            self._socket = None

    def reopen(self) -> None:
        """Connect anew, at once."""
        self._let_go()
        self._next_try = 0.0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._send()

    def forget(self, giver: Giver) -> None:
        """Tell ``giver`` nothing more."""
        self._backlog.forget(giver)

    def finish(self, done: Callable[[], None]) -> None:
        """Call ``done`` once all messages are sent, at once if none can be."""
        self._finished = done
        self._send()
        if self._socket is None and self.trouble:
            self._tell_the_end()

    def close(self) -> None:
        """Let go of everything."""
        self._send()
        if self._stop_connecting is not None:
            self._stop_connecting()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._let_go()
        self._backlog.drop_all()

    # In the reactor.

    def fileno(self) -> int:
        """Return what becomes writable."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor's own messages are marked with."""
        return "syslog"

    def doWrite(self) -> None:
        """Send more."""
        self._send()

    def connectionLost(self, reason: Failure) -> None:
        """The server has gone."""
        self._refused(OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))


def connect_local(path: str) -> Connect:
    """Return what connects to the socket of the syslog server of this machine."""

    def connect(connected: Connected) -> Cancel:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            _connect_safely(made, path or _local_socket())
        except OSError as error:
            made.close()
            connected(str(error.strerror))
        except LocalError as error:
            made.close()
            connected(str(error))
        else:
            connected(made)
        return _nothing

    return connect


def _local_socket() -> str:
    return next((each for each in LOCAL_SOCKETS if os.path.exists(each)), LOCAL_SOCKETS[0])


def _connect_safely(made: socket.socket, path: str) -> None:
    """Connect to a socket that nobody else can have put there. Raises OSError and LocalError."""
    with open_parent(path, owners=owners()) as directory:
        found = os.stat(os.path.basename(path), dir_fd=directory.fd, follow_symlinks=False)
        if directory.sticky and found.st_uid not in owners():
            raise UnsafePath(f"{path} belongs to somebody else, in {directory.path}")
        made.setblocking(False)
        made.connect(path)


def connect_udp(host: str, port: int, addresses: Addresses) -> Connect:
    """Return what connects to a server behind UDP, wherever its name is found at that time."""

    def connect(connected: Connected) -> Cancel:
        def found(where: Sequence[Address]) -> None:
            family, address = where[0]
            made = socket.socket(family, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.connect(address)
            except OSError as error:
                made.close()
                connected(str(error.strerror))
            else:
                connected(made)

        def not_found(failure: Failure) -> None:
            if not failure.check(CancelledError):
                connected(why_not_found(failure))

        looking = addresses.find(host, port, socket.SOCK_DGRAM)
        looking.addCallbacks(found, not_found)
        return looking.cancel

    return connect


def _nothing() -> None:
    pass
