"""The files of the daemon's certificate and key: those that are configured, or ones of its own.

Its own are made once, when the first port asks for them, and then kept: clients remember them, so
nothing makes others in their place.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from supervisortw.core.fingerprint import digest_of, fingerprint
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Settings
from supervisortw.daemon.paths import open_directory, open_parent
from supervisortw.daemon.places import owners, unchangeable
from supervisortw.daemon.trusted import TrustedDirectory
from supervisortw.errors import LocalError, UnsafePath

DIRECTORY, CERTIFICATE, KEY = "tls", "certificate.pem", "key.pem"

Make = Callable[[str], "tuple[bytes, bytes]"]  # from the name of the host to certificate and key


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate, perhaps with those that it was signed by behind it, and its key; as PEM.

    ``digest`` is the SHA-256 of the certificate. ``is_new`` is true of one that was just made.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    digest: bytes
    is_new: bool = False

    @property
    def fingerprint(self) -> str:
        """How people tell the certificate."""
        return fingerprint(self.digest)


def pair_of(settings: Settings, make: Make) -> Pair:
    """Return the certificate and key of a daemon; ``make`` makes them if it is to have its own.

    Raises LocalError.
    """
    if settings.tls_certificate is None:
        directory = _own_directory(settings)
        if not os.path.lexists(directory):
            _keep(directory, *make(socket.gethostname()))
            return replace(read_pair(settings), is_new=True)
    return read_pair(settings)


def read_pair(settings: Settings) -> Pair:
    """Return the certificate and key that there are. Raises LocalError."""
    certificate_path, key_path = _paths(settings)
    with _remedy(settings):
        certificate = _content(certificate_path, owners())
        key = _content(key_path, owners(), secret=True)
    return Pair(certificate=certificate, key=key, digest=_digest(certificate, certificate_path))


def fingerprint_of(settings: Settings, believed: frozenset[int]) -> str:
    """Return how people tell the certificate of a daemon that runs as one of ``believed``, or as root.

    Raises LocalError, also if none was made yet.
    """
    path, _ = _paths(settings)
    if settings.tls_certificate is None and not os.path.lexists(_own_directory(settings)):
        raise LocalError(f"there is no {path} yet; it is made when the first TCP port is opened")
    with _remedy(settings):
        return fingerprint(_digest(_content(path, believed), path))


def _paths(settings: Settings) -> tuple[str, str]:
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return settings.tls_certificate, settings.tls_key
    directory = _own_directory(settings)
    return os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY)


def _own_directory(settings: Settings) -> str:
    return os.path.join(settings.state_directory, DIRECTORY)


@contextlib.contextmanager
def _remedy(settings: Settings) -> Iterator[None]:
    """Let errors about the daemon's own files say what helps if they are lost."""
    try:
        yield
    except LocalError as error:
        if settings.tls_certificate is not None:
            raise
        directory = _own_directory(settings)
        raise LocalError(
            f"{error}; if it cannot be mended, remove {directory}: then a new certificate is made,"
            " which clients have to be told of"
        ) from None


def _digest(certificate: bytes, path: str) -> bytes:
    try:
        return digest_of(certificate)
    except ValueError as error:
        raise LocalError(f"{path}: {error}") from None


def _content(path: str, believed: frozenset[int], *, secret: bool = False) -> bytes:
    try:
        final = unchangeable(path, believed)
        with open_parent(final, owners=believed) as directory:
            descriptor = directory.open(os.path.basename(final), os.O_RDONLY, 0)
        with open(descriptor, "rb") as file:
            if secret and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise UnsafePath(f"{final} can be used by others; chmod 600 it")
            content = file.read(LIMITS.pem_bytes + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > LIMITS.pem_bytes:
        raise LocalError(f"{path} has more than {LIMITS.pem_bytes} bytes")
    return content


def _keep(path: str, certificate: bytes, key: bytes) -> None:
    """Have both files in the new directory ``path``: there are both, or neither. Raises LocalError."""
    name, fresh = os.path.basename(path), f"{path}.new"
    try:
        with open_parent(path, owners=owners()) as parent:
            _remove(fresh, parent)
            os.mkdir(f"{name}.new", 0o700, dir_fd=parent.fd)
            with open_directory(fresh, owners=owners()) as directory:
                os.fchmod(directory.fd, 0o700)  # a umask may have taken more
                _write(directory, KEY, key)
                _write(directory, CERTIFICATE, certificate)
                os.fsync(directory.fd)
            os.rename(f"{name}.new", name, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
            os.fsync(parent.fd)
    except OSError as error:
        raise LocalError(f"cannot make {path}: {error.strerror}") from None


def _remove(path: str, parent: TrustedDirectory) -> None:
    """Remove what a daemon that has died here has left behind."""
    name = os.path.basename(path)
    if parent.stat(name) is None:
        return
    with open_directory(path, owners=owners()) as directory:
        for each in (KEY, CERTIFICATE):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each, dir_fd=directory.fd)
    os.rmdir(name, dir_fd=parent.fd)


def _write(directory: TrustedDirectory, name: str, data: bytes) -> None:
    descriptor = directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
