"""The forker: a small process that forks for the daemon, which is too large to fork fast.

It takes one message after the other, forks, and forgets it; the child reads the message and becomes
the program that it describes. The children are the daemon's own (CLONE_PARENT), so nothing but the
start of a program depends on the forker, and it may die at any time.

It must never fail, so it is simple code: standard library only, run by its path with
``python -I -S -E``, no imports of our own, nothing that grows. Where it cannot work, the daemon forks
and runs `be_child` itself; so that imports nothing, logs nothing and takes no locks.

A message is a list of items, most of them ``word value``, with a NUL between them. With it come
descriptors: the report pipe, the standard streams, and the sockets that the program listens on::

    path PATH                the program; of several, the first that can be run
    args N                   how many of the next items are its arguments; the first is its name
    env N                    how many of the next items are its variables, NAME=TEXT
    directory PATH
    umask N
    cgroup DIRECTORY
    limit NAME SOFT HARD     numbers, or the word unlimited
    nice N
    uid N, gid N, groups N N ...
    no-new-privileges yes
    death-signal N           sent by the kernel when the daemon dies; left out where it cannot be
    listen NAME              of each socket

The child writes lines into the report pipe, which ends when the program runs::

    pid N
    error ERRNO STEP         there is no program; the child exits
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import gc
import itertools
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

MAX_MESSAGE = 128 * 1024
MAX_DESCRIPTORS = 253  # what the kernel takes
FAILED, NOT_SAFE = 127, 126

BLOCKED = {
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXFSZ),
}
CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
CLONE_PARENT = 0x8000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38

LISTS = (b"args", b"env")

# What a child does is done with as few objects as possible: each page of memory that it touches has to
# be copied first, and that is most of the time that a start takes. Hence these calls without Python's
# exceptions and enums. PyDLL keeps Python's own lock during a call.
LIBC = ctypes.PyDLL(None, use_errno=True)
if sys.platform == "linux":
    LIBC.syscall.restype = ctypes.c_long
    LIBC.prctl.restype = ctypes.c_int
SIG_SETMASK = int(signal.SIG_SETMASK)
NO_SIGNALS = bytes(128)  # as large as a sigset_t is anywhere


def main() -> int:
    """Fork for the parent, which has left its channel at descriptor 0, until it is gone."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("supervisor-fork")  # what ps and pgrep show
    gc.disable()  # we make no cycles, and looking for some would copy all memory into each child
    # The end of the channel ends us and no signal that people send; a child lets them in again.
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    for number in changed_signals():
        signal.signal(number, signal.SIG_DFL)  # here, once, and not in each child
    serve(socket.socket(fileno=0), os.getppid())
    return 0


def clone_number() -> int | None:
    """Return the number of the system call clone, or None where we do not know it."""
    if sys.platform != "linux" or sys.maxsize < 2**32:  # a small process on a large machine
        return None
    return CLONE.get(os.uname().machine)


def serve(channel: socket.socket, parent: int) -> None:
    """Fork a child for each message, until there will be no more."""
    while True:
        message, descriptors, flags = receive(channel)
        if not message:
            return
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, "descriptors were lost")
            if clone() == 0:
                be_child(message, descriptors, parent)
        except OSError as error:
            if descriptors:
                tell(descriptors[0], error, "clone")
        for descriptor in descriptors:
            os.close(descriptor)


