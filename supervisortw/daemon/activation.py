"""Sockets that somebody else has opened for the daemon, as systemd does (sd_listen_fds(3)).

`supervisord` is given them, the holder passes them on to each daemon that it starts, without knowing
of them, and this finds them there. They belong to whoever has made them: nothing here binds, removes,
or changes the mode of one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, TcpAddress, UnixAddress
from supervisortw.daemon.tcpplace import places_of
from supervisortw.errors import LocalError

FIRST = 3
PID, NUMBER, NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
OURS_NUMBER, OURS_NAMES = "SUPERVISOR_ACTIVATED", "SUPERVISOR_ACTIVATED_NAMES"


def announced(environment: MutableMapping[str, str], pid: int) -> range:
    """Return the descriptors that are meant for this process, ``pid``; let the daemon know of them."""
    given_to, number, names = (environment.pop(name, "") for name in (PID, NUMBER, NAMES))
    for name in (OURS_NUMBER, OURS_NAMES):
        environment.pop(name, None)
    if given_to != str(pid) or not number.isdecimal():
        return range(0)
    count = min(int(number[:6]), LIMITS.activated_sockets)
    environment[OURS_NUMBER] = str(count)
    environment[OURS_NAMES] = names
    return range(FIRST, FIRST + count)


@dataclass(frozen=True, slots=True)
class GivenSocket:
    """One of them: a stream socket that listens, and its address."""

    listening: socket.socket
    address: Address

    def is_at(self, address: Address) -> bool:
        """True if a client of ``address`` reaches this one."""
        if isinstance(address, UnixAddress) or isinstance(self.address, UnixAddress):
            return address == self.address
        try:
            return any(place.is_that_of(self.listening) for place in places_of(address))
        except LocalError:  # the name of a host
            return False

    def duplicate(self) -> socket.socket:
        """Return one more descriptor of it, for one who closes what it uses."""
        return self.listening.dup()


class Activated:
    """All sockets that the daemon was given."""

    def __init__(self, sockets: Iterable[GivenSocket] = (), refusals: Iterable[str] = ()) -> None:
        self.sockets = tuple(sockets)
        self.refusals = tuple(refusals)

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> Activated:
        """Return what `announced` has let us know of. No child of ours gets any of them."""
        number = int(environment.pop(OURS_NUMBER, "0"))
        names = environment.pop(OURS_NAMES, "").split(":")
        sockets, refusals = [], []
        for at in range(number):
            descriptor = FIRST + at
            try:
                os.set_inheritable(descriptor, False)
                sockets.append(_given(descriptor))
            except (LocalError, OSError) as error:
                called = f" ({names[at]})" if at < len(names) and names[at] else ""
                reason = error.strerror if isinstance(error, OSError) else error
                refusals.append(f"not listening on descriptor {descriptor}{called}: {reason}")
        return cls(sockets, refusals)

    def at(self, address: Address) -> GivenSocket | None:
        """Return the socket that a client of ``address`` reaches, if there is one."""
        return next((each for each in self.sockets if each.is_at(address)), None)


def _given(descriptor: int) -> GivenSocket:
    listening = socket.socket(fileno=descriptor)
    try:
        return GivenSocket(listening, _address_of(listening))
    except BaseException:
        listening.close()
        raise


def _address_of(listening: socket.socket) -> Address:
    is_stream = listening.type == socket.SOCK_STREAM
    if not is_stream or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise LocalError("it is no stream socket that listens")
    name = listening.getsockname()
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        return TcpAddress(host=name[0], port=name[1])
    if listening.family != socket.AF_UNIX:
        raise LocalError("it is neither a UNIX socket nor one of TCP")
    if not isinstance(name, str) or not name.startswith("/"):
        raise LocalError("a UNIX socket without a file can be connected to by everybody")
    return UnixAddress(path=name)
