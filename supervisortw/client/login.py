"""From the options and the configuration to the way into each daemon."""

from __future__ import annotations

import argparse
import os
import pwd
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.threads import deferToThreadPool

from supervisortw.client import privatefile
from supervisortw.client.access import Access, Trust
from supervisortw.client.desk import Desk
from supervisortw.client.passwords import Passwords, Stretching
from supervisortw.client.pins import Pins, known_hosts
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ClientSettings
from supervisortw.core.srp import SrpError, password_bytes, user_name
from supervisortw.errors import ConfigError, LocalError, Problem
from supervisortw.remote.connection import connect
from supervisortw.secrecy import keep_memory_secret

STDERR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who somebody is, and whom they believe. ``given`` is a password that nobody has to be asked for."""

    user: str | None
    by_name: bool
    noauth: bool
    trust: Trust
    given: bytes | None = field(repr=False)

    @classmethod
    def read(cls, settings: ClientSettings, options: argparse.Namespace) -> Credentials:
        """Return what the options say, and the configuration where they say nothing.

        Raises ConfigError for what cannot be, and LocalError for a file that cannot be read.
        """
        by_name = options.user is not None
        try:
            user = user_name(options.user) if by_name else settings.user
        except SrpError as error:
            raise ConfigError([Problem("command line", None, f"-u: {error}")]) from None
        trust = Trust(
            fingerprints=settings.fingerprints,
            authorities=settings.tls_ca,
            name=settings.tls_name,
            plain=options.insecure or settings.insecure_plaintext,
            accept_new=options.accept_new_certificate,
        )
        noauth = settings.noauth and not by_name
        given = None if noauth else _given(options.password_fd, settings.password_file)
        return cls(user=user, by_name=by_name, noauth=noauth, trust=trust, given=given)


def access(reactor: Any, desk: Desk, credentials: Credentials) -> Access:
    """Return the way into each daemon, for somebody at ``desk``."""
    found: list[Pins] = []

    def pins() -> Pins:
        if not found:
            found.append(Pins(known_hosts()))
        return found[0]

    def notice(text: str) -> None:
        desk.notice(text)

    return Access(
        lambda address, way: connect(reactor, address, way),
        Passwords(
            lambda: desk.ask,
            user=credentials.user,
            given=credentials.given,
            usual_user=_usual_user(),
            beware=keep_memory_secret,
        ),
        Stretching(lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)),
        pins,
        notice=notice,
        trust=credentials.trust,
        by_name=credentials.by_name,
        noauth=credentials.noauth,
    )


def _given(descriptor: int | None, path: str | None) -> bytes | None:
    """Return the password from an open descriptor, or from a file. Raises LocalError."""
    if descriptor is not None:
        where = f"--password-fd {descriptor}"
        data: bytes | None = _line_of(descriptor, where)
    elif path is not None:
        where = path
        data = privatefile.read(path, LIMITS.file_bytes)
    else:
        return None
    if data is None:
        raise LocalError(f"cannot read {path}: there is no such file")
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    try:
        return password_bytes(line.decode("utf-8", "surrogateescape"))
    except SrpError as error:
        raise LocalError(f"{where}: {error}") from None


def _line_of(descriptor: int, where: str) -> bytes:
    """Read a line and no more: what comes behind it may be commands."""
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) < LIMITS.password_bytes + 2:
            more = os.read(descriptor, 1)
            if not more:
                break
            data += more
        if descriptor > STDERR:
            os.close(descriptor)
    except (OSError, OverflowError):
        raise LocalError(f"{where}: cannot read it; is it open?") from None
    return data


def _usual_user() -> str:
    """Return the login name of whoever runs this, if it could be that of a user of a daemon."""
    try:
        return user_name(pwd.getpwuid(os.geteuid()).pw_name)
    except (KeyError, SrpError):
        return ""
