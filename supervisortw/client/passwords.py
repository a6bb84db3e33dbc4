"""Whose password is sent a proof of, where it comes from, and what it is stretched to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from supervisortw.client.places import Places
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.srp import Kdf, SrpError, password_bytes, stretch, user_name
from supervisortw.errors import Denied, LocalError, PasswordWanted

Result = TypeVar("Result")
# Asks somebody, and returns the line that they have typed. The second argument is whether it is hidden
# while they type. Raises EOFError if they do not want to answer.
Ask = Callable[[str, bool], Awaitable[str]]
InThread = Callable[[Callable[[], bytes]], Deferred[bytes]]

NO_USER = "name a user, with -u NAME or with 'user' in supervisorctl.conf"
NOBODY_TO_ASK = (
    "a password is wanted, and nobody is there to be asked;"
    " give it with --password-fd N, or with 'password-file' in supervisorctl.conf"
)
NOT_GIVEN = "no password was given"


class Password:
    """The password of ``user``. Nothing but `Stretching` looks into it."""

    __slots__ = ("locks", "running", "stretched", "text", "user")

    def __init__(self, user: str, text: bytes) -> None:
        self.user = user
        self.text = text
        self.stretched: dict[tuple[Kdf, bytes], bytes] = {}
        self.locks: dict[tuple[Kdf, bytes], Places] = {}
        self.running: set[tuple[Kdf, bytes]] = set()

    def __repr__(self) -> str:
        return f"<the password of {self.user}>"


class NotSoon(Exception):
    """What somebody wants to have stretched would have to wait for others."""


class Stretching:
    """Stretches passwords, each once for each realm, and few at once."""

    def __init__(self, in_thread: InThread, limits: Limits = LIMITS) -> None:
        self._places = Places(limits.stretched_at_once)
        self._in_thread = in_thread

    async def stretched(self, password: Password, kdf: Kdf, realm: bytes) -> bytes:
        """Return what ``password`` is stretched to; wait for a place if that is not known yet."""
        key = kdf, realm
        if key not in password.stretched:
            async with password.locks.setdefault(key, Places(1)):
                if key not in password.stretched:
                    await self._stretch(password, key)
        return password.stretched[key]

    async def stretched_soon(self, password: Password, kdf: Kdf, realm: bytes) -> bytes:
        """Do the same for somebody whom a daemon waits for. Raises NotSoon."""
        key = kdf, realm
        if key in password.stretched or key in password.running or self._places.free:
            return await self.stretched(password, kdf, realm)
        raise NotSoon

    async def _stretch(self, password: Password, key: tuple[Kdf, bytes]) -> None:
        async with self._places:
            password.running.add(key)
            try:
                password.stretched[key] = await self._in_thread(lambda: _stretched(password, *key))
            finally:
                password.running.discard(key)


def _stretched(password: Password, kdf: Kdf, realm: bytes) -> bytes:
    try:
        return stretch(password.text, password.user, kdf, realm)
    except (MemoryError, ValueError):
        need = (kdf.r << kdf.ln) // 8192
        raise LocalError(f"not enough memory: {need} MiB are needed to hash a password") from None


class Passwords:
    """The user and the passwords of one client, kept as long as it runs.

    ``ask`` returns the way to ask somebody, or None if nobody is there. ``given`` is the password that
    was given otherwise; then nobody is asked for one. ``beware`` is called before there is one.
    """

    def __init__(
        self,
        ask: Callable[[], Ask | None],
        *,
        user: str | None = None,
        given: bytes | None = None,
        usual_user: str = "",
        beware: Callable[[], object] = lambda: None,
    ) -> None:
        self._ask = ask
        self._user = user
        self._given = given
        self._usual_user = usual_user
        self._beware = beware
        self._latest: Password | None = None
        self._worked: dict[str, Password] = {}
        self._asking = Places(1)
        self._given_up = 0  # how often somebody did not want to answer

    @property
    def asks(self) -> bool:
        """Whether there can be another password after one that was wrong."""
        return self._given is None and self._ask() is not None

    async def password(self, where: str, failed: Password | None = None) -> Password:
        """Return the password for the daemon at ``where``, of which ``failed`` was just refused.

        Raises PasswordWanted if there is none to be had, and Denied for one that cannot be one.
        """
        given_up = self._given_up
        async with self._asking:
            if self._worked.get(where) is failed:
                self._worked.pop(where, None)
            known = self._worked.get(where, self._latest)
            if known is None or known is failed:
                if given_up != self._given_up:  # while we waited for our turn to ask
                    raise PasswordWanted(f"{where}: {NOT_GIVEN}")
                known = self._latest = await self._new(where, failed)
            return known

    def works(self, where: str, password: Password) -> None:
        """Note that the daemon at ``where`` takes ``password``."""
        self._worked[where] = password

    async def _new(self, where: str, failed: Password | None) -> Password:
        if self._user is None:
            usual = f" [{self._usual_user}]" if self._usual_user else ""
            answer = await self._answer(where, f"user{usual}: ", NO_USER, hidden=False)
            self._user = _checked(where, user_name, answer.strip() or self._usual_user)
        if self._given is not None:
            return Password(self._user, self._given)
        again = "" if failed is None else "wrong password, or somebody in between; "
        question = f"{again}password of {self._user}: "
        self._beware()
        text = await self._answer(where, question, NOBODY_TO_ASK, hidden=True)
        if not text:
            self._given_up += 1
            raise PasswordWanted(f"{where}: {NOT_GIVEN}")
        return Password(self._user, _checked(where, password_bytes, text))

    async def _answer(self, where: str, question: str, nobody: str, *, hidden: bool) -> str:
        ask = self._ask()
        if ask is None:
            raise PasswordWanted(f"{where}: {nobody}")
        try:
            return await ask(f"{where}: {question}", hidden)
        except EOFError:
            self._given_up += 1
            raise PasswordWanted(f"{where}: {NOT_GIVEN}") from None


def _checked(where: str, check: Callable[[str], Result], text: str) -> Result:
    try:
        return check(text)
    except SrpError as error:
        raise Denied(f"{where}: {error}") from None
