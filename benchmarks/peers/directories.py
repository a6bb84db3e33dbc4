"""What runit and s6 have in common: a directory with an executable ``run`` for each child."""

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
        (directory / name).mkdir()
        run = directory / name / "run"
        run.write_text(f"#!/bin/sh\nexec {prefix}{site.command(name)}\n")
        run.chmod(0o755)
