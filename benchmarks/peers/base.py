"""What a supervisor has to tell about itself to take part."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

VERSION_SECONDS = 20


@dataclass(frozen=True)
class Rotation:
    """A log file becomes an old one when it has ``size`` bytes; so many old ones are kept."""

    size: int
    backups: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where one trial takes place, and with which children."""

    directory: Path
    names: Sequence[str]
    child: Path
    user: str | None
    """Who the children are, if not the user of the daemon."""
    keep_output: bool
    """Whether output of the children is handled as each supervisor does by default."""
    arguments: Sequence[str] = ()
    """What a child is told beside the FIFO and its name."""
    rotation: Rotation | None = None
    """How output has to be kept in files, where that is what is measured."""
    way: str = ""
    """Which of the peer's ways to keep output is taken."""

    @property
    def fifo(self) -> Path:
        """Return where the children tell that they have started."""
        return self.directory / "starts"

    def command(self, name: str) -> str:
        """Return the command line of one child."""
        return " ".join([str(self.child), str(self.fifo), name, *self.arguments])


class NotInstalled(Exception):
    """The peer is not there; the text tells how to get it."""


class Peer(ABC):
    """One supervisor: its configuration, its daemon and its client."""

    name: ClassVar[str]
    how_to_install: ClassVar[str]
    word_for_up: ClassVar[str] = "RUNNING"
    """What its status prints once for each child that is up."""
    ways: ClassVar[Sequence[str]] = ("",)
    """In what ways it can keep output; the one with the fastest median counts."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """Find its programs, first in ``directories``, then in PATH. Raises NotInstalled."""
        self._directories = directories
        self.version = self.find()

    @abstractmethod
    def find(self) -> str:
        """Find all programs that are needed and return the version."""

    @abstractmethod
    def prepare(self, site: Site) -> None:
        """Write the configuration."""

    @abstractmethod
    def daemon(self, site: Site) -> list[str]:
        """Return the command that runs it in the foreground."""

    @abstractmethod
    def client(self, site: Site, action: str) -> list[str]:
        """Return the command that does ``start``, ``stop`` or ``status`` for all children."""

    def killable(self, site: Site) -> int | None:
        """Return the pid of a daemon that somebody else of its own starts again, if it is killed."""
        return None

    def answers(self, site: Site) -> bool:
        """Tell whether such a daemon listens to its client."""
        return False

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        for candidate in self.candidates(name):
            return candidate
        raise NotInstalled(self.how_to_install)

    def candidates(self, name: str) -> list[str]:
        """Return every program of this name, the one to prefer first."""
        found = [shutil.which(name, path=str(directory)) for directory in self._directories]
        return [path for path in (*found, shutil.which(name)) if path is not None]


def printed_by(*command: str) -> str:
    """Return what a command prints, or nothing if it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def debian_version(package: str) -> str:
    """Return the version of an installed Debian package."""
    return printed_by("dpkg-query", "-W", "-f", "${Version}", package) or "version unknown"
