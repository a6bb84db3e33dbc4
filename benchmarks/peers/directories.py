"""What runit and s6 have in common: a directory with an executable ``run`` for each child.

One who keeps the output of a child has a directory ``log`` in it, with another ``run``.
"""

from __future__ import annotations

from pathlib import Path

from peers.base import Site


def services(site: Site) -> list[str]:
    """Return the directory of every child."""
    return [str(scanned(site) / name) for name in site.names]


def scanned(site: Site) -> Path:
    """Return the directory that has all of them in it."""
    return site.directory / "services"


def write_services(site: Site, as_user: str) -> None:
    """Write all of them.

    ``as_user`` is the command that becomes another user and then runs what stands behind it.
    """
    directory = scanned(site)
    directory.mkdir()
    prefix = f"{as_user} {site.user} " if site.user is not None else ""
    for name in site.names:
        _write_service(directory / name, prefix + site.command(name))


def write_loggers(site: Site, command: str) -> None:
    """Let ``command DIRECTORY`` keep the output of each child."""
    for service, kept in zip(services(site), log_directories(site), strict=True):
        kept.mkdir()
        _write_service(Path(service) / "log", f"{command} {kept}")


def log_directories(site: Site) -> list[Path]:
    """Return where the output of every child is kept."""
    return [site.directory / f"{name}.logs" for name in site.names]


def _write_service(directory: Path, command: str) -> None:
    directory.mkdir()
    run = directory / "run"
    run.write_text(f"#!/bin/sh\nexec {command}\n")
    run.chmod(0o755)
