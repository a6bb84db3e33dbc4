"""How a client gets into each daemon: as who the kernel says, or by password; and whom it believes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from supervisortw.client.passwords import NotSoon, Password, Passwords, Stretching
from supervisortw.client.pins import Pin, Pins
from supervisortw.client.places import Places
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Address, TcpAddress, UnixAddress
from supervisortw.core.srp import Kdf
from supervisortw.errors import (
    AuthError,
    Denied,
    Impostor,
    LocalError,
    PasswordWanted,
    RemoteError,
    SupervisorError,
    WrongPassword,
)
from supervisortw.remote.connection import Session
from supervisortw.remote.dialling import LOCALHOST, Way
from supervisortw.remote.login import by_peer
from supervisortw.remote.passwordlogin import PasswordLogin

NEVER = "the daemon wants a password, and 'noauth' in supervisorctl.conf forbids to give one"
NOT_PROVEN = (
    "with 'noauth', only 'fingerprint' or 'tls-ca' in supervisorctl.conf can tell"
    " whose daemon that is"
)
STOPPED = (
    "the last {count} logins have failed: wrong password, or somebody in between;"
    " no more are tried (close it and open it again to go on)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe at TCP addresses, as the configuration and the options say.

    ``fingerprints`` are those of certificates, by address. ``authorities`` is a file. ``plain`` is
    without TLS. With ``accept_new`` a certificate need not be the one of the last time.
    """

    fingerprints: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    authorities: str | None = None
    name: str | None = None
    plain: bool = False
    accept_new: bool = False


class Access:
    """Opens sessions. ``by_name`` asks for a password everywhere, ``noauth`` nowhere."""

    def __init__(
        self,
        connect: Callable[[Address, Way], Awaitable[Session]],
        passwords: Passwords,
        stretching: Stretching,
        pins: Callable[[], Pins],
        *,
        notice: Callable[[str], object],
        trust: Trust,
        by_name: bool = False,
        noauth: bool = False,
    ) -> None:
        self._connect = connect
        self._passwords = passwords
        self._stretching = stretching
        self._pins = pins
        self._notice = notice
        self._trust = trust
        self._by_name = by_name
        self._noauth = noauth
        self._places = Places(LIMITS.logins_at_once)
        self._failures: Counter[str] = Counter()
        # How daemons want a password to be stretched.
        self._asked: dict[str, tuple[Kdf, bytes]] = {}

    def begin_anew(self, address: Address) -> None:
        """Forget what has failed at ``address``; somebody wants to try again."""
        del self._failures[str(address)]

    async def connect(self, address: Address) -> Session:
        """Return a session with the daemon at ``address``. Raises the reasons of `remote.connect`."""
        if self._noauth or (isinstance(address, UnixAddress) and not self._by_name):
            try:
                return await self._connect(address, self._without_password(address))
            except PasswordWanted:
                if self._noauth:
                    raise PasswordWanted(f"{address}: {NEVER}") from None
        return await self._by_password(address)

    async def _by_password(self, address: Address) -> Session:
        where = str(address)
        failed = None
        while self._failures[where] < LIMITS.failed_logins:
            way = self._way(address)
            password = await self._passwords.password(where, failed)
            try:
                session = await self._log_in(address, way, password)
            except WrongPassword as error:
                if isinstance(error, Impostor):
                    self._failures[where] = LIMITS.failed_logins
                    raise
                if not self._passwords.asks:
                    raise
                failed = password
            else:
                self._passwords.works(where, password)
                return session
        raise Denied(f"{where}: {STOPPED.format(count=self._failures[where])}")

    async def _log_in(self, address: Address, way: Way, password: Password) -> Session:
        """Log in once; what is slow is done before we connect, as far as it is known."""
        where = str(address)
        asked = self._asked.get(where) or self._asked_before(address, password.user)
        if asked is None:
            try:
                return await self._try(address, way, password, self._stretching.stretched_soon)
            except NotSoon:  # no daemon waits so long; we come back
                asked = self._asked[where]
        await self._stretching.stretched(password, *asked)
        return await self._try(address, way, password, self._stretching.stretched)

    async def _try(
        self,
        address: Address,
        way: Way,
        password: Password,
        stretched: Callable[[Password, Kdf, bytes], Awaitable[bytes]],
    ) -> Session:
        where = str(address)
        login = PasswordLogin(password.user, lambda kdf, realm: stretched(password, kdf, realm))
        try:
            async with self._places:
                session = await self._connect(address, replace(way, login=login))
        except (AuthError, RemoteError):
            # A proof without a verdict was a guess too; and who never wants one has us work for them.
            if login.asked is not None and login.binding is None:
                self._failures[where] += 1
            raise
        finally:
            if login.asked is not None:
                self._asked[where] = login.asked
        del self._failures[where]
        self._remember(address, password.user, login)
        return session

    # Whom to believe.

    def _way(self, address: Address) -> Way:
        if isinstance(address, UnixAddress):
            return Way()
        if self._is_plain(address):
            return Way(plain=True)
        trust = self._trust
        certificate = self._fingerprint(address)
        authorities = None
        advice = "; that is what 'fingerprint' in supervisorctl.conf says"
        if certificate is None and trust.authorities is not None:
            authorities, advice = _content(trust.authorities), ""
        elif certificate is None and not trust.accept_new:
            certificate = next((pin.certificate for pin in self._known(address)), None)
            advice = (
                "; somebody may be in between. If the daemon has a new certificate, log in once"
                f" with --accept-new-certificate (the old one is in {self._pins().path})"
            )
        return Way(certificate=certificate, authorities=authorities, name=trust.name, advice=advice)

    def _without_password(self, address: Address) -> Way:
        way = self._way(address)
        if isinstance(address, UnixAddress):
            return way
        if not way.plain and way.certificate is None and way.authorities is None:
            raise Denied(f"{address}: {NOT_PROVEN}")
        return replace(way, login=by_peer)

    def _fingerprint(self, address: TcpAddress) -> bytes | None:
        told = self._trust.fingerprints
        return told.get(str(address), told.get(_host(address)))

    def _is_plain(self, address: TcpAddress) -> bool:
        """True for TCP without TLS, which is nothing for a host whose certificate is told."""
        return self._trust.plain and self._fingerprint(address) is None

    def _known(self, address: Address) -> list[Pin]:
        if isinstance(address, UnixAddress) or self._is_plain(address):
            return []
        return self._pins().of(_host(address))

    def _asked_before(self, address: Address, user: str) -> tuple[Kdf, bytes] | None:
        known = [pin for pin in self._known(address) if pin.user == user]
        return (known[-1].kdf, known[-1].realm) if known else None

    def _remember(self, address: Address, user: str, login: PasswordLogin) -> None:
        if login.binding is None or login.asked is None or not login.binding.certificate:
            return
        assert isinstance(address, TcpAddress), "nobody else has a certificate"
        kdf, realm = login.asked
        certificate = login.binding.certificate
        host = _host(address)
        pin = Pin(host=host, user=user, certificate=certificate, kdf=kdf, realm=realm)
        try:
            self._pins().remember(pin)
        except SupervisorError as error:  # the session is open all the same
            self._notice(f"{host}: its certificate is not remembered: {error}")


def _host(address: TcpAddress) -> str:
    return str(TcpAddress(host=address.host or LOCALHOST, port=address.port))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LIMITS.file_bytes)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
