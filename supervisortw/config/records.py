"""From the values of closed sections to the settings of the daemon and of the client.

Here is what needs more than one key to decide: defaults that depend on others, paths, and files that
cannot be shared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from supervisortw.config import places
from supervisortw.config.paths import Claims, Directories, addresses, check_socket_path
from supervisortw.config.problems import Place, Problems
from supervisortw.config.section import Values
from supervisortw.config.wording import shown
from supervisortw.core.model import (
    Address,
    ClientSettings,
    Settings,
    UnixAddress,
)
from supervisortw.errors import ConfigError

NOBODY_GETS_IN = "'peer-login no' asks everybody for a password, so it needs 'passwdfile'"
ONE_OF_TWO = "'tls-certificate' and 'tls-key' belong together; give both, or neither"
NO_PROMPT = "'prompt' has no effect here; it belongs in supervisorctl.conf"


def settings(
    values: Values, directories: Directories, problems: Problems
) -> tuple[Settings, Claims]:
    """Return the daemon's own settings, and the files that they use."""

    def path(attribute: str) -> str | None:
        text = values.get(attribute)
        return None if text is None else directories.absolute(text, values.place(attribute))

    state = path("state_directory") or _state_directory(values, directories, problems)
    mode = "socket_chmod" if values.is_given("socket_chmod") else "socket_mode"
    sockets = _sockets(values, directories, problems)
    own = Settings(
        sockets=tuple(sockets),
        state_directory=state,
        logfile=path("logfile") or os.path.join(state, "supervisord.log"),
        logfile_size=values.get("logfile_size"),
        logfile_backups=values.get("logfile_backups"),
        pidfile=path("pidfile")
        or _in_runtime_directory(places.PID_NAME, values, directories, problems),
        socket_mode=values.get(mode),
        socket_chown=values.get("socket_chown"),
        passwdfile=path("passwdfile"),
        peer_login=values.get("peer_login"),
        tls=values.get("tls"),
        tls_certificate=path("tls_certificate"),
        tls_key=path("tls_key"),
        insecure_plaintext=values.get("insecure_plaintext"),
        insecure_anonymous=values.get("insecure_anonymous"),
        insecure_remote=values.get("insecure_remote") is not None,
        loglevel=values.get("loglevel"),
        nodaemon=values.get("nodaemon"),
        directory=path("directory"),
        umask=values.get("umask"),
        user=values.get("user"),
        max_starting=values.get("max_starting"),
        start_delay=values.get("start_delay"),
    )
    if own.passwdfile is None and not own.peer_login:
        problems.add(values.place("peer_login"), NOBODY_GETS_IN)
    if (own.tls_certificate is None) != (own.tls_key is None):
        given = "tls_key" if own.tls_certificate is None else "tls_certificate"
        problems.add(values.place(given), ONE_OF_TWO)
    if values.is_given("prompt"):
        problems.warn(values.place("prompt"), NO_PROMPT)
    return own, _claims(own, sockets, values, problems)


def _claims(
    own: Settings, sockets: dict[Address, Place], values: Values, problems: Problems
) -> Claims:
    claims = Claims(problems)
    claims.claim(own.logfile, "the daemon's log", values.place("logfile"))
    claims.claim(own.pidfile, "the pid file", values.place("pidfile"))
    if own.passwdfile is not None:
        claims.claim(own.passwdfile, "the password file", values.place("passwdfile"))
    if own.tls_certificate is not None and own.tls_key not in (None, own.tls_certificate):
        claims.claim(own.tls_certificate, "the certificate", values.place("tls_certificate"))
    if own.tls_key is not None:
        claims.claim(own.tls_key, "the key of the certificate", values.place("tls_key"))
    for address, place in sockets.items():
        claims.claim(str(address), "a control socket", place)
    return claims


def _sockets(values: Values, directories: Directories, problems: Problems) -> dict[Address, Place]:
    given = values.get("socket_name")
    if given:
        return addresses(given, values.places("socket_name"), directories, problems)
    path = _in_runtime_directory(places.SOCKET_NAME, values, directories, problems)
    check_socket_path(path, "socket-name", values.opened, problems)
    return {UnixAddress(path=path): values.opened}


def _state_directory(values: Values, directories: Directories, problems: Problems) -> str:
    try:
        return places.state_directory(uid=directories.uid)
    except ConfigError as error:
        problems.add(values.opened, error.problems[0].message)
        return "/"


def _in_runtime_directory(
    name: str, values: Values, directories: Directories, problems: Problems
) -> str:
    try:
        return os.path.join(places.runtime_directory(uid=directories.uid), name)
    except ConfigError as error:
        problems.add(values.opened, error.problems[0].message)
        return f"/{name}"


def client_settings(values: Values, directories: Directories, problems: Problems) -> ClientSettings:
    """Return the settings of supervisorctl."""

    def path(attribute: str) -> str | None:
        text = values.get(attribute)
        return None if text is None else directories.absolute(text, values.place(attribute))

    return ClientSettings(
        sockets=tuple(_sockets(values, directories, problems)),
        prompt=values.get("prompt"),
        noauth=values.get("noauth"),
        user=values.get("user"),
        password_file=path("password_file"),
        tls_ca=path("tls_ca"),
        tls_name=values.get("tls_name"),
        fingerprints=_fingerprints(values, problems),
        insecure_plaintext=values.get("insecure_plaintext"),
    )


def _fingerprints(values: Values, problems: Problems) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    given = values.get("fingerprint") or []
    for (address, digest), place in zip(given, values.places("fingerprint"), strict=True):
        if found.setdefault(str(address), digest) != digest:
            problems.add(place, f"a second fingerprint for {shown(str(address))}")
    return MappingProxyType(found)
