"""Where things are when nobody says otherwise: configuration files, state, sockets.

Looks at the identity of the process, its environment and the names of files; opens nothing.
"""

from __future__ import annotations

import os
import pwd
import sys

from supervisortw.errors import ConfigError, ConfigNotFound, Problem

SOCKET_NAME = "supervisord.sock"
PID_NAME = "supervisord.pid"


def find(
    program: str, *, uid: int | None = None, home: str | None = None, prefix: str | None = None
) -> str:
    """Return the path of the configuration file of ``program`` (supervisord or supervisorctl).

    Raises ConfigNotFound with all places that were tried. The working directory is none of them.
    """
    uid = os.geteuid() if uid is None else uid
    places = [
        os.path.join(sys.prefix if prefix is None else prefix, "etc/supervisortw"),
        "/etc/supervisortw",
        "/usr/local/etc/supervisor",
    ]
    if uid != 0:
        home = _home(uid) if home is None else home
        if home is not None:
            places.insert(0, os.path.join(home, ".config/supervisortw"))
    name = f"{program}.conf"
    paths = [os.path.join(place, name) for place in dict.fromkeys(places)]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise ConfigNotFound(name, paths)


def state_directory(*, uid: int | None = None, home: str | None = None) -> str:
    """Return where a daemon keeps its state if its configuration does not say."""
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return "/var/lib/supervisortw"
    home = _home(uid) if home is None else home
    if home is None:
        reason = f"user {uid} has no home directory, so the place of files has to be given"
        raise ConfigError([Problem("defaults", None, reason)])
    return os.path.join(home, ".local/state/supervisortw")


def runtime_directory(
    *, uid: int | None = None, home: str | None = None, xdg: str | None = None
) -> str:
    """Return where sockets and pid files are if the configuration does not say.

    ``xdg`` stands for the variable XDG_RUNTIME_DIR.
    """
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return "/run/supervisortw" if os.path.isdir("/run") else "/var/run/supervisortw"
    xdg = os.environ.get("XDG_RUNTIME_DIR", "") if xdg is None else xdg
    if os.path.isabs(xdg):
        return os.path.join(xdg, "supervisortw")
    return os.path.join(state_directory(uid=uid, home=home), "run")


def _home(uid: int) -> str | None:
    home = os.environ.get("HOME", "")
    if os.path.isabs(home):
        return home
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        return None
    return home if os.path.isabs(home) else None
