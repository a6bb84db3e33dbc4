"""A supervisorctl that stays, for tests that ask a lot: it takes lines from a pipe."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from functional_processes import PATIENCE

# Needs no daemon, fails never, and always says the same.
MARK = ["help", "quit"]


class Shell:
    """One client; its session is opened again by the next command if it was lost."""

    def __init__(
        self, client: subprocess.Popen[bytes], complaints: Path, socket: Path, program: str
    ) -> None:
        self.socket = socket
        self._client = client
        self._complaints = complaints
        self._complained = 0  # characters that were looked at
        self._mark = _what_the_mark_says(program)

    def ask(self, words: Sequence[str]) -> str:
        """Give a command, which must be done without a complaint; return what it prints."""
        answer, complaint = self.attempt(words)
        assert not complaint, f"{shlex.join(words)}: {complaint}"
        return answer

    def attempt(self, words: Sequence[str]) -> tuple[str, str]:
        """Give a command; return what it prints, and what has been complained of meanwhile."""
        self.begin(words)
        answer = self._read_to_the_mark()
        complaints = self._complaints.read_text(encoding="utf-8")
        new, self._complained = complaints[self._complained :], len(complaints)
        return answer, new

    def begin(self, words: Sequence[str]) -> None:
        """Give a command, and do not wait for what comes of it."""
        assert self._client.stdin is not None
        for line in (words, MARK):
            self._client.stdin.write(f"{shlex.join(line)}\n".encode())
        self._client.stdin.flush()

    def kill(self) -> None:
        """End the client in whatever it is doing."""
        self._client.kill()
        self._client.wait()

    def _read_to_the_mark(self) -> str:
        assert self._client.stdout is not None
        stream = self._client.stdout.fileno()
        data = b""
        deadline = time.monotonic() + 2 * PATIENCE
        while not data.endswith(self._mark):
            left = deadline - time.monotonic()
            assert left > 0, f"no answer but {data!r}"
            if select.select([stream], [], [], left)[0]:
                more = os.read(stream, 65536)
                assert more, f"the client has ended: {data!r} {self._complaints.read_text()}"
                data += more
        return data.removesuffix(self._mark).decode("utf-8", "backslashreplace")


@cache
def _what_the_mark_says(program: str) -> bytes:
    command = [program, "-s", "/nowhere", *MARK]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout
