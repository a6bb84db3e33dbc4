"""circus, from the package index."""

from __future__ import annotations

from peers.base import NotInstalled, Peer, Site, printed_by

CLIENT_SECONDS = 60


class Circus(Peer):
    """One watcher with one process for each child."""

    name = "circus"
    how_to_install = (
        "pip install circus in a virtual environment; give its bin directory by --peers"
    )
    word_for_up = ": active"

    def find(self) -> str:
        """Find circusd and circusctl."""
        self._daemon = self.program("circusd")
        self._client = self.program("circusctl")
        version = printed_by(self._daemon, "--version")
        if not version:
            raise NotInstalled(f"{self._daemon} --version does not work")
        return version.split()[-1]

    def prepare(self, site: Site) -> None:
        """Write circus.ini."""
        here = site.directory
        lines = [
            "[circus]",
            f"endpoint = ipc://{here}/control",
            f"pubsub_endpoint = ipc://{here}/events",
        ]
        for name in site.names:
            lines += [f"[watcher:{name}]", f"cmd = {site.command(name)}"]
            if site.user is not None:
                lines.append(f"uid = {site.user}")
            if site.rotation is not None:
                lines += [
                    "stdout_stream.class = FileStream",
                    f"stdout_stream.filename = {here}/{name}.log",
                    f"stdout_stream.max_bytes = {site.rotation.size}",
                    f"stdout_stream.backup_count = {site.rotation.backups}",
                ]
        (here / "circus.ini").write_text("\n".join(lines) + "\n")

    def daemon(self, site: Site) -> list[str]:
        """Return the command of circusd."""
        return [self._daemon, str(site.directory / "circus.ini")]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of circusctl."""
        words = [action] if action == "status" else [action, "--waiting"]
        endpoint = f"ipc://{site.directory}/control"
        return [self._client, "--endpoint", endpoint, "--timeout", str(CLIENT_SECONDS), *words]
