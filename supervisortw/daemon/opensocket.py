"""One listening socket for programs: bound, or taken over from the daemon that had it before.

A UNIX socket does not know which file it was bound as: its name may be another one's by now. So a
descriptor of that file is kept beside it, where the system has such descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from supervisortw.core.model import ListeningSocket, TcpAddress, UnixAddress
from supervisortw.daemon.paths import make_directory
from supervisortw.daemon.places import owners
from supervisortw.daemon.tcpplace import TAKEN, bound, in_words, places_of
from supervisortw.daemon.unixsocket import (
    Owner,
    SocketName,
    born_with,
    is_socket,
    make_way,
    owner_of,
    trusted_place,
)
from supervisortw.errors import LocalError, SpawnError
from supervisortw.interfaces import DescriptorStore

# What may be over in a moment, without anybody's help.
_PASSING = frozenset(
    {
        *(errno.EADDRINUSE, errno.EADDRNOTAVAIL),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN),
    }
)
# What a socket and its file are called in the store: "socket/NAME", "socket/NAME/file".
SOCKET, FILE = "socket/", "/file"

_AS_IT_IS: Owner = (-1, -1)


@dataclass(slots=True)
class OpenSocket:
    """An open socket, and as what.

    ``file`` is its name in the file system, if it has one. ``kept_as`` is the name that the store has it
    under. ``is_old`` is true of one that an earlier daemon has bound.
    """

    wanted: ListeningSocket
    listening: socket.socket
    file: SocketName | None = None
    warnings: tuple[str, ...] = ()
    is_old: bool = False
    kept_as: str = ""

    def is_there(self) -> bool:
        """True if somebody can still reach it by its address."""
        return self.file is None or self.file.is_there()

    def change(self, wanted: ListeningSocket) -> None:
        """Be as ``wanted``, which has the same address; its queue is kept. Raises LocalError."""
        before = self.wanted
        if before.backlog != wanted.backlog:
            self.listening.listen(wanted.backlog)
        if self.file and (before.mode, before.owner) != (wanted.mode, wanted.owner):
            self.file.change(wanted.mode, owner_of("owner", wanted.owner) or _ourselves())
        self.wanted = wanted

    def keep(self, name: str, store: DescriptorStore) -> None:
        """Have it kept under ``name``, first its file: without that it could not be taken back."""
        file = None if self.file is None else self.file.held()
        if file is None:
            store.drop(_file(name))
        else:
            store.keep(_file(name), file)
            os.close(file)
        store.keep(_socket(name), self.listening.fileno())
        self.kept_as = name

    def close(self) -> None:
        """Close it, and remove its name if it is still ours."""
        if self.file is not None:
            self.file.remove()
        self.listening.close()


def forget(name: str, store: DescriptorStore) -> None:
    """Let the store keep no socket ``name`` any more."""
    store.drop(_socket(name))
    store.drop(_file(name))


def open_socket(wanted: ListeningSocket, store: DescriptorStore) -> OpenSocket:
    """Take over what was kept under its name, or else bind and listen. Raises SpawnError."""
    address = wanted.address
    try:
        if isinstance(address, UnixAddress):
            return _open_unix(wanted, address.path, store)
        return _open_tcp(wanted, address, store)
    except SpawnError:
        raise
    except LocalError as error:
        why = error.__cause__
        passes = isinstance(why, OSError) and why.errno in _PASSING
        raise SpawnError(f"cannot listen on {address}: {error}", permanent=not passes) from None
    except OSError as error:
        reason = in_words(error, address)
        passes = error.errno in _PASSING
        raise SpawnError(f"cannot listen on {address}: {reason}", permanent=not passes) from None


def _open_unix(wanted: ListeningSocket, path: str, store: DescriptorStore) -> OpenSocket:
    owner = owner_of("owner", wanted.owner)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):  # those below /run have to be made after each boot
        make_directory(directory, 0o755, owners=owners())
    with trusted_place(path) as warnings:
        opened = _take_unix(wanted, path, owner, store) or _bind_unix(wanted, path, owner)
    opened.warnings = warnings
    return opened


def _take_unix(
    wanted: ListeningSocket, path: str, owner: Owner | None, store: DescriptorStore
) -> OpenSocket | None:
    file = _take_file(wanted, path, store)
    listening = _take(wanted, store, lambda kept: file is not None and _is_unix(kept, path))
    if listening is None or file is None:
        return None
    try:
        listening.listen(wanted.backlog)
        # The last daemon may have died before it had changed them. Without an owner the group is left
        # as it is: it can be that of the directory.
        is_ours = os.lstat(path).st_uid == os.geteuid()
        file.change(wanted.mode, owner or (_AS_IT_IS if is_ours else _ourselves()))
    except BaseException:
        forget(wanted.name, store)
        listening.close()
        raise
    return OpenSocket(wanted, listening, file, is_old=True)


def _bind_unix(wanted: ListeningSocket, path: str, owner: Owner | None) -> OpenSocket:
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
    return OpenSocket(wanted, listening, file)


def _take_file(wanted: ListeningSocket, path: str, store: DescriptorStore) -> SocketName | None:
    """Return the name of the kept socket, if it is still that of the same one."""
    held = store.take(_file(wanted.name))
    if held is None:
        # Elsewhere than on Linux it has to do that there is a socket where only we could have made it.
        return None if hasattr(os, "O_PATH") or not is_socket(path) else SocketName(path)
    file = SocketName(path, held)
    os.close(held)
    return file if file.is_there() else None


def _take(
    wanted: ListeningSocket, store: DescriptorStore, fits: Callable[[socket.socket], bool]
) -> socket.socket | None:
    """Return the kept socket if it is the one that is wanted; else let go of it.

    Programs could have done anything to it, also end its listening.
    """
    descriptor = store.take(_socket(wanted.name))
    if descriptor is None:
        return None
    listening = socket.socket(fileno=descriptor)
    if listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and fits(listening):
        return listening
    forget(wanted.name, store)
    listening.close()
    return None


def _is_unix(listening: socket.socket, path: str) -> bool:
    return listening.family == socket.AF_UNIX and listening.getsockname() == path


def _open_tcp(wanted: ListeningSocket, address: TcpAddress, store: DescriptorStore) -> OpenSocket:
    places = places_of(address)
    kept = _take(wanted, store, lambda kept: any(place.is_that_of(kept) for place in places))
    if kept is not None:
        kept.listen(wanted.backlog)
        return OpenSocket(wanted, kept, is_old=True)
    listening = bound(places)
    try:
        listening.listen(wanted.backlog)
    except OSError:
        listening.close()
        raise
    return OpenSocket(wanted, listening)


def _ourselves() -> Owner:
    return os.geteuid(), os.getegid()


def _somebody_is_there(path: str) -> SpawnError:
    return SpawnError(f"cannot listen on {path}: {TAKEN}", permanent=False)


def _socket(name: str) -> str:
    return SOCKET + name


def _file(name: str) -> str:
    return SOCKET + name + FILE
