"""Tells that a file has changed: as soon as the kernel says so, or at a look every now and then."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.filepath import FilePath

from supervisortw.core.limits import LIMITS


class FileChanges:
    """Calls ``look`` whenever the file at ``path`` may have changed, from `begin` to `end`.

    Where there is no inotify, or it is used up, or the directory is gone, that is every 30 s, and only
    while `need` says that it matters to somebody.
    """

    def __init__(self, path: str, reactor: Any, look: Callable[[], None]) -> None:
        self._directory, self._name = os.path.split(path)
        self._reactor = reactor
        self._look = look
        self._notifier: Any = None
        self._timer: IDelayedCall | None = None
        self._needed = False

    def begin(self) -> None:
        """Tell from now on."""
        self._watch()
        self._look_later()

    def need(self, needed: bool) -> None:
        """Say whether anybody would be harmed by a change that is not noticed."""
        self._needed = needed
        self._look_later()

    def end(self) -> None:
        """Tell nothing any more."""
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.loseConnection()
        self._needed = False
        self._look_later()

    def _watch(self) -> None:
        """Have the kernel tell, if it does."""
        try:
            from twisted.internet import inotify  # noqa: PLC0415  # cannot be imported everywhere
        except ImportError:
            return
        gone = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_UNMOUNT
        changes = inotify.IN_CLOSE_WRITE | inotify.IN_MOVED | inotify.IN_DELETE | inotify.IN_ATTRIB

        def noticed(_: object, path: FilePath[bytes], mask: int) -> None:
            if mask & gone:
                self._lost()
            if mask & gone or path.basename() == os.fsencode(self._name):
                self._look()

        try:
            notifier = inotify.INotify(self._reactor)
        except (OSError, inotify.INotifyError):
            return
        notifier.startReading()
        try:
            notifier.watch(FilePath(self._directory), mask=changes | gone, callbacks=[noticed])
        except (OSError, inotify.INotifyError):
            notifier.loseConnection()
        else:
            self._notifier = notifier

    def _lost(self) -> None:
        """Go on without the kernel: the directory that it watches is not the one of the path now."""
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.loseConnection()
        self._look_later()

    def _look_later(self) -> None:
        """Have a timer while there has to be one, and none otherwise."""
        wanted = self._needed and self._notifier is None
        if self._timer is not None and not wanted:
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and wanted:
            self._timer = self._reactor.callLater(LIMITS.passwd_look_seconds, self._time_to_look)

    def _time_to_look(self) -> None:
        self._timer = None
        self._watch()  # before the look: nothing falls in between
        self._look_later()
        self._look()
