"""A whole configuration as it was read, kept so that it can be read again when the disk says otherwise.

Known here: which texts and names a load has seen. Not known: where a snapshot lies, and variables of
the environment and the contents of environment files, which are no part of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisortw.config import files
from supervisortw.config.wording import shown
from supervisortw.core.limits import LIMITS
from supervisortw.errors import LocalError

VERSION = 1
KEYS = {"version", "check", "files", "patterns"}

_Pattern = tuple[str, str]  # a directory, and what is looked for in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a load has read: the text of each file by its path, and what each pattern has found.

    The first file is the main one. A FileSource: what is loaded from it is what was loaded then.
    """

    texts: Mapping[str, str]
    found: Mapping[_Pattern, tuple[str, ...]]

    @property
    def source(self) -> str:
        """The path of the main file."""
        return next(iter(self.texts))

    def read(self, path: str) -> files.Source:
        """Return the file at ``path`` as it was, or raise Unreadable."""
        if path not in self.texts:
            raise files.Unreadable("it is not in the configuration that was kept")
        # Whoever included a file into itself by another name was refused when it was read first.
        return files.Source(path, self.texts[path], path)

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        """Return the paths that ``pattern`` had found in ``directory``."""
        return self.found.get((directory, pattern), ())

    def encode(self) -> bytes:
        """Return all of it as bytes. Raises LocalError if that is too much."""
        texts = [[path, text] for path, text in self.texts.items()]
        found = [[*asked, list(paths)] for asked, paths in self.found.items()]
        check = _checksum(texts, found)
        data = _json({"version": VERSION, "check": check, "files": texts, "patterns": found})
        if len(data) > LIMITS.kept_bytes:
            raise _too_large()
        return data


class Recorder:
    """The disk, seen once: each file and each pattern is looked at the first time it is asked for."""

    def __init__(self, disk: files.FileSource = files.DISK) -> None:
        self._disk = disk
        self._sources: dict[str, files.Source] = {}
        self._found: dict[_Pattern, tuple[str, ...]] = {}
        self._room = LIMITS.kept_bytes

    def read(self, path: str) -> files.Source:
        """Return the file at ``path``, or raise Unreadable."""
        source = self._sources.get(path) or self._disk.read(path)
        if path not in self._sources:
            self._room -= len(source.text)
            if self._room >= 0:
                self._sources[path] = source
        return source

    def matching(self, directory: str, pattern: str) -> tuple[str, ...]:
        """Return the paths that match ``pattern`` in ``directory``."""
        asked = (directory, pattern)
        if asked not in self._found:
            self._found[asked] = self._disk.matching(directory, pattern)
        return self._found[asked]

    def snapshot(self) -> Snapshot:
        """Return what a load that had no problems has read. Raises LocalError if it is too much."""
        if self._room < 0:
            raise _too_large()
        texts = {path: source.text for path, source in self._sources.items()}
        return Snapshot(texts=texts, found=dict(self._found))


def decode(data: bytes) -> Snapshot:
    """Return the snapshot that `Snapshot.encode` has made ``data`` of. Raises LocalError."""
    if len(data) > LIMITS.kept_bytes:
        raise _too_large()
    try:
        record = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise _damaged("it cannot be decoded") from None
    if not isinstance(record, dict) or "version" not in record:
        raise _damaged("it is something else")
    if record["version"] != VERSION:
        version = shown(str(record["version"])[:20])
        raise _damaged(f"it has version {version}, and this supervisord knows {VERSION}")
    texts, found = record.get("files", []), record.get("patterns", [])
    if record.keys() != KEYS or not _are_texts(texts) or not _are_patterns(found):
        raise _damaged("its parts are not what they should be")
    if record["check"] != _checksum(texts, found):
        raise _damaged("its checksum is another one")
    return Snapshot(
        texts=dict(texts),
        found={(directory, pattern): tuple(paths) for directory, pattern, paths in found},
    )


def differs_from_disk(snapshot: Snapshot) -> bool:
    """True if a load from the disk would read anything else than ``snapshot`` has. It blocks."""
    disk = files.DISK
    try:
        texts_differ = any(disk.read(path).text != text for path, text in snapshot.texts.items())
    except files.Unreadable:
        return True
    return texts_differ or any(
        disk.matching(*asked) != paths for asked, paths in snapshot.found.items()
    )


def _checksum(texts: list[list[str]], found: list[list[Any]]) -> int:
    return zlib.crc32(_json([texts, found]))


def _json(value: object) -> bytes:
    # Names of files that are not UTF-8 have characters that only ASCII has a way to write.
    return json.dumps(value, ensure_ascii=True).encode("ascii")


def _are_texts(given: Any) -> bool:
    return (
        isinstance(given, list)
        and 1 <= len(given) <= LIMITS.files
        and all(_is_strings(each) and len(each) == 2 for each in given)
    )


def _are_patterns(given: Any) -> bool:
    return isinstance(given, list) and all(
        isinstance(each, list) and len(each) == 3 and _is_strings(each[:2]) and _is_strings(each[2])
        for each in given
    )


def _is_strings(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)


def _damaged(why: str) -> LocalError:
    return LocalError(f"this is no configuration that was kept: {why}")


def _too_large() -> LocalError:
    return LocalError(f"the configuration is too large to be kept: over {LIMITS.kept_bytes} bytes")
