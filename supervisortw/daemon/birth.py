"""One program that somebody forks for us, until it runs."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.daemon.exits import ExitWatcher, bury
from supervisortw.daemon.forker import be_child, changed_signals
from supervisortw.daemon.forking import fork

TRIES = 2  # with the forker; then the daemon forks itself
LONGEST_REPORT = 4096
NO_CLONE = frozenset({errno.EPERM, errno.ENOSYS, errno.EINVAL})  # refused by seccomp, or not known

HandOver = Callable[[bytes, Sequence[int]], None]


class StepFailed(Exception):
    """A program was not started: the errno, and the step that gave it."""

    def __init__(self, number: int, step: str) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.number = number
        self.step = step


class Forks(Protocol):
    """Somebody who forks for us."""

    usable: bool

    def take(self, birth: Birth) -> None:
        """Call `Birth.begin` as soon as possible. Raises StepFailed if too many are waiting."""

    def worked(self) -> None:
        """Hear that a child was forked."""

    def give_up(self) -> None:
        """Hear that this can never work here."""


@implementer(IReadDescriptor)
class Birth:
    """The start of one program, which is told of by a report pipe (see `forker` for the words).

    ``born`` fires with the pid once the program runs, or fails with StepFailed when there is no
    child any more. If it is cancelled, the child is killed. The pid is nobody else's to reap before.
    """

    def __init__(
        self,
        message: bytes,
        descriptors: Sequence[int],
        reactor: Any,
        watcher: ExitWatcher,
        forks: Forks,
    ) -> None:
        """Keep copies of the descriptors. Raises OSError if there are none left."""
        self.born: Deferred[int] = Deferred(lambda _: self._cancel())
        self.cancelled = False
        self._message = message
        self._reactor = reactor
        self._watcher = watcher
        self._forks = forks
        self._tries = 0
        self._pid: int | None = None
        self._report = -1
        self._heard = b""
        self._copies: dict[int, int] = {}
        self._descriptors = descriptors
        try:
            for each in set(descriptors):
                self._copies[each] = fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError:
            self._close_copies()
            raise

    def start(self) -> None:
        """Have it forked, by the daemon itself if nothing else helps."""
        self._tries += 1
        try:
            if self._forks.usable and self._tries <= TRIES:
                self._forks.take(self)
            else:
                self.begin(fork_here)
        except StepFailed as failure:
            self.fail(failure)
        except OSError as error:
            self.fail(StepFailed(error.errno or errno.EIO, "clone"))

    def begin(self, hand_over: HandOver) -> None:
        """Give message and descriptors to who forks, and listen to what comes of it.

        Raises the OSError of ``hand_over``, or that of a report pipe that cannot be made.
        """
        report, told = os.pipe()
        try:
            hand_over(self._message, (told, *(self._copies[each] for each in self._descriptors)))
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(told)
        os.set_blocking(report, False)
        self._report = report
        self._reactor.addReader(self)

    def fail(self, failure: StepFailed) -> None:
        """There is no child, and there will be none."""
        self._close_copies()
        if not self.cancelled:
            self.born.errback(failure)

    def fileno(self) -> int:
        """Return the descriptor of the report pipe."""
        return self._report

    def logPrefix(self) -> str:
        """Return a word for Twisted's log."""
        return "birth"

    def doRead(self) -> None:
        """Take in what the child says, up to the end, which tells that it has become the program."""
        if self._hear():
            self._settle()

    def connectionLost(self, reason: Failure) -> None:
        """Take in the end, of which reactors tell like this as well; or the reactor has stopped."""
        if self._report < 0:
            return
        if self._hear():
            self._settle()
        else:
            self._close_report()
            self._close_copies()

    def _hear(self) -> bool:
        """Read what is there; return True at the end."""
        try:
            while data := os.read(self._report, LONGEST_REPORT):
                self._heard = (self._heard + data)[:LONGEST_REPORT]
        except BlockingIOError:
            self._learn_pid()
            return False
        self._close_report()
        self._learn_pid()
        return True

    def _learn_pid(self) -> None:
        first, newline, _ = self._heard.partition(b"\n")
        if self._pid is None and newline and first.startswith(b"pid "):
            self._pid = int(first[4:])
            self._forks.worked()
            self._close_copies()
            if self.cancelled:
                os.kill(self._pid, signal.SIGKILL)  # not reaped yet

    def _settle(self) -> None:
        failure = self._failure()
        if failure is not None and failure.step == "clone" and failure.number in NO_CLONE:
            self._forks.give_up()
            self._again()
        elif failure is not None:
            if self._pid is not None:
                bury(self._pid, self._watcher)
            self.fail(failure)
        elif self._pid is None:  # who was to fork has died before
            self._again()
        elif self.cancelled:
            bury(self._pid, self._watcher)
        else:
            self.born.callback(self._pid)

    def _failure(self) -> StepFailed | None:
        for line in self._heard.splitlines():
            word, _, rest = line.partition(b" ")
            if word == b"error":
                number, _, step = rest.partition(b" ")
                return StepFailed(int(number), step.decode())
        return None

    def _again(self) -> None:
        self._heard = b""
        if self.cancelled:
            self._close_copies()
        else:
            self.start()

    def _cancel(self) -> None:
        self.cancelled = True
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)  # not reaped yet
        elif self._report < 0:  # it waits for its turn, in vain
            self._close_copies()

    def _close_report(self) -> None:
        if self._report >= 0:
            self._reactor.removeReader(self)
            os.close(self._report)
            self._report = -1

    def _close_copies(self) -> None:
        while self._copies:
            os.close(self._copies.popitem()[1])


def fork_here(message: bytes, descriptors: Sequence[int]) -> None:
    """Fork the daemon itself, which is slow, and let the child become the program.

    All other descriptors of the daemon close with the exec.
    """
    parent = os.getpid()
    changed = changed_signals()
    fork(lambda: be_child(message, descriptors, parent, changed))
