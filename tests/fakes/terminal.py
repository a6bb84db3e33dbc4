"""A Desk with pretended daemons: commands go in, what was printed and the exit code come out."""

from __future__ import annotations

from collections.abc import Sequence

from fakes.asking import Asked
from fakes.control import FakeControl
from fakes.passing import pass_time
from fakes.session import FakeNetwork, FakeSession
from twisted.internet.task import Clock

from supervisortw.client.commands import run
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.config.typed import parse_address


class FakeDesk(Desk):
    """A Desk that keeps what it would print."""

    def __init__(self, network: FakeNetwork) -> None:
        super().__init__(network.connect, parse_address, network.clock)  # type: ignore[arg-type]
        self.out = ""
        self.err = ""
        self.notice = self.complain
        self.broken = False

    def write(self, text: str) -> None:
        if self.broken:
            raise BrokenPipeError
        self.out += text

    def complain(self, text: str) -> None:
        self.err += f"{text}\n"

    def printed(self) -> list[str]:
        """Return the lines that were printed, and forget them."""
        lines, self.out = self.out.splitlines(), ""
        return lines

    def complaints(self) -> list[str]:
        """Return what was complained about, and forget it."""
        lines, self.err = self.err.splitlines(), ""
        return lines


class Terminal:
    """One person at a terminal, in front of the daemons at ``paths``."""

    def __init__(self, *paths: str, names: Sequence[str] = ("web", "api", "db")) -> None:
        self.clock = Clock()
        self.network = FakeNetwork(self.clock)
        self.desk = FakeDesk(self.network)
        for path in paths or ("/run/a",):
            self.network.add(path, *names)
            self.desk.hosts.add(parse_address(path))

    def daemon(self, path: str = "/run/a") -> FakeControl:
        return self.network.daemons[path]

    def session(self, path: str = "/run/a") -> FakeSession:
        return self.network.sessions[path]

    def begin(self, line: str) -> Asked[ExitCode]:
        """Type a command whose end is not waited for."""
        return Asked(run(self.desk, line.split()))

    def run(self, line: str) -> ExitCode:
        """Type a command, and wait for its end."""
        asked = self.begin(line)
        if not asked.done:
            self.pass_time(10)
        return asked.answer

    def pass_time(self, seconds: float) -> None:
        pass_time(self.clock, seconds)
