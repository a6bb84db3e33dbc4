"""What is behind TCP ports, without gates and TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from supervisortw.daemon.activation import Activated
from supervisortw.daemon.listeners import Listeners
from supervisortw.daemon.tcpcontrol import TcpControl, Tls
from supervisortw.errors import LocalError

PEM = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"


@implementer(IProtocolFactory)
class Gates(Factory):
    """Gates of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class FakeTcp:
    """Channels and Tls that say what they were asked for."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.users = True
        self.loaded = 0
        self.made = 0
        self.trouble: LocalError | None = None
        self.control = TcpControl(self, self.load, lambda: self.users, self.in_thread, reactor)

    def listeners(self, activated: Activated | None = None) -> Listeners:
        return Listeners(self, self.control, lambda probe: 77, self.reactor, activated)

    def load(self) -> Tls:
        self.loaded += 1
        return self

    def in_thread(self, function: Callable[[], Tls]) -> Deferred[Tls]:
        return succeed(function())

    # Channels.

    def unix(self) -> IProtocolFactory:
        return Gates("unix")

    def tls(self, certificate_sha256: bytes) -> IProtocolFactory:
        return Gates(f"tls {certificate_sha256.hex()[:8]}")

    def plain(self) -> IProtocolFactory:
        return Gates("plain")

    def anonymous(self) -> IProtocolFactory:
        return Gates("anonymous")

    # Tls.

    def make(self, host: str) -> tuple[bytes, bytes]:
        self.made += 1
        return PEM % b"bWFkZQ==", b"a key"

    def secured(
        self, factory: IProtocolFactory, certificates: bytes, key: bytes, clock: Any
    ) -> IProtocolFactory:
        if self.trouble is not None:
            raise self.trouble
        assert isinstance(factory, Gates)
        return Gates(f"secured {factory.kind}")
