"""Opening log files, by whom it is safe: the daemon itself, or the user that the program runs as.

Root never opens a file by name in a directory that somebody else can change. Where a log lies in such
a directory and the program runs as another user, a short-lived child with that user's identity opens
it, and can open no more than that user could.
"""

from __future__ import annotations

import os

from supervisortw.core.model import Process
from supervisortw.daemon.identity import identity_of
from supervisortw.daemon.paths import open_as, open_regular
from supervisortw.daemon.places import owners
from supervisortw.errors import UnsafePath

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
MODE = 0o640


def open_daemon_log(path: str) -> int:
    """Open the daemon's own log. Raises LocalError."""
    return open_regular(path, FLAGS, MODE, owners=owners())


def open_program_log(process: Process, path: str) -> int:
    """Open a log of a process. Raises LocalError."""
    identity = identity_of(process.user, process.unix_group)
    believed = owners() | ({identity.uid} if identity else frozenset())
    try:
        return open_regular(path, FLAGS, MODE, owners=owners())
    except UnsafePath:
        if identity is None or identity.uid == 0:
            raise
    return open_as(identity.uid, identity.gid, identity.groups, path, FLAGS, MODE, owners=believed)
