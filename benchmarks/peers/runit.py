"""runit, from Debian: one runsv for each child, below runsvdir."""

from __future__ import annotations

from peers.base import Peer, Site, debian_version
from peers.directories import (
    log_directories,
    scanned,
    services,
    write_loggers,
    write_services,
)

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
        self._logger = self.program("svlogd")
        self.program("runsv")
        return debian_version("runit")

    def prepare(self, site: Site) -> None:
        """Write the service directories."""
        write_services(site, self._as_user)
        if site.rotation is not None:
            write_loggers(site, self._logger)
            for directory in log_directories(site):
                settings = f"s{site.rotation.size}\nn{site.rotation.backups}\n"
                (directory / "config").write_text(settings)

    def daemon(self, site: Site) -> list[str]:
        """Return the command of runsvdir."""
        return [self._daemon, str(scanned(site))]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of sv."""
        return [self._client, "-w", str(CLIENT_SECONDS), action, *services(site)]
