"""Control ports of TCP: what is decided about each, and what is spoken there.

The parts that speak, the gate and TLS, are `Channels` and `Tls`; they are given, not known here.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from supervisortw.core.listening import Verdict, judge
from supervisortw.core.model import Address, Settings, TcpAddress
from supervisortw.daemon.certificates import Pair, pair_of, read_pair
from supervisortw.daemon.controlport import ControlPort
from supervisortw.errors import LocalError

log = Logger(namespace="supervisor")


class Channels(Protocol):
    """Makes gates for clients, by how they come in."""

    def unix(self) -> IProtocolFactory:
        """Return the factory for a UNIX socket."""

    def tls(self, certificate_sha256: bytes) -> IProtocolFactory:
        """Return the factory for what comes out of TLS with this certificate of ours."""

    def plain(self) -> IProtocolFactory:
        """Return the factory for TCP without TLS; passwords are asked for."""

    def anonymous(self) -> IProtocolFactory:
        """Return the factory that lets everybody in."""


class Tls(Protocol):
    """What `supervisortw.remote.tls` does for a daemon."""

    def make(self, host: str) -> tuple[bytes, bytes]:
        """Return a new certificate and its key, both as PEM."""

    def secured(
        self, factory: IProtocolFactory, certificates: bytes, key: bytes, clock: Any
    ) -> IProtocolFactory:
        """Return a factory that speaks TLS, with that of ``factory`` inside."""


class TcpControl:
    """Opens control ports. ``has_users`` tells whether anybody can log in by password.

    ``load_tls`` imports what TLS takes, or raises LocalError; it needs some time and memory, so it is
    called when the first port wants it.
    """

    def __init__(
        self,
        channels: Channels,
        load_tls: Callable[[], Tls],
        has_users: Callable[[], bool],
        in_thread: Callable[[Callable[[], Tls]], Awaitable[object]],
        reactor: Any,
    ) -> None:
        self._channels = channels
        self._load_tls = load_tls
        self._has_users = has_users
        self._in_thread = in_thread
        self._reactor = reactor

    def basis(self, wanted: Sequence[Address], settings: Settings) -> object:
        """Return all that decides how ports are listened on: they are opened anew if it differs."""
        if not _have_ports(wanted):
            return None
        pair: object = None
        if settings.tls:
            try:
                found = read_pair(settings)
                pair = hashlib.sha256(found.certificate + found.key).digest()
            except LocalError as error:
                pair = str(error)
        keys = (settings.insecure_plaintext, settings.insecure_anonymous, settings.insecure_remote)
        passwords = settings.passwdfile is not None, self._has_users()
        return settings.tls, *passwords, *keys, pair

    async def prepare(self, wanted: Sequence[Address], settings: Settings) -> None:
        """Import what `open` will need, without holding others up."""
        if settings.tls and _have_ports(wanted):
            with contextlib.suppress(LocalError):  # then `open` says so
                await self._in_thread(self._load_tls)

    def open(self, address: TcpAddress, bound: socket.socket, settings: Settings) -> ControlPort:
        """Listen on ``bound``, which is closed if that is refused. Raises LocalError."""
        try:
            verdict = judge(bound.getsockname()[0], settings, passwords=self._has_users())
            if not verdict.allowed:
                raise LocalError(verdict.why)
            factory, spoken = self._spoken(verdict, settings)
        except BaseException:
            bound.close()
            raise
        warnings = (f"{address} is {verdict.why}",) if verdict.why else ()
        port = ControlPort(address, bound, spoken, warnings)
        port.start(factory, self._reactor)
        return port

    def _spoken(self, verdict: Verdict, settings: Settings) -> tuple[IProtocolFactory, str]:
        """Return what is spoken at a port, and how people are told."""
        channels = self._channels
        if not verdict.tls:
            return channels.anonymous() if verdict.anonymous else channels.plain(), "no TLS"
        tls = self._load_tls()
        pair = pair_of(settings, tls.make)
        if pair.is_new:
            log.info("made a certificate for TLS, {fingerprint}", fingerprint=pair.fingerprint)
        inside = channels.anonymous() if verdict.anonymous else channels.tls(pair.digest)
        return self._secured(tls, inside, pair, settings), f"TLS, {pair.fingerprint}"

    def _secured(
        self, tls: Tls, inside: IProtocolFactory, pair: Pair, settings: Settings
    ) -> IProtocolFactory:
        try:
            return tls.secured(inside, pair.certificate, pair.key, self._reactor)
        except LocalError as error:
            files = "its own certificate"
            if settings.tls_certificate is not None:
                files = f"{settings.tls_certificate} with {settings.tls_key}"
            raise LocalError(f"{files}: {error}") from None


def _have_ports(wanted: Sequence[Address]) -> bool:
    return any(isinstance(address, TcpAddress) for address in wanted)
