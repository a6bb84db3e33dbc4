"""A daemon's end of control connections alone: a socket and a port, and one user with a password.

Run as a program with a directory; writes the port to ``port`` there, and listens at ``sock``, too. It
lives until its standard input ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import MappingProxyType

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.control import FakeControl
from fakes.passwordserver import KDF, REALM, SALT, USER, verifier
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from supervisortw.core.fingerprint import digest_of
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.remote import tls
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

ALICE = Record(
    user=USER,
    role=Role.ADMIN,
    kdf=KDF,
    realm=REALM,
    salt=SALT,
    verifier=verifier(),
    changed="2026-11-22T07:00:00Z",
)


class OneUser:
    """The accounts of a daemon that knows alice."""

    def passwd(self) -> Passwd:
        records = MappingProxyType({USER: ALICE})
        return Passwd(secret=b"s" * 32, realm=REALM, kdf=KDF, records=records)


class UntilTheEnd(Protocol):
    """Ends everything with standard input."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        os._exit(0)


def main(directory: Path) -> None:
    from twisted.internet import reactor

    control = FakeControl(reactor, ["web"])
    accounts = OneUser()
    portal = control_portal(lambda who: control, accounts=accounts)
    factory = ControlFactory(portal, reactor, accounts, peer_login=False)
    reactor.listenUNIX(str(directory / "sock"), factory.unix(), mode=0o600)
    certificate, key = tls.make("here.example")
    secured = tls.secured(factory.tls(digest_of(certificate)), certificate, key, reactor)
    port = reactor.listenTCP(0, secured, interface="127.0.0.1")
    StandardIO(UntilTheEnd())
    (directory / "port.new").write_text(str(port.getHost().port))
    (directory / "port.new").rename(directory / "port")
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
