"""The deputies of a daemon: who does something to the files of a user, in that user's name.

A request blocks the daemon for about 0.1 ms, and 2 ms more if a deputy has to be made. A file system
that hangs blocks it for LIMITS.deputy_answer_seconds, once: the deputy is killed, and for
LIMITS.deputy_hung_seconds everything in that directory fails at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import deputy
from supervisortw.daemon.deputy import DONE, IDENTITY, Who
from supervisortw.daemon.exits import ExitWatcher, bury
from supervisortw.daemon.filewords import FORBIDDEN, in_words, plain, user, verb
from supervisortw.daemon.logdirectory import check_name
from supervisortw.daemon.trusted import check_file, closed_on_error, make_ready
from supervisortw.errors import LocalError
from supervisortw.interfaces import Clock, Identity, Timer

_Answer = tuple[list[bytes], int]


@dataclass(slots=True)
class _Deputy:
    pid: int
    channel: socket.socket
    used: float
    requests: int = 0


class Deputies:
    """Has files handled in the name of users, by one process for each of them.

    A process is made when it is needed, and kept for LIMITS.deputy_seconds after its last use. Of more
    than LIMITS.deputies the one goes that was not needed for the longest time.
    """

    def __init__(self, clock: Clock, watcher: ExitWatcher) -> None:
        self._clock = clock
        self._watcher = watcher
        self._deputies: dict[Who, _Deputy] = {}  # the one that was used last is the last one
        self._hung: dict[str, float] = {}  # until when a directory is not tried again
        self._timer: Timer | None = None

    def directory(
        self, identity: Identity, path: str, owners: frozenset[int] = frozenset()
    ) -> DeputyDirectory:
        """Open the directory ``path`` as somebody who is not root; whoever that is may open it.

        The user's files are believed, and those of ``owners``. Raises LocalError.
        """
        who = (identity.uid, identity.gid, tuple(identity.groups))
        if identity.uid == 0:
            raise ValueError("root is not asked to handle its own files in this way")
        if os.geteuid() not in (0, identity.uid):
            raise LocalError(f"only root can open {path} as {user(identity.uid)}")
        if not path.startswith("/") or "\0" in path:
            raise LocalError(f"{path!r} is not an absolute path")
        try:
            _, descriptor = self.ask(who, path, [b"directory", os.fsencode(path)])
        except OSError as error:
            what = f"directory {path}"
            if error.errno in FORBIDDEN:
                whose = user(identity.uid)
                raise LocalError(f"{whose} has no permission to reach {what}") from error
            raise plain(error, "reach", what) from error
        return DeputyDirectory(self, who, path, descriptor, owners | {identity.uid})

    def ask(self, who: Who, path: str, request: Sequence[bytes], directory: int = -1) -> _Answer:
        """Have a request carried out in the directory ``path``; see `deputy` for the words.

        Raises LocalError if nobody could do it, and OSError as whoever did it.
        """
        self._refuse_hung(path)
        asked = self._asked(who, path, request, directory)
        try:
            asked.channel.settimeout(LIMITS.deputy_answer_seconds)
            answer, descriptor = deputy.receive(asked.channel)
        except TimeoutError:
            self._let_go(who)
            raise self._hangs(path) from _silence()
        except ConnectionError:  # it has not even read the request
            answer = []
        except OSError:
            self._let_go(who)
            raise
        if not answer:
            self._let_go(who)
            killed = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            whose = user(who[0])
            raise LocalError(f"the process that handles {path} as {whose} was killed") from killed
        asked.used = self._clock.seconds()
        if answer[0] == DONE:
            return answer[1:], descriptor
        number = int(answer[1])
        refusal = OSError(number, os.strerror(number), os.fsdecode(answer[2]))
        if answer[2] == IDENTITY:
            self._let_go(who)
            raise plain(refusal, f"become {user(who[0])} to handle", path) from refusal
        raise refusal

    def close(self) -> None:
        """Let all of them go."""
        for who in list(self._deputies):
            self._let_go(who)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _asked(self, who: Who, path: str, request: Sequence[bytes], directory: int) -> _Deputy:
        """Return a deputy that has been given a request. Raises LocalError."""
        known = self._deputies.get(who)
        if known is not None and known.requests < LIMITS.deputy_requests:
            with contextlib.suppress(ConnectionError):  # it was killed since it was used
                self._give(known, request, directory)
                self._deputies[who] = self._deputies.pop(who)
                return known
        self._let_go(who)
        with in_words(f"start a process of {user(who[0])} for", path):
            fresh = _Deputy(*deputy.start(who), used=self._clock.seconds())
            self._deputies[who] = fresh
            while len(self._deputies) > LIMITS.deputies:
                self._let_go(next(iter(self._deputies)))
            if self._timer is None:
                self._timer = self._clock.callLater(LIMITS.deputy_seconds, self._tidy)
            with contextlib.suppress(ConnectionError):  # what it has to say is there to be read
                self._give(fresh, request, directory)
        return fresh

    @staticmethod
    def _give(asked: _Deputy, request: Sequence[bytes], directory: int) -> None:
        asked.requests += 1
        asked.channel.settimeout(LIMITS.deputy_answer_seconds)
        deputy.send(asked.channel, request, directory)

    def _hangs(self, path: str) -> LocalError:
        now = self._clock.seconds()
        self._hung = {each: until for each, until in self._hung.items() if until > now}
        self._hung[path] = now + LIMITS.deputy_hung_seconds
        return LocalError(
            f"{path} does not answer within {LIMITS.deputy_answer_seconds:g} s: file system hung?"
        )

    def _refuse_hung(self, path: str) -> None:
        left = self._hung.get(path, 0.0) - self._clock.seconds()
        if left > 0:
            raise LocalError(
                f"{path} did not answer when it was tried last; not tried for {left:.0f} s"
            ) from _silence()

    def _tidy(self) -> None:
        """Let those go that nobody has needed for long enough."""
        self._timer = None
        for who, each in list(self._deputies.items()):
            left = each.used + LIMITS.deputy_seconds - self._clock.seconds()
            if left > 0:
                self._timer = self._clock.callLater(left, self._tidy)
                return
            self._let_go(who)

    def _let_go(self, who: Who) -> None:
        gone = self._deputies.pop(who, None)
        if gone is None:
            return
        gone.channel.close()
        # The end of its channel ends it, but not if it hangs, or if its user has stopped it.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(gone.pid, os.WNOHANG)[0] == 0:
                os.kill(gone.pid, signal.SIGKILL)
                bury(gone.pid, self._watcher)


def _silence() -> OSError:
    return OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class DeputyDirectory:
    """A directory in which a user's files are handled in that user's name; see `LogDirectory`.

    Our descriptor of it is only lent to the deputy, never used by ourselves.
    """

    def __init__(
        self, deputies: Deputies, who: Who, path: str, descriptor: int, owners: frozenset[int]
    ) -> None:
        self.path = path
        self._deputies = deputies
        self._who = who
        self._descriptor = descriptor
        self._owners = owners

    def close(self) -> None:
        """Give the descriptor back; doing it again changes nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open or make a regular file that has one name and a believed owner. Raises LocalError."""
        path = posixpath.join(self.path, name)
        try:
            _, descriptor = self._ask(b"open", [name, str(flags), str(mode)], [name])
        except FileNotFoundError as error:
            if flags & os.O_CREAT:
                raise LocalError(f"directory {self.path} does not exist") from error
            raise plain(error, verb(flags), path) from error
        except OSError as error:
            raise self._refused(error, verb(flags), path) from error
        with closed_on_error(descriptor), in_words(verb(flags), path):
            check_file(os.fstat(descriptor), path, self._owners)
            make_ready(descriptor, flags)
        return descriptor

    def rename(self, old: str, new: str) -> None:
        """Give ``old`` the name ``new``, whatever has that now. Raises LocalError."""
        self._do("rename", [old, new])

    def rename_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename one after the other; what is not there is passed over. Raises LocalError."""
        if pairs:
            self._do("rename-all", [name for pair in pairs for name in pair])

    def remove(self, name: str) -> None:
        """Remove ``name``, which is no directory. Raises LocalError."""
        self._do("remove", [name])

    def stat(self, name: str) -> os.stat_result | None:
        """Return what ``name`` is, or None if there is no such thing. Raises LocalError.

        Times are in whole seconds.
        """
        try:
            numbers, _ = self._ask(b"stat", [name], [name])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error, "look at", posixpath.join(self.path, name)) from error
        return os.stat_result(map(int, numbers))

    def _do(self, what: str, names: list[str]) -> None:
        try:
            self._ask(what.encode(), names, names)
        except OSError as error:
            path = posixpath.join(self.path, error.filename or names[0])
            raise self._refused(error, what.partition("-")[0], path) from error

    def _ask(self, what: bytes, words: list[str], names: list[str]) -> _Answer:
        for name in names:
            check_name(name)
        request = [what, *map(os.fsencode, words)]
        return self._deputies.ask(self._who, self.path, request, self._descriptor)

    def _refused(self, error: OSError, what: str, path: str) -> LocalError:
        if error.errno in FORBIDDEN:
            return LocalError(f"{user(self._who[0])} has no permission to {what} {path}")
        return plain(error, what, path)
