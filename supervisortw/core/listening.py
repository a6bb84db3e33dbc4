"""Whether a TCP port is listened on, and what is spoken there: decided from its address and the keys.

Whoever reaches the port of a daemon and is let in can start commands. So it takes TLS and a password,
on every address; whoever wants less has to say so by a key with a name that tells what it does.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from supervisortw.core.model import INSECURE_REMOTE, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is decided about one port.

    Without ``allowed`` nothing listens there. ``tls`` is whether TLS is spoken, and ``anonymous`` whether
    nobody is asked for a password. ``why`` says why it is refused and what to do, or, where it is allowed
    by an insecure key, what that means; it is empty where all is well.
    """

    allowed: bool
    tls: bool
    anonymous: bool
    why: str = ""


def is_loopback(host: str) -> bool:
    """True if ``host``, an address that a socket is bound to, is reached from this machine only.

    That is decided by the address alone: a name or an old way to write an address is none.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback if mapped is None else bool(mapped.is_loopback)


def judge(host: str, settings: Settings, *, passwords: bool) -> Verdict:
    """Decide about a port that is bound to the address ``host``.

    ``passwords`` is true if there is a valid password file with a user who can log in. Where a file is
    named and there is not, nothing listens, whatever else is allowed.
    """
    tls, anonymous = settings.tls, not passwords
    if tls and passwords:
        return Verdict(allowed=True, tls=True, anonymous=False)
    if anonymous and settings.passwdfile is not None:
        # Passwords are wanted. What is wrong with the file is no reason to ask for none.
        return Verdict(
            allowed=False, tls=tls, anonymous=True, why=_refusal(settings, tls, anonymous)
        )
    if not is_loopback(host):
        allowed, key = settings.insecure_remote, f"insecure-remote {INSECURE_REMOTE}"
    elif anonymous:
        allowed, key = settings.insecure_anonymous, "insecure-anonymous yes"
    else:
        allowed, key = settings.insecure_plaintext, "insecure-plaintext yes"
    why = _danger(key, tls, anonymous) if allowed else _refusal(settings, tls, anonymous)
    return Verdict(allowed=allowed, tls=tls, anonymous=anonymous, why=why)


def _danger(key: str, tls: bool, anonymous: bool) -> str:
    if anonymous:
        meaning = "whoever can connect is admin, without a password"
    else:
        meaning = "whoever is in between can read along and take over sessions"
    return f"insecure by '{key}': {meaning}{'' if tls else '; there is no TLS'}"


def _refusal(settings: Settings, tls: bool, anonymous: bool) -> str:
    missing = [] if tls else ["'tls no' is given; remove it"]
    if anonymous and settings.passwdfile is None:
        missing.append(
            "there are no passwords; make some with 'supervisorctl passwd', and name the"
            " file by the key passwdfile"
        )
    elif anonymous:
        missing.append(
            f"no user can log in by {settings.passwdfile}; 'supervisorctl passwd"
            f" {settings.passwdfile} check' tells more"
        )
    return f"TCP takes TLS and a password: {', and '.join(missing)}"
