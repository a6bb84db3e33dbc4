"""s6, from Debian: one s6-supervise for each child, below s6-svscan."""

from __future__ import annotations

from peers.base import Peer, Site, debian_version
from peers.directories import scanned, services, write_loggers, write_services

SPARE_SERVICES = 8


class S6(Peer):
    """Its clients take one service each, so a shell calls them in a loop."""

    name = "s6"
    how_to_install = "apt-get install s6"
    word_for_up = "up (pid "

    def find(self) -> str:
        """Find its programs."""
        self._daemon = self.program("s6-svscan")
        self._clients = {
            "start": f"{self.program('s6-svc')} -u",
            "stop": f"{self.program('s6-svc')} -d",
            "status": self.program("s6-svstat"),
        }
        self._as_user = self.program("s6-setuidgid")
        self._logger = self.program("s6-log")
        self.program("s6-supervise")
        return debian_version("s6")

    def prepare(self, site: Site) -> None:
        """Write the service directories."""
        write_services(site, self._as_user)
        if site.rotation is not None:
            limits = f"n{site.rotation.backups} s{site.rotation.size}"
            write_loggers(site, f"{self._logger} {limits}")

    def daemon(self, site: Site) -> list[str]:
        """Return the command of s6-svscan, which has to be told how many services there may be."""
        services = len(site.names) * (1 if site.rotation is None else 2) + SPARE_SERVICES
        return [self._daemon, "-c", str(services), str(scanned(site))]

    def client(self, site: Site, action: str) -> list[str]:
        """Return a loop over all services."""
        loop = f'for service; do {self._clients[action]} "$service" || exit; done'
        return ["/bin/sh", "-c", loop, "sh", *services(site)]
