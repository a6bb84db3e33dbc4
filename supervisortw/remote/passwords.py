"""Logins by password at the gate: what a client sends, and how often it may.

There is one `PasswordLogins` for all connections of a daemon, and one `PasswordLogin` for each that
has said who it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.auth.attempts import Attempts
from supervisortw.auth.password import Challenge, Challenges, SrpProof
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.srp import GROUP, PROOF_BYTES, Binding, SrpError, user_name
from supervisortw.interfaces import Clock
from supervisortw.remote.flow import CallBucket
from supervisortw.remote.frames import PASSWORD, FrameError, pack
from supervisortw.remote.refusals import RefusalsTold


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a client says first (C1): who it is, its public value, and the frame that they were in."""

    user: str
    client: int
    frame: bytes


class PasswordLogin:
    """One login that has begun; ``second`` is the frame (S1) that the client is answered."""

    def __init__(self, hello: Hello, challenge: Challenge) -> None:
        self.user = hello.user
        record = challenge.record
        self.second = pack(
            [
                *(PASSWORD, str(record.kdf).encode("ascii"), record.realm, record.salt),
                GROUP.packed(challenge.server),
            ]
        )
        self._first = hello.frame
        self._challenge = challenge

    def credentials(self, told: bytes, binding: Binding) -> SrpProof:
        """Return what the client is judged by, once it has sent its proof ``told``."""
        return SrpProof(self._challenge, self._first, self.second, binding, told)


class PasswordLogins:
    """Begins logins by password, and sees to it that nobody guesses for long."""

    def __init__(self, challenges: Challenges, clock: Clock, limits: Limits = LIMITS) -> None:
        self._challenges = challenges
        self._attempts = Attempts(clock.seconds, limits)
        self._starts = CallBucket(
            clock, limits.login_starts_per_second, limits.login_starts_at_once
        )
        self._told = RefusalsTold(clock, limits)

    def wait(self, source: str) -> int:
        """Return for how many seconds nobody from ``source`` may log in by password."""
        return self._attempts.wait(source)

    def may_begin(self) -> bool:
        """Count one more login over TCP; false if too many begin."""
        if self._starts.wait():
            return False
        self._starts.take()
        return True

    def begin(self, hello: Hello) -> PasswordLogin | None:
        """Begin a login; None if nobody can log in by password."""
        challenge = self._challenges.challenge(hello.user, hello.client)
        return None if challenge is None else PasswordLogin(hello, challenge)

    def delay(self, user: str) -> float:
        """Return how many seconds the answer to ``user`` has to wait, whatever it will be."""
        return self._attempts.delay(user)

    def failed(self, source: str, user: str, who: str, why: str) -> None:
        """Remember a failed login, and tell the log of it."""
        seconds = self._attempts.failed(source, user)
        self._told.tell(who, why)
        self._tell_lockout(source, seconds)

    def given_up(self, source: str) -> None:
        """Remember somebody who was answered, and then did not want to know."""
        self._tell_lockout(source, self._attempts.given_up(source))

    def _tell_lockout(self, source: str, seconds: int) -> None:
        if seconds:
            self._told.tell(source, f"no login by password from there for {seconds} seconds")


def read_hello(message: list[bytes]) -> Hello:
    """Return what the fields of a C1 say. Raises FrameError for what no client sends."""
    if len(message) != 3:
        raise FrameError("a first message of another form")
    try:
        user = user_name(message[1].decode("ascii"))
        return Hello(user=user, client=GROUP.unpacked(message[2]), frame=pack(message))
    except (SrpError, UnicodeDecodeError):
        raise FrameError("a user name or a public value that no client sends") from None


def read_proof(message: list[bytes]) -> bytes:
    """Return the proof in the fields of a C2. Raises FrameError if there is anything else."""
    if len(message) != 1 or len(message[0]) != PROOF_BYTES:
        raise FrameError("a proof of another form")
    return message[0]
