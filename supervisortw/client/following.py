"""What is followed until Ctrl-C, whatever becomes of the connection and of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    ensureDeferred,
    gatherResults,
)

from supervisortw.client.desk import LOST, Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.limits import LIMITS
from supervisortw.errors import Refused, SupervisorError, TimedOut, Unreachable
from supervisortw.remote.connection import Session

Answer = TypeVar("Answer")


class Followed(Protocol):
    """Something of a daemon that is followed.

    ``refused`` is called when the daemon has no such thing any more, and ``trouble`` when the screen
    takes nothing more.
    """

    refused: Callable[[Refused], None]
    trouble: Callable[[OSError], None]

    async def go_on(self, session: Session) -> None:
        """Show what comes from now on, after what was shown until now. Raises Refused."""

    def stop(self) -> None:
        """Show nothing more."""


class Following:
    """What of one daemon is followed.

    A lost connection is opened again, as often as it takes, and everything goes on where it was.
    ``worst`` is the exit code of what the daemon refused.
    """

    def __init__(self, desk: Desk, host: str, followed: Sequence[Followed]) -> None:
        self.worst = ExitCode.OK
        self._desk = desk
        self._host = host
        self._followed = list(followed)
        self._woken: Deferred[None] = Deferred()
        self._trouble: OSError | None = None
        self._is_lost = False
        self._pause = LIMITS.reconnect_seconds
        for each in followed:
            each.trouble = self._troubled
            each.refused = partial(self._over, each)

    async def run(self) -> None:
        """Show what comes, until nothing is left to be followed. Raises OSError of the screen."""
        self._desk.followed.add(self._host)
        try:
            while self._followed:
                await self._go_on()
        except SupervisorError as error:
            self.worst = max(self.worst, self._desk.complain_of(error, self._host))
        finally:
            self._desk.followed.discard(self._host)
            for each in self._followed:
                each.stop()

    async def _go_on(self) -> None:
        """Follow over one connection, and pause after its end."""
        try:
            session = await self._desk.hosts.session(self._host)
            if self._is_lost:
                self._is_lost = False
                self._desk.complain(f"{self._host}: connected again")
            await self._until_lost(session)
        except (Unreachable, TimedOut):
            pass
        if self._trouble is not None:
            raise self._trouble
        if not self._followed:
            return
        if not self._is_lost:
            self._is_lost = True
            self._desk.complain(f"{self._host}: {LOST}; trying again")
        pause, self._pause = self._pause, min(2 * self._pause, LIMITS.reconnect_seconds_most)
        await self._desk.pause(pause)

    async def _until_lost(self, session: Session) -> None:
        """Show what comes, until the connection is lost or nothing is left."""
        self._woken = Deferred()
        forget = session.on_lost(self._wake)
        try:
            await self._begin(session)
            self._pause = LIMITS.reconnect_seconds
            if self._followed:
                await self._woken
        finally:
            forget()

    async def _begin(self, session: Session) -> None:
        try:
            for each in list(self._followed):
                try:
                    await each.go_on(session)
                except Refused as error:
                    self._over(each, error)
        except Exception:
            # What the daemon may just have begun to push, nobody could end.
            self._desk.hosts.hang_up(self._host)
            raise

    def _over(self, followed: Followed, error: Refused) -> None:
        """The daemon has no such thing, or not any more."""
        if followed in self._followed:
            self._followed.remove(followed)
            followed.stop()
            self.worst = max(self.worst, self._desk.complain_of(error, self._host))
        if not self._followed:
            self._wake()

    def _troubled(self, error: OSError) -> None:
        self._trouble = error
        self._wake()

    def _wake(self) -> None:
        if not self._woken.called:
            self._woken.callback(None)


async def all_followed(desk: Desk, followings: Sequence[Following]) -> ExitCode:
    """Follow until Ctrl-C, or until nothing is left; return the worst exit code."""
    try:
        await side_by_side([each.run() for each in followings])
    except CancelledError:  # Ctrl-C
        desk.leave_echo()
    return max([ExitCode.OK, *(each.worst for each in followings)])


async def side_by_side(waits: Sequence[Coroutine[Deferred[Any], Any, Answer]]) -> list[Answer]:
    """Wait for all of them; what goes wrong with one, or Ctrl-C, ends them all."""
    waiting = [ensureDeferred(wait) for wait in waits]
    try:
        return list(await gatherResults(waiting, consumeErrors=True))
    except FirstError as error:
        for each in waiting:
            each.cancel()
        error.subFailure.raiseException()
