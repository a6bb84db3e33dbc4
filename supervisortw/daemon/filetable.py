"""Starting processes where few files are open.

Whoever starts a process has its table of open files copied, and the new program closes the copies, one
after the other. With a pipe and a log for each of hundreds of programs, that is a good part of what a
start costs. So a thread has a table of its own (unshare(2)), in which nearly nothing is open, and a
working directory and a umask of its own as well; from there processes are started. What they are to
have is copied from the usual table by pidfd_getfd(2). Whoever gives it something to do waits for it: the
two are never at work at the same time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from supervisortw.daemon.getfd import descriptor_of

CLONE_FS = 0x200
CLONE_FILES = 0x400
STREAMS = 3

T = TypeVar("T")


class FileTable:
    """A small table of open files, with a thread that has it; where there can be none, the usual one.

    `run` does something there. ``nowhere`` is a descriptor of /dev/null there, for reading.
    """

    def __init__(self) -> None:
        self.nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._usual = -1  # there: a pidfd by which the usual table is found
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
            os.close(self.nowhere)
            self.nowhere = self._result
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
        elif self.nowhere >= 0:
            os.close(self.nowhere)
        self.nowhere = -1

    def copy(self, descriptor: int) -> int:
        """There: return a copy of a descriptor of the usual table; the caller closes it.

        It closes with an exec. Raises OSError.
        """
        return descriptor_of(self._usual, descriptor)

    # The thread.

    def _serve(self) -> None:
        try:
            self._result = self._separate()
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

    def _separate(self) -> int:
        """Have a table of our own, with nearly nothing in it; return `nowhere`. Raises OSError."""
        if _is_filtered():
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        # The handler of a signal writes into a pipe that is open in the other table.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _unshare(CLONE_FS | CLONE_FILES)
        os.closerange(0, max(map(int, os.listdir("/proc/thread-self/fd"))) + 1)
        for _ in range(STREAMS):  # else copies get these numbers, and each start has to move them
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._usual = os.pidfd_open(os.getpid())
        return self.copy(self.nowhere)


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


def _is_filtered() -> bool:
    """Tell whether system calls are filtered here (seccomp(2)).

    Then what is needed may be refused in a way that ends the daemon: systemd's usual filter lacks
    pidfd_getfd(2).
    """
    with open("/proc/thread-self/status", "rb") as status:
        return b"\nSeccomp:\t2\n" in status.read()
