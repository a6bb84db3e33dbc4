"""The kinds of listeners that a connection comes through, and what each of them allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from supervisortw.core.srp import UNBOUND, UNIX, Binding

BindingOf = Callable[[Any], Binding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is to be known of a connection before anything has come through it.

    ``binding_of`` gives what a login over a transport is bound to; it raises if there is no such
    thing (yet), and nobody gets in then. With ``anonymous``, whoever comes is let in as they are.
    """

    over_tcp: bool
    binding_of: BindingOf
    anonymous: bool = False


UNIX_CHANNEL = Channel(over_tcp=False, binding_of=lambda transport: UNIX)
PLAIN_CHANNEL = Channel(over_tcp=True, binding_of=lambda transport: UNBOUND)
ANONYMOUS_CHANNEL = Channel(over_tcp=True, binding_of=lambda transport: UNBOUND, anonymous=True)


def tls_channel(certificate_sha256: bytes) -> Channel:
    """Return the channel of a listener for TLS whose certificate has that hash."""
    from supervisortw.remote.tls import server_binding  # noqa: PLC0415  # only who has TLS pays

    return Channel(
        over_tcp=True, binding_of=lambda transport: server_binding(transport, certificate_sha256)
    )
