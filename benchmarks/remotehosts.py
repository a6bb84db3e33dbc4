"""Many hosts in one process: a port for each, with the daemon's end of control connections behind it.

Nothing is shared but the process: each has its realm, its certificate, and its own limits, as real
daemons would. Behind them there is no daemon, but one answer. Reads a JSON object from standard input,
and writes the ports to standard output as JSON; lives until it is killed.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet import reactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from supervisortw.auth.powmod import powmod
from supervisortw.core.fingerprint import digest_of
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.core.srp import BLIND_BITS, GROUP, SCRYPT, private_key, stretch
from supervisortw.core.status import DaemonStatus
from supervisortw.remote import tls
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory

SALT = bytes(16)


class Answering:
    """As much of a daemon as is asked for here."""

    async def status(self, names: Sequence[str]) -> DaemonStatus:
        """Tell that there is nothing."""
        return DaemonStatus(
            version="0",
            pid=os.getpid(),
            sockets=(),
            source="",
            uptime=0.0,
            shutting_down=False,
            notes=(),
            programs=(),
        )


@dataclass(frozen=True)
class OneUser:
    """The accounts of one host."""

    whole: Passwd

    def passwd(self) -> Passwd:
        """Return its password file."""
        return self.whole


class Late(ProtocolWrapper):
    """Hears everything after ``delay``, as if it was far away."""

    delay = 0.0

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self._waiting: deque[bytes] = deque()
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Keep it for a while."""
        self._waiting.append(data)
        reactor.callLater(self.delay, self._hand_on)

    def _hand_on(self) -> None:
        data = self._waiting.popleft()
        if not self.disconnecting and self.wrappedProtocol is not None:
            super().dataReceived(data)


def record(user: str, password: str, realm: bytes) -> Record:
    """Return a user as `supervisorctl passwd` would write them down, but for the salt."""
    key = private_key(stretch(password.encode(), user, SCRYPT, realm), SALT)
    return Record(
        user=user,
        role=Role.ADMIN,
        kdf=SCRYPT,
        realm=realm,
        salt=SALT,
        verifier=GROUP.verifier(key, powmod, secrets.randbits(BLIND_BITS)),
        changed="2026-11-28T00:00:00Z",
    )


def listen(accounts: OneUser, delay: float) -> int:
    """Listen for one host; return its port."""
    control: Any = Answering()
    portal = control_portal(lambda who: control, accounts=accounts)
    factory = ControlFactory(portal, reactor, accounts)
    certificate, key = tls.make("localhost")
    served: Any = tls.secured(factory.tls(digest_of(certificate)), certificate, key, reactor)
    if delay:
        served = WrappingFactory(served)
        served.protocol = type("Late", (Late,), {"delay": delay})
    port = reactor.listenTCP(0, served, interface="127.0.0.1", backlog=128)
    return int(port.getHost().port)


def main() -> None:
    """Listen for all of them."""
    given = json.load(sys.stdin)
    user = given["user"]
    realms = [number.to_bytes(16, "big") for number in range(given["realms"])]
    accounts = []
    for realm in realms:
        whole = Passwd(secret=bytes(32), realm=realm)
        accounts.append(OneUser(whole.put(record(user, given["password"], realm))))
    ports = [listen(accounts[n % len(accounts)], given["delay"]) for n in range(given["hosts"])]
    print(json.dumps(ports), flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
