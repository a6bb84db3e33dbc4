"""What a daemon takes over from the one before it: the journal, the holder, and the configuration."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from twisted.logger import Logger

from supervisortw.core.chronicle import Left
from supervisortw.daemon import proc
from supervisortw.daemon.journal import Journal, what_was_left
from supervisortw.daemon.link import HolderLink
from supervisortw.daemon.store import NoStore
from supervisortw.interfaces import DescriptorStore

log = Logger(namespace="supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heritage:
    """What is there when a daemon begins.

    ``link`` leads to the holder, None without one. ``left`` is what the journal tells, empty if there
    is nothing to go on with. ``follows`` is true if there was a daemon whose processes may still be
    there. ``complete`` is true if the journal tells all about them. ``token`` marks the processes of
    both.
    """

    link: HolderLink | None
    left: Left
    follows: bool
    complete: bool
    world: str
    token: str

    @property
    def restarted(self) -> bool:
        """True if the holder has started the daemon again."""
        return self.link is not None and self.link.generation > 0

    @property
    def store(self) -> DescriptorStore:
        """Where descriptors are kept beyond the end of the daemon, if there is such a place."""
        return NoStore() if self.link is None else self.link

    def journal(self, directory: str) -> Journal:
        """Return the journal that goes on with what was left."""
        return Journal(directory, self.world, self.token, self.left)


def inherit(directory: str, link: HolderLink | None) -> Heritage:
    """Return what is left in the state directory ``directory``."""
    world = proc.world()
    found = what_was_left(directory)
    if found is not None and found.world not in ("", world):
        log.info("the machine was started since; nothing can be left of the programs")
        found = None
    restarted = link is not None and link.generation > 0
    left = found or Left()
    if left.ending and not restarted:
        left.ending, left.exit_code, left.afresh = False, 0, True
    return Heritage(
        link=link,
        left=left,
        follows=restarted or found is not None,
        complete=found is not None and bool(found.token) and not found.damaged,
        world=world,
        token=left.token or secrets.token_hex(8),
    )
