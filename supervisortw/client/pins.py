"""What was learnt of daemons at TCP addresses when somebody logged in there: ``known_hosts``.

::

    HOST:PORT USER FINGERPRINT KDF REALM

with one space between the fields, and the realm in hexadecimal digits. A password that was right has
proven whose the certificate was, so no other is taken later. KDF and REALM are how that daemon wants a
password to be stretched, which is done before we connect.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from supervisortw.client import privatefile
from supervisortw.config.datatypes import address
from supervisortw.core.fingerprint import fingerprint, parse_fingerprint
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import TcpAddress
from supervisortw.core.passwd import realm_of
from supervisortw.core.srp import Kdf, user_name
from supervisortw.errors import ConfigError, LocalError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What was learnt when ``user`` logged in at ``host``; ``certificate`` is its SHA-256."""

    host: str
    user: str
    certificate: bytes
    kdf: Kdf
    realm: bytes

    def __str__(self) -> str:
        told = fingerprint(self.certificate)
        return f"{self.host} {self.user} {told} {self.kdf} {self.realm.hex()}"

    @classmethod
    def parse(cls, line: str) -> Pin:
        """Read what ``str`` writes. Raises ValueError."""
        fields = line.split(" ")
        if len(fields) != 5:
            raise ValueError("expected HOST:PORT USER FINGERPRINT KDF REALM")
        host, user, told, kdf, realm = fields
        if not isinstance(found := address(host), TcpAddress) or str(found) != host:
            raise ValueError("expected HOST:PORT first")
        return cls(
            host=host,
            user=user_name(user),
            certificate=parse_fingerprint(told),
            kdf=Kdf.parse(kdf),
            realm=realm_of(realm),
        )


class Pins:
    """The pins of one user, in the file ``path``; they are used as they stand now, and all or none.

    Whoever writes at the same time may lose a line to us, or we to them: it is learnt again at the
    next login, which proves what stands in it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._pins: list[Pin] = []

    def of(self, host: str) -> list[Pin]:
        """Return what is known of ``host``, the latest last. Raises ConfigError and LocalError."""
        return [pin for pin in self._read() if pin.host == host]

    def remember(self, pin: Pin) -> None:
        """Keep ``pin``, in place of what was known of its user there, and of other certificates.

        Raises ConfigError and LocalError.
        """
        before = self._read()
        if pin in before:
            return
        kept = [
            each
            for each in before
            if each.host != pin.host
            or (each.user != pin.user and each.certificate == pin.certificate)
        ]
        now = [*kept, pin][-LIMITS.known_hosts :]
        lines = "".join(f"{each}\n" for each in now)
        # A hundred hosts, one after the other, are not to be parsed a hundred times.
        self._seen = _seen(privatefile.write(self.path, lines.encode("ascii")))
        self._pins = now

    def _read(self) -> list[Pin]:
        """Return what stands in the file now; it is parsed again only if it has changed."""
        seen = self._look()
        if seen is None or seen != self._seen:
            self._pins = self._parsed(privatefile.read(self.path, LIMITS.known_hosts_bytes) or b"")
            self._seen = seen
        return self._pins

    def _look(self) -> tuple[int, ...] | None:
        try:
            return _seen(os.lstat(self.path))
        except OSError:
            return None

    def _parsed(self, data: bytes) -> list[Pin]:
        pins = []
        for number, line in enumerate(data.decode("ascii", "replace").splitlines(), 1):
            try:
                pins.append(Pin.parse(line))
            except ValueError as error:
                raise ConfigError([Problem(self.path, number, str(error))]) from None
        return pins


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid


def known_hosts() -> str:
    """Return the path of the file of whoever runs this process. Raises LocalError.

    HOME counts if it belongs to them: after some kinds of sudo it is still that of somebody else.
    """
    me = os.geteuid()
    home = os.environ.get("HOME", "")
    try:
        ours = os.path.isabs(home) and os.stat(home).st_uid == me
    except OSError:
        ours = False
    if not ours:
        try:
            home = pwd.getpwuid(me).pw_dir
        except KeyError:
            raise LocalError(f"user {me} has no home directory for known_hosts") from None
    return os.path.join(home, ".config/supervisortw/known_hosts")
