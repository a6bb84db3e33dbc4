"""supervisortw, which these benchmarks are for."""

from __future__ import annotations

import socket
from pathlib import Path

from peers.base import NotInstalled, Peer, Site, printed_by


class Supervisortw(Peer):
    """Our own programs, told from those of supervisor, which have the same names."""

    name = "supervisortw"
    how_to_install = "pip install . in a virtual environment; give its bin directory by --bin"

    def find(self) -> str:
        """Find a supervisord that says that it is ours, and the supervisorctl beside it."""
        for candidate in self.candidates("supervisord"):
            version = printed_by(candidate, "--version")
            if "supervisortw" in version:
                self._daemon = candidate
                self._client = str(Path(candidate).with_name("supervisorctl"))
                return version.split()[1]
        raise NotInstalled(self.how_to_install)

    def prepare(self, site: Site) -> None:
        """Write supervisord.conf."""
        here = site.directory
        lines = [
            "<supervisord>",
            f"  socket-name {here}/socket",
            f"  state-directory {here}/state",
            f"  pidfile {here}/pid",
            f"  logfile {here}/daemon.log",
        ]
        for name in site.names:
            lines += [f"  <program {name}>", f"    command {site.command(name)}"]
            if site.user is not None:
                lines.append(f"    user {site.user}")
            if not site.keep_output:
                lines.append("    logfile none")
            if site.rotation is not None:
                lines.append(f"    logfile-size {site.rotation.size}")
                lines.append(f"    logfile-backups {site.rotation.backups}")
            lines.append("  </program>")
        lines.append("</supervisord>")
        (here / "supervisord.conf").write_text("\n".join(lines) + "\n")

    def daemon(self, site: Site) -> list[str]:
        """Return the command of supervisord."""
        return [self._daemon, "-n", "-c", str(site.directory / "supervisord.conf")]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of supervisorctl."""
        words = ["status"] if action == "status" else [action, "all"]
        return [self._client, "-s", str(site.directory / "socket"), *words]

    def killable(self, site: Site) -> int | None:
        """Return the daemon that its holder starts again."""
        return int((site.directory / "pid").read_text())

    def answers(self, site: Site) -> bool:
        """Connect to the control socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(site.directory / "socket")) == 0
