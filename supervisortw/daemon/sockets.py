"""Listening sockets that the daemon holds for programs.

A socket is bound once. It stays bound while its programs are restarted, stopped, or failing, and over
a reload that leaves its address alone: whoever connects meanwhile waits in its queue. The daemon
itself accepts nothing.

A child gets the socket itself, not a copy of its state: if one sets it non-blocking, it is so for all.
It is blocking when it is made, and left alone afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ListeningSocket, TcpAddress, UnixAddress
from supervisortw.daemon.paths import make_directory
from supervisortw.daemon.places import owners
from supervisortw.daemon.turns import Turns
from supervisortw.daemon.unixsocket import (
    SocketName,
    born_with,
    make_way,
    owner_of,
    trusted_place,
)
from supervisortw.errors import LocalError, SpawnError
from supervisortw.interfaces import Clock

log = Logger(namespace="supervisor")

# What may be over in a moment, without anybody's help.
_PASSING = frozenset(
    {
        *(errno.EADDRINUSE, errno.EADDRNOTAVAIL),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN),
    }
)
_TAKEN = "somebody listens there already (lsof or ss tells who)"
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class ProgramSockets:
    """The sockets of a configuration: those that are open, and why the others are not."""

    def __init__(self, sockets: Mapping[str, ListeningSocket], clock: Clock) -> None:
        self._turns = Turns(clock)
        self._wanted = dict(sockets)
        self._open: dict[str, _Open] = {}
        self._leaving: list[_Open] = []
        self._troubles: dict[str, str] = {}

    def open_all(self) -> list[str]:
        """Open what is not open yet; return what an operator should know, as `notes` does."""
        for name in self._wanted:
            self._try(name)
        return self.notes()

    def descriptor(self, name: str) -> int:
        """Return the descriptor of the socket ``name``, which stays ours and is closed at an exec.

        A socket that could not be opened is tried anew, and one whose name was deleted from the file
        system is made again. Raises SpawnError with the reason.
        """
        if name not in self._wanted:
            raise SpawnError(f"there is no socket {name} in the configuration", permanent=True)
        found = self._open.get(name)
        if found is not None and found.is_there():
            return found.listening.fileno()
        if found is not None:
            self._open.pop(name).close()
        return self._open_one(self._wanted[name]).listening.fileno()

    def apply(self, new: Mapping[str, ListeningSocket]) -> Deferred[list[str]]:
        """Close, open and change sockets until they are as in ``new``; fires with what `notes` tells.

        A socket keeps its queue if its address is the same, whatever else has changed, its name
        included. It is done in portions.
        """
        before = {each.wanted.address: each for each in self._open.values()}
        self._wanted, self._open, self._troubles = dict(new), {}, {}
        for name, wanted in new.items():
            if wanted.address in before:
                self._open[name] = before.pop(wanted.address)
        self._leaving += before.values()
        acts: list[Callable[[], None]] = [partial(self._change, name) for name in self._open]
        acts += [self._close_one] * len(before)  # first, since others may want their addresses
        acts += [partial(self._try, name) for name in new]
        for act in acts:
            self._turns.take(act)
        done: Deferred[list[str]] = Deferred()
        self._turns.take(lambda: done.callback(self.notes()))
        return done

    def notes(self) -> list[str]:
        """Return what an operator should know: sockets that are not as they should be, and warnings."""
        notes = list(self._troubles.values())
        for name, each in self._open.items():
            notes += (f"socket {name}: {warning}" for warning in each.warnings)
            if not each.is_there():
                notes.append(
                    f"socket {name}: {each.wanted.address} was removed or replaced by somebody; "
                    f"it is made again when a program that uses it starts"
                )
        return notes

    def close(self) -> None:
        """Close every socket, and remove those names from the file system that are still ours."""
        for each in (*self._open.values(), *self._leaving):
            each.close()
        self._wanted, self._open, self._troubles = {}, {}, {}
        self._leaving.clear()

    def _try(self, name: str) -> None:
        with contextlib.suppress(SpawnError):  # it is among the troubles
            self.descriptor(name)

    def _open_one(self, wanted: ListeningSocket) -> _Open:
        name = wanted.name
        try:
            if len(self._open) >= LIMITS.program_sockets:
                reason = (
                    f"{LIMITS.program_sockets} sockets are open already, and more there cannot be"
                )
                raise SpawnError(reason, permanent=True)
            opened = _open(wanted)
        except SpawnError as error:
            self._tell(name, f"socket {name}: {error}")
            raise SpawnError(f"socket {name}: {error}", permanent=error.permanent) from None
        self._open[name] = opened
        self._troubles.pop(name, None)
        log.info("socket {name}: listening on {address}", name=name, address=wanted.address)
        return opened

    def _change(self, name: str) -> None:
        found = self._open.get(name)
        if found is None or not found.is_there():  # closed meanwhile, or to be made anew
            return
        try:
            found.change(self._wanted[name])
        except LocalError as error:
            self._tell(name, f"socket {name}: listening as before: {error}")

    def _close_one(self) -> None:
        if self._leaving:
            self._leaving.pop().close()

    def _tell(self, name: str, trouble: str) -> None:
        if self._troubles.get(name) != trouble:  # each try to start a program comes here
            log.error("{trouble}", trouble=trouble)
        self._troubles[name] = trouble


@dataclass(slots=True)
class _Open:
    """An open socket, and as what. ``file`` is its name in the file system, if it has one."""

    wanted: ListeningSocket
    listening: socket.socket
    file: SocketName | None = None
    warnings: tuple[str, ...] = ()

    def is_there(self) -> bool:
        """True if somebody can still reach it by its address."""
        return self.file is None or self.file.is_there()

    def change(self, wanted: ListeningSocket) -> None:
        """Be as ``wanted``, which has the same address; its queue is kept. Raises LocalError."""
        before = self.wanted
        if before.backlog != wanted.backlog:
            self.listening.listen(wanted.backlog)
        if self.file and (before.mode, before.owner) != (wanted.mode, wanted.owner):
            ourselves = os.geteuid(), os.getegid()
            self.file.change(wanted.mode, owner_of("owner", wanted.owner) or ourselves)
        self.wanted = wanted

    def close(self) -> None:
        """Close it, and remove its name if it is still ours."""
        if self.file is not None:
            self.file.remove()
        self.listening.close()


def _open(wanted: ListeningSocket) -> _Open:
    """Bind and listen. Raises SpawnError."""
    address = wanted.address
    try:
        if isinstance(address, UnixAddress):
            return _open_unix(wanted, address.path)
        return _Open(wanted, _open_tcp(address, wanted.backlog))
    except SpawnError:
        raise
    except LocalError as error:
        why = error.__cause__
        passes = isinstance(why, OSError) and why.errno in _PASSING
        raise SpawnError(f"cannot listen on {address}: {error}", permanent=not passes) from None
    except OSError as error:
        reason = _in_words(error, address)
        passes = error.errno in _PASSING
        raise SpawnError(f"cannot listen on {address}: {reason}", permanent=not passes) from None


def _open_unix(wanted: ListeningSocket, path: str) -> _Open:
    owner = owner_of("owner", wanted.owner)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):  # those below /run have to be made after each boot
        make_directory(directory, 0o755, owners=owners())
    with trusted_place(path) as warnings:
        make_way(path, owner, lambda _: _somebody_is_there(path))
        listening = socket.socket(socket.AF_UNIX)
        with contextlib.ExitStack() as undo:
            undo.callback(listening.close)
            with born_with(wanted.mode):
                listening.bind(path)
            file = SocketName(path)
            undo.callback(file.remove)
            if owner is not None:
                file.change(wanted.mode, owner)
            listening.listen(wanted.backlog)  # nobody can connect before
            undo.pop_all()
    return _Open(wanted, listening, file, warnings)


def _open_tcp(address: TcpAddress, backlog: int) -> socket.socket:
    if not address.host:
        try:
            return _bound(socket.AF_INET6, "::", address.port, backlog, with_ipv4=True)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
        return _bound(socket.AF_INET, "0.0.0.0", address.port, backlog)  # noqa: S104  # as it says
    host = "127.0.0.1" if address.host == "localhost" else address.host
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:  # to look a name up can take long, and give anything
        raise LocalError("give the address of the interface, not a name") from None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return _bound(family, host, address.port, backlog)


def _bound(
    family: int, host: str, port: int, backlog: int, *, with_ipv4: bool = False
) -> socket.socket:
    listening = socket.socket(family)
    with contextlib.ExitStack() as undo:
        undo.callback(listening.close)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not with_ipv4)
        listening.bind((host, port))
        listening.listen(backlog)
        undo.pop_all()
    return listening


def _somebody_is_there(path: str) -> SpawnError:
    return SpawnError(f"cannot listen on {path}: {_TAKEN}", permanent=False)


def _in_words(error: OSError, address: UnixAddress | TcpAddress) -> str:
    if error.errno == errno.EADDRINUSE:
        return _TAKEN
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has this address"
    if error.errno == errno.EACCES and isinstance(address, TcpAddress) and address.port < 1024:
        return "only root can listen on ports below 1024"
    return (error.strerror or str(error)).lower()
