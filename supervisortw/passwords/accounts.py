"""The users and verifiers that a daemon goes by: always those that stand in the password file now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import Passwd
from supervisortw.errors import LocalError
from supervisortw.passwords.changes import FileChanges
from supervisortw.passwords.passwdfile import BadPasswdFile, PasswdFile, Stamp

log = Logger(namespace="supervisor")


class Accounts:
    """What is in the password file at ``path``; None if there shall be none."""

    def __init__(self, path: str | None, reactor: Any) -> None:
        self._reactor = reactor
        self._changed: Callable[[], None] | None = None
        self._changes: FileChanges | None = None
        self._needed = False
        self._later: IDelayedCall | None = None  # a look that the kernel has not asked for
        self._use(path)

    def _use(self, path: str | None) -> None:
        self._file = None if path is None else PasswdFile(path)
        self._passwd: Passwd | None = None
        self._judged: Stamp | None = None  # of the content that is known, good or bad
        self._seen: Stamp | None = None  # at the last look
        self._settled = True  # what was seen then is known, good or bad
        self._trouble = ""

    @property
    def is_wanted(self) -> bool:
        """True if there shall be a file, whether it is there and good or not."""
        return self._file is not None

    def passwd(self) -> Passwd | None:
        """Return what is in the file now, or None if there is none that can be believed.

        This takes one look at the file; it is read again only if it has changed, and the log tells of
        new trouble.
        """
        if self._file is None:
            return None
        stamp = self._file.look()
        if stamp is None or stamp != self._judged:
            self._read(self._file)
            if self._judged is not None and (self._judged != self._seen or not self._settled):
                self._look_in(0)  # whoever watches should know it, too
        return self._passwd

    def _read(self, file: PasswdFile) -> None:
        trouble = ""
        self._passwd, self._judged = None, None
        try:
            self._passwd = file.read()
            self._judged = file.stamp
        except BadPasswdFile as error:
            self._judged = file.stamp
            trouble = str(error)
        except LocalError as error:  # can be mended beside the file, so it is tried again each time
            trouble = str(error)
        if trouble and trouble != self._trouble:
            log.critical("nobody can log in with a password: {trouble}", trouble=trouble)
        elif self._trouble and not trouble:
            log.info("passwords are those of {path} again", path=file.path)
        self._trouble = trouble

    def note(self) -> str | None:
        """Return what an operator should know of the file, if it is not as it should be."""
        passwd = self.passwd()
        if self._file is None:
            return None
        if passwd is None:
            return f"nobody can log in with a password: {self._trouble}"
        if passwd.enabled == 0:
            return f"nobody can log in with a password: {self._file.path} has no enabled user"
        return None

    def move(self, path: str | None) -> None:
        """Go by another file from now on. Where somebody watches, they are told of the change."""
        if path == (self._file.path if self._file else None):
            return
        self._stop()
        self._use(path)
        if self._changed is not None:
            self._start()
            self._changed()

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever the file has changed; `passwd` then returns what is new."""
        self._changed = changed
        self._stop()
        self._start()

    def sessions_open(self, are_open: bool) -> None:
        """Say whether anybody is logged in with a password.

        Only then does a change matter at once; the next login looks at the file anyway.
        """
        self._needed = are_open
        if self._changes is not None:
            self._changes.need(are_open)

    def close(self) -> None:
        """Watch no more."""
        self._changed = None
        self._stop()

    def _start(self) -> None:
        if self._file is not None:
            self._changes = FileChanges(self._file.path, self._reactor, self._look)
            self._changes.begin()
            self._changes.need(self._needed)
            self._note_what_is_there(self._file)

    def _stop(self) -> None:
        self._do_not_look()
        changes, self._changes = self._changes, None
        if changes is not None:
            changes.end()

    def _look(self) -> None:
        """Tell of a change, once; and again if it could not be read at first."""
        self._do_not_look()
        assert self._file is not None, "only a file is watched"
        before, was_settled = self._seen, self._settled
        self._note_what_is_there(self._file)
        is_news = self._seen != before or (self._settled and not was_settled)
        if is_news and self._changed is not None:
            self._changed()

    def _note_what_is_there(self, file: PasswdFile) -> None:
        self._seen = file.look()
        self._settled = True  # as long as we read it
        self.passwd()
        self._do_not_look()
        self._settled = self._judged == self._seen
        if self._needed and not self._settled:
            self._look_in(LIMITS.passwd_look_seconds)

    def _look_in(self, seconds: float) -> None:
        self._do_not_look()
        if self._changes is not None:
            self._later = self._reactor.callLater(seconds, self._look)

    def _do_not_look(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()
