"""The daemons that one client steers: open sessions side by side, and one question to all of them.

A session that was lost is opened again when somebody next asks for something. What goes wrong with
one daemon is that daemon's answer; the others' are not touched by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from supervisortw.core.model import Address
from supervisortw.errors import SupervisorError
from supervisortw.remote.connection import Session

Answer = TypeVar("Answer")
Connect = Callable[[Address], Awaitable[Session]]


class Hosts:
    """The daemons that are asked, in the order in which they were opened."""

    def __init__(self, connect: Connect, lost: Callable[[str], None]) -> None:
        self._connect = connect
        self._lost = lost
        self._sessions: dict[str, Session] = {}
        self._addresses: dict[str, Address] = {}

    @property
    def names(self) -> list[str]:
        """The daemons that are asked, whether they can be reached now or not."""
        return list(self._addresses)

    def add(self, address: Address) -> None:
        """Ask the daemon at ``address`` too, from the next question on."""
        self._addresses.setdefault(str(address), address)

    async def open(self, address: Address) -> Session:
        """Connect to one more daemon. Raises the reasons of `connect`, and then adds nothing."""
        session = await self._connected(str(address), address)
        self.add(address)
        return session

    async def session(self, name: str) -> Session:
        """Return the connection to a daemon that is asked. Raises the reasons of `connect`."""
        return await self._connected(name, self._addresses[name])

    def close(self, name: str) -> None:
        """Leave a daemon. Raises KeyError if it was not open."""
        del self._addresses[name]
        self.hang_up(name)

    def hang_up(self, name: str) -> None:
        """Close the connection to a daemon; it is opened again when somebody next asks for something."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """Leave all of them."""
        for name in self.names:
            self.close(name)

    async def each(
        self, ask: Callable[[Session], Coroutine[Deferred[Any], Any, Answer]]
    ) -> list[tuple[str, Answer | SupervisorError]]:
        """Ask every daemon at once; return its answer, or what went wrong, for each in their order."""
        asked = [ensureDeferred(self._ask(name, ask)) for name in self.names]
        return list(await gatherResults(asked, consumeErrors=True))

    async def _ask(
        self, name: str, ask: Callable[[Session], Coroutine[Deferred[Any], Any, Answer]]
    ) -> tuple[str, Answer | SupervisorError]:
        try:
            session = await self.session(name)
            return name, await ask(session)
        except SupervisorError as error:
            return name, error

    async def _connected(self, name: str, address: Address) -> Session:
        session = self._sessions.get(name)
        if session is None or session.lost:
            session = await self._connect(address)
            session.on_lost(lambda: self._lost(name))
            self._sessions[name] = session
        return session
