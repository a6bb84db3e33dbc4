"""Starting processes where few files are open.

Whoever starts a process has its table of open files copied, and the new program closes the copies, one
after the other. With a pipe and a log for each of hundreds of programs, that is a good part of what a
start costs. So a thread has a table of its own (unshare(2)), in which nearly nothing is open, and a
working directory and a umask of its own as well; from there processes are started. Whoever gives it
something to do waits for it: the two are never at work at the same time.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

CLONE_FS = 0x200
CLONE_FILES = 0x400
STREAMS = 3
MOST = 8  # descriptors in one message
CLOSED_WITH_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
# Both keep messages apart; macOS has not the first for sockets that are no files.
KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM

T = TypeVar("T")


class FileTable:
    """A small table of open files, with a thread that has it; where there can be none, the usual one.

    `run` does something there. Descriptors come there by `post`, and back by `give_back`: in the order in
    which they were sent.
    """

    def __init__(self) -> None:
        self._outside, self._inside = socket.socketpair(socket.AF_UNIX, KIND)
        for end in (self._outside, self._inside):
            end.setblocking(False)
        self._begin, self._over = threading.Lock(), threading.Lock()
        self._begin.acquire()
        self._over.acquire()
        self._act: Callable[[], Any] | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._begin_apart()

    @property
    def is_apart(self) -> bool:
        """True if it is a table of its own."""
        return self._thread is not None

    def _begin_apart(self) -> None:
        thread = threading.Thread(target=self._serve, name="starts", daemon=True)
        with _no_collection():
            try:
                thread.start()
            except RuntimeError:  # there are too many threads
                return
            self._over.acquire()
        if self._error is None:
            self._thread = thread
        else:  # the system does not let us
            self._error = None
            thread.join()

    def run(self, act: Callable[[], T]) -> T:
        """Return what ``act()`` returns, or raise what it raises, there; this thread waits meanwhile."""
        if self._thread is None:
            return act()
        with _no_collection():
            self._act = act
            self._begin.release()
            self._over.acquire()
        result, error = self._result, self._error
        self._result = self._error = None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # of what was given to do last

    def close(self) -> None:
        """Let go of it; nothing can be done there any more."""
        if self._thread is not None:
            self._act = None
            self._begin.release()
            self._thread.join()
            self._thread = None
        self._outside.close()
        self._inside.close()

    # Descriptors.

    def post(self, descriptors: Sequence[int]) -> None:
        """Send copies there; who is asked first takes them first. Raises OSError."""
        _send(self._outside, descriptors)

    def take(self) -> list[int]:
        """There: return the next copies; the caller closes them. Raises OSError."""
        return _receive(self._inside)

    def give_back(self, descriptors: Sequence[int]) -> None:
        """There: send copies back. Raises OSError."""
        _send(self._inside, descriptors)

    def given_back(self) -> list[int]:
        """Return the copies that were sent back; the caller closes them. Raises OSError."""
        return _receive(self._outside)

    # The thread.

    def _serve(self) -> None:
        try:
            self._separate()
        except BaseException as error:  # it is looked at by who waits for us
            self._error = error
            self._over.release()
            return
        self._over.release()
        while True:
            self._begin.acquire()
            act = self._act
            if act is None:
                return
            try:
                self._result = act()
            except BaseException as error:  # it is raised by who waits for us
                self._error = error
            self._act = act = None
            self._over.release()

    def _separate(self) -> None:
        """Have a table of our own, with nothing in it but the way to the other one."""
        # The handler of a signal writes into a pipe that is open in the other table.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _unshare(CLONE_FS | CLONE_FILES)
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for stream in range(STREAMS):
            if stream != nowhere:
                os.dup2(nowhere, stream, inheritable=False)
        inside = self._inside.fileno()
        highest = max(map(int, os.listdir("/proc/thread-self/fd")))
        os.closerange(STREAMS, inside)
        os.closerange(inside + 1, highest + 1)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Have no garbage collected: it may close its descriptors, and they are those of another table."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _unshare(what: int) -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(what)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _send(end: socket.socket, descriptors: Sequence[int]) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    end.sendmsg([b"."], [rights])


def _receive(end: socket.socket) -> list[int]:
    room = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
    _, extras, flags, _ = end.recvmsg(1, room, CLOSED_WITH_EXEC)
    descriptors = array.array("i")
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if flags & socket.MSG_CTRUNC:
        close_all(descriptors)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if not CLOSED_WITH_EXEC:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return descriptors.tolist()


def close_all(descriptors: Iterable[int]) -> None:
    """Close them, in the table in which they are open."""
    for descriptor in descriptors:
        os.close(descriptor)
