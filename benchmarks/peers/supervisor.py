"""supervisor, from the package index."""

from __future__ import annotations

from pathlib import Path

from peers.base import NotInstalled, Peer, Site, printed_by

# It keeps up to five descriptors for each child, and demands them all at its start.
FILES_PER_CHILD = 6


class Supervisor(Peer):
    """The one that is known by the name supervisord today."""

    name = "supervisor"
    how_to_install = (
        "pip install supervisor in a virtual environment; give its bin directory by --peers"
    )

    def find(self) -> str:
        """Find a supervisord that prints nothing but its version, and the supervisorctl beside it."""
        for candidate in self.candidates("supervisord"):
            version = printed_by(candidate, "--version")
            if version.replace(".", "").isdigit():
                self._daemon = candidate
                self._client = str(Path(candidate).with_name("supervisorctl"))
                return version
        raise NotInstalled(self.how_to_install)

    def prepare(self, site: Site) -> None:
        """Write supervisord.conf, which its client reads, too."""
        here = site.directory
        lines = [
            "[supervisord]",
            "nodaemon = true",
            f"logfile = {here}/daemon.log",
            f"pidfile = {here}/pid",
            f"childlogdir = {here}",
            f"minfds = {max(1024, FILES_PER_CHILD * len(site.names))}",
            "[unix_http_server]",
            f"file = {here}/socket",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl = unix://{here}/socket",
        ]
        for name in site.names:
            lines += [f"[program:{name}]", f"command = {site.command(name)}", "autorestart = true"]
            lines.append("redirect_stderr = true")
            if site.user is not None:
                lines.append(f"user = {site.user}")
            if not site.keep_output:
                lines.append("stdout_logfile = NONE")
            if site.rotation is not None:
                lines.append(f"stdout_logfile_maxbytes = {site.rotation.size}")
                lines.append(f"stdout_logfile_backups = {site.rotation.backups}")
        (here / "supervisord.conf").write_text("\n".join(lines) + "\n")

    def daemon(self, site: Site) -> list[str]:
        """Return the command of supervisord."""
        return [self._daemon, "-c", str(site.directory / "supervisord.conf")]

    def client(self, site: Site, action: str) -> list[str]:
        """Return the command of supervisorctl."""
        words = ["status"] if action == "status" else [action, "all"]
        return [self._client, "-c", str(site.directory / "supervisord.conf"), *words]
