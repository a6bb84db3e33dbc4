"""The daemon's end of the connection to the forker."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import forker
from supervisortw.daemon.birth import Birth, StepFailed
from supervisortw.daemon.exits import ExitWatcher
from supervisortw.daemon.posixspawn import spawn
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")

MOST_IN_VAIN = 2  # forkers in a row that died without a single child

Launch = Callable[[int, int], int]  # its channel, and /dev/null; returns its pid


@implementer(IWriteDescriptor)
class ForkerLink:
    """Hands births to the forker, which it starts when it is first needed, and when it has died.

    What the socket does not take waits for its turn. What was sent to a forker that died is told by
    the end of the report pipe, and comes again.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: ExitWatcher,
        launch: Launch,
        most_waiting: int = LIMITS.spawns_waiting,
    ) -> None:
        self.usable = forker.clone_number() is not None
        self._reactor = reactor
        self._watcher = watcher
        self._launch = launch
        self._most_waiting = most_waiting
        self._waiting: deque[Birth] = deque()
        self._channel: socket.socket | None = None
        self._pid: int | None = None
        self._in_vain = 0

    def take(self, birth: Birth) -> None:
        """Begin ``birth`` as soon as the forker can take it. Raises StepFailed if too many wait."""
        if len(self._waiting) >= self._most_waiting:
            raise StepFailed(errno.EAGAIN, "queue")
        self._waiting.append(birth)
        if len(self._waiting) == 1:
            self._send()

    def worked(self) -> None:
        """A forker was good for something."""
        self._in_vain = 0

    def give_up(self) -> None:
        """No forker can work here: the kernel refuses what it needs."""
        if self.usable:
            log.info("programs are started without a forker, which this system does not allow")
        self.usable = False
        self.close()

    def close(self) -> None:
        """End the forker; births that wait are started without it, and so are all later ones."""
        self.usable = False
        self._hang_up()
        self._pass_on()

    def fileno(self) -> int:
        """Return the channel's descriptor."""
        return -1 if self._channel is None else self._channel.fileno()

    def logPrefix(self) -> str:
        """Return a word for Twisted's log."""
        return "forker"

    def doWrite(self) -> None:
        """Go on where the socket was full."""
        self._send()

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: if the forker has died, its watcher tells so."""

    def _send(self) -> None:
        """Hand over all births that the socket takes."""
        while self._waiting:
            birth = self._waiting.popleft()
            if birth.cancelled:
                continue
            try:
                if self._channel is None:
                    self._start()
            except OSError as error:
                birth.fail(StepFailed(error.errno or errno.EIO, "clone"))
                continue
            try:
                birth.begin(self._hand_over)
            except BlockingIOError:
                self._waiting.appendleft(birth)
                self._reactor.addWriter(self)
                return
            except (BrokenPipeError, ConnectionResetError):
                self._waiting.appendleft(birth)
                self._died()
            except OSError as error:
                birth.fail(StepFailed(error.errno or errno.EIO, "clone"))
        if self._channel is not None:
            self._reactor.removeWriter(self)

    def _hand_over(self, message: bytes, descriptors: Sequence[int]) -> None:
        assert self._channel is not None
        socket.send_fds(self._channel, [message], list(descriptors))

    def _start(self) -> None:
        """Start a forker. Raises OSError if that is not possible now."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            ours.setblocking(False)
            pid = self._launch(theirs.fileno(), nowhere)
            self._watch(pid)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(nowhere)
        self._channel, self._pid = ours, pid

    def _watch(self, pid: int) -> None:
        cancel: Cancel | None = None

        def look() -> None:
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found:
                if cancel is not None:
                    cancel()
                self._ended(pid, status)

        try:
            cancel = self._watcher.watch(pid, look)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _ended(self, pid: int, status: int) -> None:
        if pid != self._pid:  # one that we have hung up on
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        log.warn("the forker has ended ({how}); it is started again when it is needed", how=how)
        self._died()
        self._send()

    def _died(self) -> None:
        """The forker is gone, against our will."""
        self._hang_up()
        self._in_vain += 1
        if self.usable and self._in_vain >= MOST_IN_VAIN:
            log.error("the forker does not work; programs are started without it, more slowly")
            self.usable = False
        if not self.usable:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let those who wait help themselves."""
        waiting, self._waiting = self._waiting, deque()
        for birth in waiting:
            if not birth.cancelled:
                birth.start()

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._reactor.removeWriter(self)
            self._channel.close()
        self._channel = self._pid = None


def launch(channel: int, nowhere: int) -> int:
    """Start a forker. It has our limits; each message says which of them a child is to have."""
    command = (sys.executable, "-I", "-S", "-E", os.path.abspath(forker.__file__))
    return spawn(command[0], command, {}, (channel, nowhere, nowhere))
