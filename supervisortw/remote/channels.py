"""What has to be true of a connection before a client says anything over it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Protocol

from twisted.python.failure import Failure

from supervisortw.core.srp import UNBOUND, UNIX, Binding
from supervisortw.errors import Denied, SupervisorError, Unreachable
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


class TlsChannel:
    """TCP with TLS. ``binding_of`` gives the binding of a connection, or raises if it is not safe.

    ``accept`` is called with it before anything is sent, and raises AuthError for a certificate that it
    does not want. ``lost`` says why there was no connection.
    """

    shakes_hands = True

    def __init__(
        self,
        where: str,
        *,
        binding_of: Callable[[Any], Binding],
        accept: Callable[[Binding], object],
        why_lost: Callable[[Failure], str | None],
    ) -> None:
        self.where = where
        self._binding_of = binding_of
        self._accept = accept
        self._why_lost = why_lost

    def binding(self, transport: Any) -> Binding:
        """Return the binding to this very connection. Raises AuthError."""
        binding = self._binding_of(transport)
        self._accept(binding)
        return binding

    def lost(self, reason: Failure) -> SupervisorError:
        """Say what was wrong with the handshake, if that was it."""
        why = self._why_lost(reason)
        if why is None:
            return Unreachable(f"{self.where}: {CLOSED}")
        return Denied(f"{self.where}: {why}; nothing was sent")
