"""What a program does that uses our client: logs in again and again, or asks as fast as it is answered.

Reads a JSON object from standard input, which says what, where and how often, and writes another to
standard output, with the processor time that the daemon took meanwhile.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from processes import wakeups_and_nanoseconds
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from supervisortw.config.typed import parse_address
from supervisortw.core.srp import Kdf
from supervisortw.remote import tls
from supervisortw.remote.connection import Session, connect
from supervisortw.remote.dialling import Way
from supervisortw.remote.passwordlogin import PasswordLogin

# One login in so many seconds: the daemon takes 10 a second, and is to be idle in between.
PACE_SECONDS = 0.15
WARM_UP = 3


def main() -> None:
    """Do it, and tell."""
    given = json.load(sys.stdin)
    found: list[dict[str, Any]] = []

    async def everything() -> None:
        try:
            found.append(await WHAT[given.pop("what")](**given))
        finally:
            reactor.stop()

    def begin() -> None:
        doing = Deferred.fromCoroutine(everything())
        doing.addErrback(lambda failure: failure.printTraceback(sys.stderr))

    reactor.callWhenRunning(begin)
    reactor.run()
    if not found:
        sys.exit(1)
    print(json.dumps(found[0]))


# One after the other: how much processor time the daemon takes for each.


async def logins(number: int, **given: Any) -> dict[str, Any]:
    """Log in, and out again; the password is stretched already."""

    async def once() -> None:
        session = await _log_in(**given)
        session.close()

    return await _each(once, number, given["pid"])


async def handshakes(number: int, address: str, pid: int, **_: Any) -> dict[str, Any]:
    """Do the same, but without saying a word after the handshake of TLS."""
    host, _, port = address.rpartition(":")

    async def once() -> None:
        endpoint = wrapClientTLS(tls.proven_later(), HostnameEndpoint(reactor, host, int(port)))
        silent = await connectProtocol(endpoint, Silent())
        await silent.ended

    return await _each(once, number, pid)


@implementer(IHandshakeListener)
class Silent(Protocol):
    """Closes the connection as soon as it could be used."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        """Close it."""
        self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        """Tell that it is gone."""
        self.ended.callback(None)


async def _each(once: Callable[[], Awaitable[None]], number: int, pid: int) -> dict[str, Any]:
    daemon, own = [], []
    for _ in range(WARM_UP + number):
        await deferLater(reactor, PACE_SECONDS)
        before, began = _taken(pid), time.process_time()
        await once()
        await deferLater(reactor, PACE_SECONDS)  # the daemon has seen the end of it by then
        daemon.append((_taken(pid) - before) * 1000)
        own.append((time.process_time() - began) * 1000)
    return {"daemon": daemon[WARM_UP:], "client": own[WARM_UP:]}


# As fast as it goes.


async def calls(
    number: int, at_once: int, repeats: int, pid: int, address: str, **given: Any
) -> dict[str, Any]:
    """Ask for the status of all programs, with so many calls on their way at a time."""
    session = await _log_in(address=address, pid=pid, **given)
    rates, daemon, client = [], [], []
    await _ask(session, number // 4, at_once)
    for _ in range(repeats):
        before, began, since = _taken(pid), time.process_time(), time.monotonic()
        await _ask(session, number, at_once)
        rates.append(number / (time.monotonic() - since))
        client.append((time.process_time() - began) / number * 1000)
        daemon.append((_taken(pid) - before) / number * 1000)
        # It may have saved up calls: 2,000 a second are allowed.
        await deferLater(reactor, 1.0)
    session.close()
    return {"rate": rates, "daemon": daemon, "client": client}


async def _ask(session: Session, number: int, at_once: int) -> None:
    left = [None] * number

    async def one_after_the_other() -> None:
        while left:
            left.pop()
            await session.status([])

    running = [Deferred.fromCoroutine(one_after_the_other()) for _ in range(at_once)]
    await gatherResults(running)


async def _log_in(*, address: str, user: str, stretched: str, **_: Any) -> Session:
    if not user:
        return await connect(reactor, parse_address(address))

    async def known(kdf: Kdf, realm: bytes) -> bytes:
        return bytes.fromhex(stretched)

    login = PasswordLogin(user, known)
    return await connect(reactor, parse_address(address), Way(login=login))


def _taken(pid: int) -> float:
    """Return how many seconds a process has been on a processor."""
    return wakeups_and_nanoseconds([pid])[1] / 1e9


WHAT: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "logins": logins,
    "handshakes": handshakes,
    "calls": calls,
}

if __name__ == "__main__":
    main()
