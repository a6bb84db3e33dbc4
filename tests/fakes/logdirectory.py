"""A directory of logs that can be made to fail, or to stop in the middle of something."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from supervisortw.daemon.logdirectory import LogDirectory
from supervisortw.errors import LocalError


class Stopped(BaseException):
    """The daemon has died here."""


class FakeLogDirectory:
    """Works in a real directory.

    ``not_opened`` is why nothing can be opened, ``not_changed`` why nothing can be renamed or removed;
    after ``steps`` changes the daemon dies. ``instead`` is what is opened in place of anything.
    """

    def __init__(self, path: Path) -> None:
        self.place = path
        self.path = str(path)
        self.not_opened = ""
        self.not_changed = ""
        self.instead: tuple[str, int] | None = None
        self.steps = -1
        self.opened: list[int] = []
        self.visits = 0

    @contextmanager
    def visit(self) -> Iterator[LogDirectory]:
        self.visits += 1
        yield self

    def open(self, name: str, flags: int, mode: int) -> int:
        if self.not_opened:
            raise LocalError(self.not_opened)
        path, flags = self.instead or (str(self.place / name), flags)
        if flags & os.O_CREAT and not os.path.exists(path):
            self._step()
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
        except OSError as error:
            raise LocalError(f"{path}: {error.strerror}") from error
        self.opened.append(descriptor)
        return descriptor

    def rename(self, old: str, new: str) -> None:
        self._change()
        os.rename(self.place / old, self.place / new)

    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        for old, new in pairs:
            if self.stat(old) is not None:
                self.rename(old, new)

    def remove(self, name: str) -> None:
        self._change()
        (self.place / name).unlink()

    def close(self) -> None: ...

    def stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(self.place / name, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _change(self) -> None:
        if self.not_changed:
            raise LocalError(self.not_changed)
        self._step()

    def _step(self) -> None:
        if self.steps == 0:
            raise Stopped
        self.steps -= 1
