"""The small C program: what the kernel allows."""

from __future__ import annotations

import os
import pwd

from building import HOW_TO_INSTALL

from peers.base import Peer, Site


class Floor(Peer):
    """Makes children by vfork and makes them again when signalfd tells that they died."""

    name = "floor"
    how_to_install = HOW_TO_INSTALL

    def find(self) -> str:
        """Find the compiled program."""
        self._floor = self.program("floor")
        return "floor.c"

    def prepare(self, site: Site) -> None:
        """Do nothing: it takes all from its command line."""

    def daemon(self, site: Site) -> list[str]:
        """Return the command of the server."""
        socket, identity = str(site.directory / "socket"), _identity(site.user)
        child = [str(site.child), str(site.fifo), *site.names]
        return [self._floor, "serve", socket, identity, *child]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of its client."""
        return [self._floor, "ask", str(site.directory / "socket"), action]


def _identity(user: str | None) -> str:
    if user is None:
        return "-"
    account = pwd.getpwnam(user)
    groups = ",".join(map(str, os.getgrouplist(user, account.pw_gid)))
    return f"{account.pw_uid}:{account.pw_gid}:{groups}"
