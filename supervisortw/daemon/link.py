"""The daemon's end of the connection to the holder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

HOLDER = "SUPERVISOR_HOLDER_FD"


class HolderLink:
    """Tells the holder how the daemon is; see `supervisortw.daemon.holder` for the words."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> HolderLink | None:
        """Return the link that the holder has left in ``environment``, or None without a holder."""
        number = environment.pop(HOLDER, None)
        if number is None:
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def ready(self) -> None:
        """Say that the listeners are bound."""
        self._say("ready")

    def final(self, code: int) -> None:
        """Say that the daemon is about to exit on purpose, with ``code``."""
        self._say(f"final {code}")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a holder that has died needs no telling
            self._channel.sendall(line.encode() + b"\n")
