"""The small C programs: what the kernel allows."""

from __future__ import annotations

import os
import pwd

from building import HOW_TO_INSTALL

from peers.base import Peer, Site


class Floor(Peer):
    """Makes children by vfork and makes them again when signalfd tells that they died.

    Where output has to be kept, another program moves it from the pipes to the files.
    """

    name = "floor"
    ways = ("splice 262144", "splice 1048576", "read 262144", "read 1048576")
    how_to_install = HOW_TO_INSTALL

    def find(self) -> str:
        """Find the compiled programs."""
        self._floor = self.program("floor")
        self._capture = self.program("capture")
        return "floor.c"

    def prepare(self, site: Site) -> None:
        """Do nothing: they take all from their command lines."""

    def daemon(self, site: Site) -> list[str]:
        """Return the command of the server, or of the one who keeps output."""
        child = [str(site.child), str(site.fifo)]
        if site.rotation is not None:
            keep = [*site.way.split(), str(site.rotation.size), str(site.directory)]
            return [self._capture, *keep, *child, *site.arguments, *site.names]
        socket, identity = str(site.directory / "socket"), _identity(site.user)
        return [self._floor, "serve", socket, identity, *child, *site.names]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of its client."""
        return [self._floor, "ask", str(site.directory / "socket"), action]


def _identity(user: str | None) -> str:
    if user is None:
        return "-"
    account = pwd.getpwnam(user)
    groups = ",".join(map(str, os.getgrouplist(user, account.pw_gid)))
    return f"{account.pw_uid}:{account.pw_gid}:{groups}"
