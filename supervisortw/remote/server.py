"""The daemon's end of control connections: gate, then login, then a broker for the session."""

# The broker underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.spread import pb

from supervisortw.auth.accounts import Accounts, NoAccounts
from supervisortw.auth.password import Challenges, is_current
from supervisortw.auth.users import User, at_home
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.passwd import Passwd
from supervisortw.interfaces import Clock
from supervisortw.remote.admission import AdmissionCounter
from supervisortw.remote.avatar import ControlAvatar
from supervisortw.remote.channel import (
    ANONYMOUS_CHANNEL,
    PLAIN_CHANNEL,
    UNIX_CHANNEL,
    Channel,
    tls_channel,
)
from supervisortw.remote.gate import Logout, ServerGate, ServerGates
from supervisortw.remote.lifetime import Lifetime
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.passwords import PasswordLogins
from supervisortw.remote.peers import peer_credentials
from supervisortw.remote.refusals import RefusalsTold

log = Logger(namespace="supervisor")


class ControlFactory:
    """Serves every control connection of a daemon; the sessions of all listeners count together.

    Each kind of listener is given a factory of its own. With ``peer_login`` false the kernel's word is
    not enough on UNIX sockets, as long as anybody in ``accounts`` can log in by password.
    ``sessions_open`` hears whether there are sessions that `revise` could close.
    """

    def __init__(
        self,
        portal: Portal,
        clock: Clock,
        accounts: Accounts | None = None,
        *,
        peer_login: bool = True,
        sessions_open: Callable[[bool], object] = lambda are_open: None,
        limits: Limits = LIMITS,
    ) -> None:
        self.peer_login = peer_login
        self._sessions_open = sessions_open
        self._portal = portal
        self._clock = clock
        self._accounts = accounts or NoAccounts()
        self._limits = limits
        self._admission = AdmissionCounter(at_home(), limits)
        self._passwords = PasswordLogins(Challenges(self._accounts), clock, limits)
        # Apart from failures, which they must not hide.
        self._refusals = RefusalsTold(clock, limits)
        self._sessions: dict[LimitedBroker, User] = {}

    # What listeners are given.

    def unix(self) -> IProtocolFactory:
        """Return what serves UNIX sockets."""
        return self._through(UNIX_CHANNEL)

    def tls(self, certificate_sha256: bytes) -> IProtocolFactory:
        """Return what serves connections inside of TLS, with the certificate that has that hash."""
        return self._through(tls_channel(certificate_sha256))

    def plain(self) -> IProtocolFactory:
        """Return what serves TCP without TLS: only passwords are safe there, and nothing else."""
        return self._through(PLAIN_CHANNEL)

    def anonymous(self) -> IProtocolFactory:
        """Return what serves everybody who comes, as if they were root."""
        return self._through(ANONYMOUS_CHANNEL)

    def _through(self, channel: Channel) -> IProtocolFactory:
        def gate() -> ServerGate:
            return ServerGate(
                clock=self._clock,
                login=self._login,
                broker=self._broker,
                admission=self._admission,
                passwords=self._passwords,
                wants_password=self._wants_password,
                channel=channel,
                refusals=self._refusals,
                limits=self._limits,
            )

        return ServerGates(gate)

    # Sessions.

    def revise(self, passwd: Passwd | None) -> None:
        """Close the sessions of users who are gone, locked, or have another password or role now.

        Without a usable password file they all stay: nothing is known of a change.
        """
        if passwd is None:
            return
        for broker, user in list(self._sessions.items()):
            if user.via == "srp" and not is_current(user, passwd.records.get(user.name)):
                why = "the user is gone, locked or changed"
                log.warn("a session of {user} is closed: {why}", user=user.name, why=why)
                broker.close()

    def close_sessions(self) -> None:
        """End every session, once what was answered is on its way."""
        for broker in list(self._sessions):
            broker.close()

    def _wants_password(self) -> bool:
        if self.peer_login:
            return False
        passwd = self._accounts.passwd()
        return passwd is not None and passwd.enabled > 0

    async def _login(self, credentials: Any) -> tuple[ControlAvatar, Logout]:
        avatar: Any  # of our realm's
        _, avatar, logout = await self._portal.login(credentials, None, pb.IPerspective)
        return avatar, logout

    def _broker(self, avatar: ControlAvatar, who: str) -> Protocol:
        broker = LimitedBroker(0, clock=self._clock, root=avatar, who=who, limits=self._limits)
        self._sessions[broker] = avatar.user
        self._count()
        broker.notifyOnDisconnect(lambda: self._ended(broker))
        if avatar.user.via != "peer":  # nobody needs to have forgotten a terminal of their own
            log.info("{who} logged in", who=who)
            self._limit(avatar, broker, who)
        return broker

    def _ended(self, broker: LimitedBroker) -> None:
        del self._sessions[broker]
        self._count()

    def _count(self) -> None:
        self._sessions_open(any(user.via == "srp" for user in self._sessions.values()))

    def _limit(self, avatar: ControlAvatar, broker: LimitedBroker, who: str) -> None:
        def end(reason: str) -> None:
            log.info("the session of {who} is closed: {reason}", who=who, reason=reason)
            broker.close()

        lifetime = Lifetime(self._clock, lambda: avatar.is_following, end, self._limits)
        avatar.on_use = lifetime.touch
        broker.notifyOnDisconnect(lifetime.stop)


def peer_pid(connected: socket.socket) -> int | None:
    """Return the pid of the process at the other end of a UNIX socket, if the system tells it."""
    peer = peer_credentials(_Handle(connected))
    return peer.pid or None if peer else None


class _Handle:
    """A socket where a transport is asked for."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected

    def getHandle(self) -> socket.socket:
        return self._connected
