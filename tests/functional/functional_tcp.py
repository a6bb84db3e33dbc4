"""What clients see of a daemon's TCP ports."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from functools import cache
from pathlib import Path

from functional_daemon import Daemon, installed

from supervisortw.core.passwd import Passwd, Record, written
from supervisortw.core.roles import Role
from supervisortw.core.srp import SCRYPT

LOOPBACK = "127.0.0.1"


def free_ports(number: int, host: str = LOOPBACK) -> list[int]:
    """Return ports that nobody has."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probes = [socket.socket(family) for _ in range(number)]
    for probe in probes:
        probe.bind((host, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def is_open(port: int, host: str = LOOPBACK) -> bool:
    """True if somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def shown_digest(port: int, host: str = LOOPBACK, **context: object) -> str:
    """Return the fingerprint of the certificate that is shown there, over TLS 1.3."""
    with (
        socket.create_connection((host, port), timeout=30) as plain,
        anything(**context).wrap_socket(plain) as secure,
    ):
        assert secure.version() == "TLSv1.3"
        shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return f"SHA256:{hashlib.sha256(shown).hexdigest()}"


def anything(**attributes: object) -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


@cache
def _users() -> str:
    record = Record(
        user="alice",
        role=Role.ADMIN,
        kdf=SCRYPT,
        realm=bytes(16),
        salt=bytes(16),
        verifier=1234567,  # nobody logs in
        changed="2026-11-22T07:00:00Z",
    )
    return written(Passwd(secret=bytes(32), realm=bytes(16)).put(record))


def give_users(daemon: Daemon) -> Path:
    """Make a password file with a user who can log in."""
    return daemon.save(daemon.place / "passwd", _users(), 0o600)


def fingerprint(daemon: Daemon) -> str:
    """Return what ``supervisord --fingerprint`` prints."""
    done = daemon.run([installed("supervisord"), "-c", str(daemon.config), "--fingerprint"])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def maps_of(pid: int) -> str:
    """Return which files are in the memory of a process."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def mode_of(path: Path) -> int:
    """Return the permission bits of a file."""
    return os.lstat(path).st_mode & 0o7777
