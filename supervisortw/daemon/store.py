"""Keeping descriptors where there is no holder that could."""

from __future__ import annotations


class NoStore:
    """A DescriptorStore that keeps nothing: what is open ends with the daemon."""

    def keep(self, name: str, descriptor: int) -> None:
        """Keep nothing."""

    def drop(self, name: str) -> None:
        """Do nothing: nothing is kept."""

    def take(self, name: str) -> int | None:
        """Return None: nothing was kept."""
        return None
