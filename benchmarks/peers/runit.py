"""runit, from Debian: one runsv for each child, below runsvdir."""

from __future__ import annotations

from peers.base import Peer, Site, debian_version
from peers.directories import scanned, services, write_services

CLIENT_SECONDS = 60


class Runit(Peer):
    """Its client takes many services at once."""

    name = "runit"
    how_to_install = "apt-get install runit"
    word_for_up = "run: "

    def find(self) -> str:
        """Find its programs."""
        self._daemon = self.program("runsvdir")
        self._client = self.program("sv")
        self._as_user = f"{self.program('chpst')} -u"
        self.program("runsv")
        return debian_version("runit")

    def prepare(self, site: Site) -> None:
        """Write the service directories."""
        write_services(site, self._as_user)

    def daemon(self, site: Site) -> list[str]:
        """Return the command of runsvdir."""
        return [self._daemon, str(scanned(site))]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of sv."""
        return [self._client, "-w", str(CLIENT_SECONDS), action, *services(site)]
