"""What a TCP socket is bound to: an address of this machine, or all of them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from supervisortw.core.model import TcpAddress, UnixAddress
from supervisortw.errors import LocalError

TAKEN = "somebody listens there already (lsof or ss tells who)"
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Place:
    """What a TCP socket can be bound to."""

    host: str
    port: int
    with_ipv4: bool = False

    @property
    def family(self) -> socket.AddressFamily:
        """Which version of IP the address is of."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def bind(self) -> socket.socket:
        """Return a socket that is bound here. Raises OSError."""
        listening = socket.socket(self.family)
        with contextlib.ExitStack() as undo:
            undo.callback(listening.close)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self.with_ipv4)
            listening.bind((self.host, self.port))
            undo.pop_all()
        return listening

    def is_that_of(self, listening: socket.socket) -> bool:
        """True if ``listening`` is bound here, and to nothing else."""
        if listening.family != self.family:
            return False
        host, port = listening.getsockname()[:2]
        if (ipaddress.ip_address(host), port) != (ipaddress.ip_address(self.host), self.port):
            return False
        if self.family == socket.AF_INET:
            return True
        return bool(listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) != self.with_ipv4


def places_of(address: TcpAddress) -> list[Place]:
    """Return where a socket for ``address`` is bound: at the first of these that there is.

    Raises LocalError for the name of a host.
    """
    if not address.host:
        every = "0.0.0.0"  # noqa: S104  # as it says
        return [Place("::", address.port, with_ipv4=True), Place(every, address.port)]
    host = "127.0.0.1" if address.host == "localhost" else address.host
    try:
        ipaddress.ip_address(host)
    except ValueError:  # to look a name up can take long, and give anything
        raise LocalError("give the address of the interface, not a name") from None
    return [Place(host, address.port)]


def bound(places: Sequence[Place]) -> socket.socket:
    """Return a socket that is bound at the first of ``places`` that there is. Raises OSError."""
    *first, last = places
    for place in first:
        try:
            return place.bind()
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return last.bind()


def in_words(error: OSError, address: UnixAddress | TcpAddress) -> str:
    """Return for people why nothing listens at ``address``."""
    if error.errno == errno.EADDRINUSE:
        return TAKEN
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has this address"
    if error.errno == errno.EACCES and isinstance(address, TcpAddress) and address.port < 1024:
        return "only root can listen on ports below 1024"
    return (error.strerror or str(error)).lower()
