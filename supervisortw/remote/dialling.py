"""The way to a daemon: a connection to its socket or its port, with or without TLS, and the gate.

Whatever is needed for TCP and TLS alone is imported when it is needed: it would cost each command on
this machine a tenth of a second.
"""

# The broker underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Any

from twisted.internet import error as internet
from twisted.internet.protocol import ClientFactory, Factory
from twisted.python.failure import Failure

from supervisortw.auth.users import user_name
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, TcpAddress, UnixAddress
from supervisortw.errors import Denied, PasswordWanted, SupervisorError, TimedOut, Unreachable
from supervisortw.remote.clientchannels import (
    Channel,
    PlainChannel,
    TlsChannel,
    UnixChannel,
)
from supervisortw.remote.clientgate import ClientGate
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.login import WANTED, Login, by_peer

LOCALHOST = "localhost"  # where one connects to if an address names a port only
_NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a daemon is reached, and how one is let in; without a ``login``, as the kernel says.

    The rest is for TCP. ``plain`` is without TLS. With a ``certificate`` (its SHA-256), only that one is
    good; else with ``authorities`` (PEM), only one that they have signed for ``name``, by default the
    host of the address; else any, and the login has to prove whose it is. ``advice`` is told to somebody
    whose daemon has shown another one.
    """

    login: Login | None = None
    plain: bool = False
    certificate: bytes | None = None
    authorities: bytes | None = None
    name: str | None = None
    advice: str = ""


async def dial(reactor: Any, address: Address, way: Way) -> LimitedBroker:
    """Return a broker on which calls can be made. Raises AuthError, Unreachable and TimedOut."""
    if isinstance(address, UnixAddress):
        path = address.path
        channel = UnixChannel(path, lambda: trusted_uids(path))
        gate = _gate(reactor, channel, way.login or by_peer)
        reactor.connectUNIX(path, _Dialling(gate, path), timeout=int(LIMITS.answer_seconds))
        return await gate.opened
    if way.login is None:
        raise PasswordWanted(f"{address}: {WANTED}")
    return await _dial_tcp(reactor, address, way, way.login)


def _gate(reactor: Any, channel: Channel, login: Login) -> ClientGate:
    return ClientGate(
        clock=reactor,
        broker=lambda: LimitedBroker(1, clock=reactor, who=channel.where),
        channel=channel,
        login=login,
    )


class _Dialling(ClientFactory):
    """Connects ``gate``. Twisted's endpoints do it too, and cost each command time to import them."""

    noisy = False

    def __init__(self, gate: ClientGate, path: str) -> None:
        self._gate = gate
        self._path = path

    def buildProtocol(self, address: Any) -> ClientGate:
        return self._gate

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        error = reason.value
        assert isinstance(error, internet.ConnectError), "the reactor promises one"
        self._gate.not_connected(_why_not(error, self._path))


def _why_not(error: internet.ConnectError, path: str) -> Unreachable | Denied:
    """Tell why there is no connection to the socket ``path``, and what to do."""
    if isinstance(error.osError, int) and error.osError in _NO_PERMISSION:
        return Denied(f"{path}: {_whose(path)}: use sudo")
    if not os.path.exists(path):
        return Unreachable(f"{path}: no such socket; is supervisord running?")
    return Unreachable(f"{path}: nobody listens there; supervisord is not running")


def _whose(path: str) -> str:
    """Say to whom the daemon at ``path`` belongs, as far as one may look."""
    for place in (path, os.path.dirname(path)):
        try:
            return f"that daemon belongs to {user_name(os.stat(place).st_uid)}"
        except OSError:
            continue
    return "that daemon belongs to another user"


def trusted_uids(path: str) -> frozenset[int]:
    """Return whose daemon at the socket ``path`` is believed: root's, ours, and the owner's.

    The owner counts if both the socket and its directory are theirs, so that nobody can put a socket
    into the directory of somebody else and be believed.
    """
    trusted = {0, os.geteuid()}
    try:
        owners = {os.lstat(path).st_uid, os.stat(os.path.dirname(path)).st_uid}
    except OSError:
        return frozenset(trusted)
    return frozenset(trusted | owners if len(owners) == 1 else trusted)


# Over TCP.


async def _dial_tcp(reactor: Any, address: TcpAddress, way: Way, login: Login) -> LimitedBroker:
    from twisted.internet.endpoints import (  # noqa: PLC0415  # see the top
        HostnameEndpoint,
        wrapClientTLS,
    )

    where = str(address)
    host = address.host or LOCALHOST
    endpoint: Any = HostnameEndpoint(reactor, host, address.port, LIMITS.answer_seconds)
    channel: Channel = PlainChannel(where)
    if not way.plain:
        from supervisortw.remote import tls  # noqa: PLC0415  # see the top

        connections = _connections(way, way.name or host)
        channel = TlsChannel(
            where,
            connections=connections,
            binding_of=tls.client_binding,
            advice=way.advice,
        )
        endpoint = wrapClientTLS(connections, endpoint)
    gate = _gate(reactor, channel, login)
    connecting = endpoint.connect(_Once(gate))
    connecting.addErrback(lambda failure: gate.not_connected(_why_not_there(failure, where)))
    try:
        return await gate.opened
    finally:
        connecting.cancel()


def _connections(way: Way, name: str) -> Any:
    """Return what makes the TLS of the connection. Raises LocalError for unusable authorities."""
    from supervisortw.remote import tls  # noqa: PLC0415  # see the top

    if way.certificate is not None:
        return tls.pinned(way.certificate)
    if way.authorities is not None:
        return tls.vouched_for(name, way.authorities)
    return tls.proven_later()


class _Once(Factory):
    """Gives ``gate`` to the first of several attempts that succeeds."""

    noisy = False

    def __init__(self, gate: ClientGate) -> None:
        self._gates = [gate]

    def buildProtocol(self, address: Any) -> ClientGate | None:
        return self._gates.pop() if self._gates else None


def _why_not_there(failure: Failure, where: str) -> SupervisorError:
    """Tell why there is no connection to a port."""
    if failure.check(internet.DNSLookupError):
        return Unreachable(f"{where}: there is no host of that name")
    if failure.check(internet.TimeoutError, internet.TCPTimedOutError):
        return TimedOut(f"{where}: no connection in {LIMITS.answer_seconds:g} seconds")
    if failure.check(internet.ConnectionRefusedError):
        return Unreachable(f"{where}: nobody listens there; is supervisord running?")
    if failure.check(internet.NoRouteError):
        return Unreachable(f"{where}: there is no way to that host")
    return Unreachable(f"{where}: cannot connect: {failure.getErrorMessage()}")
