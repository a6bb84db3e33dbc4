"""What has to be true of a connection before a client says anything over it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from supervisortw.core.srp import UNBOUND, UNIX, Binding
from supervisortw.errors import AuthError, Denied, SupervisorError, Unreachable
from supervisortw.remote.peers import PeerOf, identified, peer_credentials

CLOSED = "the connection was closed before it was of use"


class Channel(Protocol):
    """One connection to ``where``, which is how messages call the daemon."""

    where: str
    shakes_hands: bool  # there is a handshake before anything can be said

    def binding(self, transport: Any) -> Binding:
        """Return what a login is bound to. Raises AuthError or Unreachable: say nothing there."""

    def lost(self, reason: Failure) -> SupervisorError:
        """Return why a connection that has ended early for ``reason`` was of no use."""


class UnixChannel:
    """A socket in the file system: who listens there has to be a user among ``trusted_uids()``.

    That holds for logins by password too: somebody else could hand them on, and be in the session.
    """

    shakes_hands = False

    def __init__(
        self,
        where: str,
        trusted_uids: Callable[[], Container[int]],
        peer_of: PeerOf = peer_credentials,
    ) -> None:
        self.where = where
        self._trusted_uids = trusted_uids
        self._peer_of = peer_of

    def binding(self, transport: Any) -> Binding:
        """Look who listens. Raises Denied."""
        peer = identified(self._peer_of(transport))
        if peer is None:
            reason = "the system does not say who listens there; nothing was sent"
            raise Denied(f"{self.where}: {reason}")
        if peer.uid not in self._trusted_uids():
            reason = f"a process of another user (uid {peer.uid}) listens there; nothing was sent"
            raise Denied(f"{self.where}: {reason}")
        return UNIX

    def lost(self, reason: Failure) -> SupervisorError:
        """Say no more than that it was lost."""
        return Unreachable(f"{self.where}: {CLOSED}")


class PlainChannel:
    """TCP without TLS: anybody on the way can read everything, and take the session over."""

    shakes_hands = False

    def __init__(self, where: str) -> None:
        self.where = where

    def binding(self, transport: Any) -> Binding:
        """Return the binding to nothing."""
        return UNBOUND

    def lost(self, reason: Failure) -> SupervisorError:
        """Say no more than that it was lost, and what may be the reason."""
        return Unreachable(f"{self.where}: {CLOSED}; does it speak TLS?")


class Judged(Protocol):
    """What makes the TLS of a connection, in ``supervisortw.remote.tls``."""

    refusal: str | None  # what is wrong with the certificate that was shown


class TlsChannel:
    """TCP with TLS, made by ``connections``, which may refuse a certificate.

    ``binding_of`` gives the binding of a connection, or raises AuthError if it is not safe. ``advice``
    says what to do about a certificate that was refused.
    """

    shakes_hands = True

    def __init__(
        self,
        where: str,
        *,
        connections: Judged,
        binding_of: Callable[[Any], Binding],
        advice: str = "",
    ) -> None:
        self.where = where
        self._connections = connections
        self._binding_of = binding_of
        self._advice = advice

    def binding(self, transport: Any) -> Binding:
        """Return the binding to this very connection. Raises Denied."""
        try:
            return self._binding_of(transport)
        except AuthError as error:
            raise Denied(f"{self.where}: {error}; nothing was sent") from None

    def lost(self, reason: Failure) -> SupervisorError:
        """Say what was wrong with the certificate, or with the handshake, if that was it."""
        refusal = self._connections.refusal
        if refusal is not None:
            return Denied(f"{self.where}: {refusal}; nothing was sent{self._advice}")
        if reason.check(ConnectionDone, ConnectionLost, ConnectionAborted):
            return Unreachable(f"{self.where}: {CLOSED}")
        return Unreachable(f"{self.where}: what listens there does not speak TLS 1.3")