def receive(channel: socket.socket) -> tuple[bytes, list[int], int]:
    """Return the next message, its descriptors and the flags of recvmsg(2)."""
    # Not by socket.recv_fds, which forgets its flags.
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    message, extras, flags, _ = channel.recvmsg(MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, descriptors.tolist(), flags


def clone() -> int:
    """Fork as fork(2) does, but let the child be our parent's."""
    number = clone_number()
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    flags = CLONE_PARENT | signal.SIGCHLD
    pid = LIBC.syscall(*map(ctypes.c_long, (number, flags, 0, 0, 0, 0)))
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(pid)


def changed_signals() -> list[int]:
    """Return the signals that do not have their default action."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return [n for n in numbers if signal.getsignal(n) not in (signal.SIG_DFL, None)]


def tell(report: int, error: BaseException, step: str) -> None:
    """Write down that the start has failed."""
    number = error.errno if isinstance(error, OSError) else None
    with contextlib.suppress(OSError):  # nobody may be reading any more
        os.write(report, f"error {number or errno.EINVAL} {step}\n".encode())


def be_child(
    message: bytes, descriptors: Sequence[int], parent: int, changed: Iterable[int] = ()
) -> NoReturn:
    """Become the program that ``message`` describes, or tell why not, and exit.

    ``changed`` are signals that must get their default action back; they are blocked meanwhile.
    """
    code = FAILED
    try:
        started = Child(message, descriptors)
        try:
            started.run(parent, changed)
        except RootRegained as error:
            code = NOT_SAFE
            tell(started.report, error, started.step)
        except BaseException as error:
            tell(started.report, error, started.step)
    finally:
        os._exit(code)


class RootRegained(Exception):
    """The process could become root again."""


class Child:
    """The steps from a fork to a program; ``step`` is the name of the one that is being taken."""

    def __init__(self, message: bytes, descriptors: Sequence[int]) -> None:
        self.step = "clone"
        self.report, *self._descriptors = descriptors
        self._message = message
        self._words: dict[bytes, list[bytes]] = {}

    def run(self, parent: int, changed: Iterable[int]) -> NoReturn:
        """Take all steps, in an order in which none undoes another or needs what is given up."""
        if os.getppid() != parent:
            raise OSError(errno.ENOSYS, "the kernel does not know CLONE_PARENT")
        os.write(self.report, b"pid %d\n" % os.getpid())
        self.step = "message"
        items = iter(self._message.split(b"\0"))
        for item in items:
            word, _, value = item.partition(b" ")
            if word in LISTS:
                self._words[word] = list(itertools.islice(items, int(value)))
            else:
                self._words.setdefault(word, []).append(value)
        self.step = "descriptors"
        self._put_descriptors()
        self.step = "session"
        os.setsid()
        self.step = "signals"
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
        LIBC.sigprocmask(SIG_SETMASK, NO_SIGNALS, None)
        self._set_bounds()
        if b"uid" in self._words:
            self.step = "identity"
            self._become(*(int(self._one(word)) for word in (b"uid", b"gid")))
        self.step = "directory"
        os.chdir(self._one(b"directory"))  # as the program: it may not have what root has
        if b"no-new-privileges" in self._words:
            self.step = "no-new-privileges"
            forbid_new_privileges()
        if b"death-signal" in self._words:
            self.step = "death-signal"
            die_with(parent, int(self._one(b"death-signal")))
        self.step = "exec"
        self._run_program()

    def _one(self, word: bytes) -> bytes:
        [value] = self._words[word]
        return value

    def _put_descriptors(self) -> None:
        """Bring the descriptors to 0 and on; whatever else is open closes with the exec."""
        sources = self._descriptors
        free = len(sources)
        if self.report < free or min(sources) < free:
            # First out of each other's way: a source may stand where another is to go.
            self.report = fcntl.fcntl(self.report, fcntl.F_DUPFD_CLOEXEC, free)
            sources = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, free) for each in sources]
        for target, source in enumerate(sources):
            os.dup2(source, target)

    def _set_bounds(self) -> None:
        """Set what only the daemon's own identity may set, or may set more freely."""
        if b"umask" in self._words:
            self.step = "umask"
            os.umask(int(self._one(b"umask")))
        if b"cgroup" in self._words:
            self.step = "cgroup"
            path = os.path.join(self._one(b"cgroup"), b"cgroup.procs")
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(descriptor, b"0")
            os.close(descriptor)
        for value in self._words.get(b"limit", ()):
            name, soft, hard = value.split()
            self.step = f"limit {name.decode()}"
            set_limit(name.decode(), soft, hard)
        if b"nice" in self._words:
            self.step = "nice"
            os.setpriority(os.PRIO_PROCESS, 0, int(self._one(b"nice")))

    def _become(self, uid: int, gid: int) -> None:
        try:
            become(uid, gid, [int(number) for number in self._one(b"groups").split()])
        except RootRegained:
            self.step = "root"
            raise

    def _run_program(self) -> NoReturn:
        environment = dict(each.split(b"=", 1) for each in self._words.get(b"env", ()))
        if b"listen" in self._words:
            names = self._words[b"listen"]
            environment[b"LISTEN_PID"] = b"%d" % os.getpid()
            environment[b"LISTEN_FDS"] = b"%d" % len(names)
            environment[b"LISTEN_FDNAMES"] = b":".join(names)
        refusal: OSError | None = None
        for path in self._words[b"path"]:
            try:
                os.execve(path, self._words[b"args"], environment)
            except (FileNotFoundError, NotADirectoryError) as error:
                refusal = refusal or error
            except PermissionError as error:  # says more than that others are not there
                refusal = error
        raise refusal or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def become(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Take another identity, for good, and make sure of it. Raises OSError and RootRegained."""
    os.setgroups(groups)
    if sys.platform == "darwin":
        os.setgid(gid)
        os.setuid(uid)
        found = (os.getuid(), os.geteuid(), os.getgid(), os.getegid())
        expected = (uid, uid, gid, gid)
    else:
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        found = (*os.getresuid(), *os.getresgid(), *sorted(os.getgroups()))
        expected = (uid, uid, uid, gid, gid, gid, *sorted(set(groups)))
    if found != expected:
        raise PermissionError(errno.EPERM, "not what was asked for")
    if uid != 0 and LIBC.setuid(0) == 0:
        raise RootRegained


def set_limit(name: str, soft: bytes, hard: bytes) -> None:
    """Set a limit of resources of this process."""
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if number is None:
        raise OSError(errno.EINVAL, "no such limit here")
    unlimited = resource.RLIM_INFINITY
    pair = [unlimited if each == b"unlimited" else int(each) for each in (soft, hard)]
    try:
        resource.setrlimit(number, (pair[0], pair[1]))
    except ValueError as error:  # how Python tells both of its errors
        above = pair[1] != unlimited and (pair[0] == unlimited or pair[0] > pair[1])
        raise OSError(errno.EINVAL if above else errno.EPERM, str(error)) from None


def forbid_new_privileges() -> None:
    """Let no program that we run have more privileges than we have."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int, number: int) -> None:
    """Have a signal sent to us when our parent dies. Raises OSError if that is no longer ``parent``.

    The kernel forgets it at a change of identity, and keeps it over the exec of an ordinary program.
    """
    if sys.platform != "linux":
        return
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # that has died before, and nothing will be sent
        raise OSError(errno.ESRCH, "the daemon has died")


def prctl(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError."""
    if LIBC.prctl(*map(ctypes.c_ulong, (option, value, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main())
