"""What a command works at: the daemons it asks, and the terminal it answers to."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from supervisortw.client.exitcodes import ExitCode, code_of
from supervisortw.client.hosts import Connect, Hosts
from supervisortw.client.passwords import Ask
from supervisortw.client.render import outcome_line
from supervisortw.core.model import Address
from supervisortw.core.status import Outcome, Result
from supervisortw.core.text import printable
from supervisortw.errors import Refused, SupervisorError
from supervisortw.interfaces import Clock
from supervisortw.remote.connection import Session

Answer = TypeVar("Answer")

LOST = "the connection to supervisord was lost"


async def _yes(question: str) -> bool:
    return True


def _nothing(address: Address) -> None:
    pass


class Desk:
    """Where commands are carried out; one for the life of a client."""

    def __init__(
        self, connect: Connect, parse_address: Callable[[str], Address], clock: Clock
    ) -> None:
        self.hosts = Hosts(connect, self.lost)
        self.followed: set[str] = set()  # hosts; whoever follows them tells of losses himself
        self.parse_address = parse_address
        self.confirm: Callable[[str], Awaitable[bool]] = _yes
        self.ask: Ask | None = None  # if somebody is there to be asked
        self.begin_anew: Callable[[Address], None] = _nothing
        self.notice: Callable[[str], None] = self.complain
        self._clock = clock

    def lost(self, host: str) -> None:
        """Tell that the connection to a daemon has ended by itself."""
        if host not in self.followed:
            self.notice(f"{host}: {LOST}")

    def pause(self, seconds: float) -> Deferred[None]:
        """Return what fires after so many seconds, and can be cancelled."""
        pause: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, pause.callback, None)
        return pause

    def mark(self, host: str) -> str:
        """Return what stands in front of each line of ``host``: nothing while it is the only one."""
        return f"{printable(host)} | " if len(self.hosts.names) > 1 else ""

    def say(self, lines: Iterable[str], host: str = "") -> None:
        """Print lines, marked with the host they came from."""
        mark = self.mark(host) if host else ""
        self.write("".join(f"{mark}{line}".rstrip() + "\n" for line in lines))

    def write(self, text: str) -> None:
        """Print text as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def leave_echo(self) -> None:
        """Go to a new line, away from the ^C that a terminal shows."""
        if sys.stdout.isatty():
            self.write("\n")

    def complain(self, text: str) -> None:
        """Print what went wrong."""
        sys.stdout.flush()
        sys.stderr.write("".join(f"{line}\n" for line in printable(text).splitlines()))
        sys.stderr.flush()

    def complain_of(self, error: SupervisorError, host: str) -> ExitCode:
        """Print what went wrong with a daemon; return the exit code that it stands for."""
        mark = self.mark(host) if isinstance(error, Refused) else ""  # others name the daemon
        self.complain(f"{mark}{error}")
        return code_of(error)

    async def each(
        self, ask: Callable[[Session], Coroutine[Deferred[Any], Any, Answer]]
    ) -> tuple[list[tuple[str, Answer]], ExitCode]:
        """Ask every daemon; return hosts and answers, and the worst code of the errors, now printed."""
        answers, worst = await self.every(ask)
        return [
            (host, answer) for host, answer in answers if not isinstance(answer, SupervisorError)
        ], worst

    async def every(
        self, ask: Callable[[Session], Coroutine[Deferred[Any], Any, Answer]]
    ) -> tuple[list[tuple[str, Answer | SupervisorError]], ExitCode]:
        """Ask every daemon; return also those that failed, with the reason, which is printed now."""
        if not self.hosts.names:
            self.complain("no daemon is open; 'open ADDRESS' connects to one")
            return [], ExitCode.UNREACHABLE
        answers = await self.hosts.each(ask)
        worst = ExitCode.OK
        for host, answer in answers:
            if isinstance(answer, SupervisorError):
                worst = max(worst, self.complain_of(answer, host))
        return answers, worst

    async def steer(
        self, ask: Callable[[Session], Coroutine[Deferred[Any], Any, list[Outcome]]]
    ) -> ExitCode:
        """Ask every daemon for something to be done, and print what came of it."""
        answers, worst = await self.each(ask)
        return max(worst, self.tell(answers))

    def tell(self, answers: Sequence[tuple[str, list[Outcome]]]) -> ExitCode:
        """Print what came of a request. A name counts as unknown only if no daemon knows it."""
        strange = [
            {each.name for each in outcomes if each.result is Result.UNKNOWN}
            for _, outcomes in answers
        ]
        unknown = set.intersection(*strange) if strange else set()
        worst = ExitCode.OK
        for host, outcomes in answers:
            for outcome in outcomes:
                if outcome.good:
                    self.say([outcome_line(outcome)], host)
                elif outcome.result is not Result.UNKNOWN or outcome.name in unknown:
                    self.complain(self.mark(host) + outcome_line(outcome))
                    worst = ExitCode.SOME_FAILED
        return worst
