"""The configuration that is in force: where it is read from, and how the next daemon gets it."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.logger import Logger

from supervisortw.config import kept
from supervisortw.config.files import FileSource
from supervisortw.config.kept import Recorder, Snapshot
from supervisortw.config.loader import load_daemon
from supervisortw.core.model import Configuration
from supervisortw.daemon import heap
from supervisortw.daemon.heritage import Heritage
from supervisortw.daemon.keptfile import kept_configuration
from supervisortw.daemon.places import refuse_unsafe_files
from supervisortw.errors import LocalError

log = Logger(namespace="supervisor")

READ_AT_ONCE = 4  # a `reload` and some who ask for `reread` meanwhile


class InForce:
    """Reads the configuration at ``path``, and keeps what was read; ``keys`` are those of `load_daemon`.

    Everything here may block.
    """

    def __init__(self, path: str, **keys: Any) -> None:
        self._path = path
        self._keys = keys
        self._read: deque[tuple[Configuration, Recorder]] = deque(maxlen=READ_AT_ONCE)
        self._snapshot: Snapshot | None = None

    def from_disk(self) -> Configuration:
        """Return what the disk says; raises ConfigError, also if somebody else could have written it."""
        recorder = Recorder()
        configuration = self._load(recorder)
        refuse_unsafe_files(configuration.files)
        self._read.append((configuration, recorder))
        return configuration

    def keep(self, configuration: Configuration, state_directory: str) -> None:
        """Let the next daemon have what was read for ``configuration``. Raises LocalError."""
        self._snapshot = None
        [recorder] = [recorder for read, recorder in self._read if read is configuration]
        snapshot = recorder.snapshot()
        kept_configuration(state_directory).write(snapshot.encode())
        self._snapshot = snapshot

    def kept(self, state_directory: str) -> Configuration | None:
        """Return what the daemon before has kept; None if there is nothing that can be used."""
        return kept_configuration(state_directory).read(self._decode)

    def first(self, heritage: Heritage, state_directory: str) -> tuple[Configuration, bool]:
        """Return what a daemon begins with, and whether to apply what the disk says right afterwards.

        Programs that are left are taken over under the configuration that they were started by. A
        daemon that was started again goes on with that; one that somebody has started does what is on
        the disk. Raises ConfigError.
        """
        if heritage.follows:
            configuration = self.kept(state_directory)
            if configuration is not None:
                return configuration, not heritage.restarted and self.differs_from_disk()
        configuration = self.from_disk()
        try:
            self.keep(configuration, state_directory)
        except LocalError as error:
            log.error("{error}", error=error)
        return configuration, False

    def _decode(self, data: bytes) -> Configuration:
        snapshot = kept.decode(data)
        configuration = self._load(snapshot)
        self._snapshot = snapshot
        return configuration

    def _load(self, files: FileSource) -> Configuration:
        configuration = load_daemon(self._path, files=files, **self._keys)
        heap.give_back()  # what reading has needed: 2 MiB for 1,000 programs
        return configuration

    def differs_from_disk(self) -> bool:
        """True if what is kept is not what the disk says now."""
        return self._snapshot is not None and kept.differs_from_disk(self._snapshot)
