"""Logs that are followed until Ctrl-C, whatever becomes of the connection and of the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import Deferred

from supervisortw.client.desk import LOST, Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.shownlog import ShownLog
from supervisortw.core.limits import LIMITS
from supervisortw.errors import Refused, SupervisorError, TimedOut, Unreachable
from supervisortw.remote.connection import Session


class Following:
    """The logs of one daemon that are followed.

    A lost connection is opened again, as often as it takes, and each log goes on where it was. ``worst``
    is the exit code of those that the daemon refused.
    """

    def __init__(self, desk: Desk, host: str, logs: Sequence[ShownLog]) -> None:
        self.worst = ExitCode.OK
        self._desk = desk
        self._host = host
        self._logs = list(logs)
        self._woken: Deferred[None] = Deferred()
        self._trouble: OSError | None = None
        self._is_lost = False
        self._pause = LIMITS.reconnect_seconds
        for log in logs:
            log.trouble = self._troubled
            log.refused = partial(self._over, log)

    async def run(self) -> None:
        """Show what comes, until nothing is left to be followed. Raises OSError of the screen."""
        self._desk.followed.add(self._host)
        try:
            while self._logs:
                await self._go_on()
        except SupervisorError as error:
            self.worst = max(self.worst, self._desk.complain_of(error, self._host))
        finally:
            self._desk.followed.discard(self._host)
            for log in self._logs:
                log.stop()

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
        if not self._logs:
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
            if self._logs:
                await self._woken
        finally:
            forget()

    async def _begin(self, session: Session) -> None:
        try:
            for log in list(self._logs):
                try:
                    await log.go_on(session)
                except Refused as error:
                    self._over(log, error)
        except Exception:
            # What the daemon may just have begun to push, nobody could end.
            self._desk.hosts.hang_up(self._host)
            raise

    def _over(self, log: ShownLog, error: Refused) -> None:
        """The daemon has no such log, or not any more."""
        if log in self._logs:
            self._logs.remove(log)
            log.stop()
            self.worst = max(self.worst, self._desk.complain_of(error, self._host))
        if not self._logs:
            self._wake()

    def _troubled(self, error: OSError) -> None:
        self._trouble = error
        self._wake()

    def _wake(self) -> None:
        if not self._woken.called:
            self._woken.callback(None)
