"""The daemon's end of the connection to the holder; see `supervisortw.daemon.holder` for the words."""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from supervisortw.core.limits import LIMITS

log = Logger(namespace="supervisor")

HOLDER, GENERATION, LAST_END = (
    *("SUPERVISOR_HOLDER_FD", "SUPERVISOR_GENERATION", "SUPERVISOR_LAST_END"),
)
MAX_MESSAGE = 64 * 1024  # the holder sends no more at once
MAX_DESCRIPTORS = 253  # the kernel passes no more at once
CLOSED_WITH_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Ended = Callable[[int, int], None]


@implementer(IReadWriteDescriptor)
class HolderLink:
    """Tells the holder how the daemon is, gives descriptors to it, and learns how orphans end.

    It is a `DescriptorStore`. Nothing waits for the holder but what says so: what it does not take
    at once is sent when it listens again. ``alive`` turns false when it is gone; then all this
    does nothing.
    """

    def __init__(
        self, channel: socket.socket, generation: int = 0, last_end: str | None = None
    ) -> None:
        channel.setblocking(False)
        self.alive = True
        self.pid = os.getppid()
        self.generation = generation
        self.last_end = last_end
        self._channel = channel
        self._heard = b""
        self._answer: bytes | None = None
        self._fetched: dict[str, int] = {}
        self._not_fetched = 0
        self._ends: dict[int, int] = {}
        self._unsent = b""
        # By what they are about: of several, only the last matters. The descriptors are ours.
        self._waiting: dict[str, tuple[bytes, int | None]] = {}
        self._refused = False
        self._reactor: Any = None
        self._ended: Ended | None = None
        self._lost: Callable[[], None] | None = None

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> HolderLink | None:
        """Return the link that the holder has left in ``environment``, or None without a holder."""
        number, generation, last_end = (
            environment.pop(name, None) for name in (HOLDER, GENERATION, LAST_END)
        )
        if number is None:
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)), int(generation or 0), last_end)

    # How the daemon is.

    def ready(self) -> None:
        """Say that the listeners are bound, and that signals may come."""
        self._tell("ready")

    def final(self, code: int) -> None:
        """Say that the daemon is about to exit on purpose, with ``code``; the last thing to say.

        If the holder does not listen, wait for it, but not for ever.
        """
        self._tell(f"final {code}", is_vital=True)
        deadline = time.monotonic() + LIMITS.holder_last_word_seconds
        while self._waits:
            left = deadline - time.monotonic()
            if left <= 0 or not self._wait(select.POLLOUT, left):
                return
            self._send_waiting()

    # The store.

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a copy of ``descriptor``, instead of what was kept under that name. Never waits."""
        self._forget_fetched(name)
        self._tell(f"keep {name}", about=f"kept {name}", descriptor=descriptor)

    def drop(self, name: str) -> None:
        """Let go of what is kept under ``name``, if anything is."""
        self._forget_fetched(name)
        self._tell(f"drop {name}", about=f"kept {name}")

    def _forget_fetched(self, name: str) -> None:
        """Close what a daemon before this one had kept under a name that means something else now."""
        fetched = self._fetched.pop(name, None)
        if fetched is not None:
            os.close(fetched)

    def take(self, name: str) -> int | None:
        """Return what a daemon before this one had kept under ``name``, once; it stays kept.

        The caller closes it. None if there is nothing.
        """
        return self._fetched.pop(name, None)

    def fetch(self) -> None:
        """Get everything that is kept, for `take`. Waits for the holder; for when no reactor runs."""
        known = 0
        while self._ask(f"fetch {known}") == b"more":
            known = len(self._fetched) + self._not_fetched
        if self._not_fetched:
            log.error(
                "{number} pipes and sockets of programs could not be taken back: too many open files",
                number=self._not_fetched,
            )

    def drop_untaken(self) -> None:
        """Let go of what was fetched and not taken."""
        for name in list(self._fetched):
            self.drop(name)

    # How orphans end.

    def ended_now(self) -> dict[int, int]:
        """Return how the holder's children have ended, as far as it knows and was not told to forget.

        Their statuses by pid, as waitpid(2) gives them. Waits for the holder; for when no reactor runs.
        """
        self._ask("ended?")
        ends, self._ends = self._ends, {}
        return ends

    def forget(self, pid: int) -> None:
        """Let the holder forget how ``pid`` has ended."""
        self._tell(f"forget {pid}")

    def listen(self, reactor: Any, ended: Ended, lost: Callable[[], None]) -> None:
        """From now on call ``ended`` with pid and status of each orphan that ends.

        ``lost`` is called, once, when the holder is gone.
        """
        self._reactor, self._ended, self._lost = reactor, ended, lost
        if not self.alive:
            reactor.callLater(0, lost)
            return
        ends, self._ends = self._ends, {}
        for pid, status in ends.items():
            ended(pid, status)
        reactor.addReader(self)
        if self._waits:
            reactor.addWriter(self)

    # For the reactor.

    def fileno(self) -> int:
        """Return the number of the socket, or -1 if the holder is gone."""
        return self._channel.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor calls this in its complaints."""
        return "holder"

    def doRead(self) -> None:
        """Hear the holder."""
        for _ in range(LIMITS.holder_messages_per_turn):
            if not self._receive():
                break

    def doWrite(self) -> None:
        """Say what had to wait."""
        self._send_waiting()

    def connectionLost(self, reason: Failure) -> None:
        """Hear that the reactor watches no longer, as it does at its end. There is a last word yet."""
        self._leave_reactor()

    # Sending.

    def _tell(
        self,
        line: str,
        about: str | None = None,
        descriptor: int | None = None,
        is_vital: bool = False,
    ) -> None:
        about = about or line
        self._forget_waiting(about)
        self._send_waiting()
        if not self.alive:
            return
        message = line.encode() + b"\n"
        if not self._waits and self._put(message, descriptor):
            return
        if len(self._waiting) >= LIMITS.holder_messages and not is_vital:
            self._refuse("it does not listen, and too much waits for it")
            return
        try:
            copy = None if descriptor is None else os.dup(descriptor)
        except OSError as error:
            self._refuse(error.strerror)
            return
        self._waiting[about] = (message, copy)
        if self._reactor is not None:
            self._reactor.addWriter(self)

    @property
    def _waits(self) -> bool:
        """True if something has to be said that the holder has not taken yet."""
        return bool(self._unsent or self._waiting)

    def _send_waiting(self) -> None:
        """Send what waits, as far as it goes."""
        if not self._waits:
            return
        while self._waits:
            if self._unsent:
                if not self._put(self._unsent, None):
                    return
                continue
            about, (message, copy) = next(iter(self._waiting.items()))
            if not self._put(message, copy):
                return
            self._forget_waiting(about)
        if self._reactor is not None:
            self._reactor.removeWriter(self)

    def _put(self, message: bytes, descriptor: int | None) -> bool:
        """Send a message; return False if it has to wait. What is refused for good is lost."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor or 0]))
        try:
            sent = self._channel.sendmsg([message], [] if descriptor is None else [rights])
        except BlockingIOError:
            return False
        except ConnectionError:  # it is gone, which is noticed by reading
            sent = len(message)
        except OSError as error:
            self._refuse(error.strerror)
            sent = len(message)
        self._unsent = message[sent:]  # a stream may take a part
        return True

    def _refuse(self, why: str | None) -> None:
        if not self._refused:
            self._refused = True
            log.error("the holder cannot be told what to keep: {why}", why=why)

    def _forget_waiting(self, about: str) -> None:
        _, copy = self._waiting.pop(about, (b"", None))
        if copy is not None:
            os.close(copy)

    # Receiving.

    def _ask(self, line: str) -> bytes | None:
        """Send ``line`` and wait for the end of the answer; return its last word, or None."""
        self._answer = None
        self._tell(line)
        while self.alive and self._answer is None:
            self._wait(select.POLLIN | (select.POLLOUT if self._waits else 0))
            self._send_waiting()
            self._receive()
        return self._answer

    def _wait(self, events: int, seconds: float | None = None) -> bool:
        waited_for = select.poll()
        waited_for.register(self._channel, events)
        return bool(waited_for.poll(None if seconds is None else seconds * 1000))

    def _receive(self) -> bool:
        """Take in one message; return False if there is none."""
        room = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)
        try:
            data, extras, _, _ = self._channel.recvmsg(MAX_MESSAGE, room, CLOSED_WITH_EXEC)
        except BlockingIOError:
            return False
        except OSError:
            data, extras = b"", []
        if not data:
            self._is_gone()
            return False
        numbers = array.array("i")
        for level, kind, sent in extras:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers.frombytes(sent[: len(sent) // 4 * 4])
        descriptors = list(numbers)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._take_in(line, descriptors)
        for descriptor in descriptors:  # of lines that we do not know
            os.close(descriptor)
        return True

    def _take_in(self, line: bytes, descriptors: list[int]) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"ended":
            pid, status = rest.split()
            if self._ended is not None:
                self._ended(int(pid), int(status))
            else:
                self._ends[int(pid)] = int(status)
        elif word != b"kept":
            self._answer = word
        elif descriptors:
            self._fetched[rest.decode()] = descriptors.pop(0)
        else:
            self._not_fetched += 1

    def _is_gone(self) -> None:
        if not self.alive:
            return
        self.alive = False
        lost = self._lost
        self._leave_reactor()
        self._channel.close()
        self._unsent = b""
        for about in list(self._waiting):
            self._forget_waiting(about)
        if lost is not None:
            lost()

    def _leave_reactor(self) -> None:
        if self._reactor is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._reactor = None
