"""A deputy: a process with the identity of a user, which handles that user's files for the daemon.

Root does nothing by name in a directory that somebody else can change. It has a deputy do it, whom the
kernel allows no more than that user.

A deputy is a fork of the daemon without an exec: that takes about 2 ms, where a Python that begins anew
takes 20 and would block the reactor for as long. So it has a copy of the daemon's memory, and must give
it to nobody: it cannot be traced, looked into or dumped by the user, gets nothing from the user but
answers of the kernel, can start nothing and write to no file, and ends with the daemon. The user can
kill or stop it, which costs a log of that user.

It takes one request after the other, and knows nothing of logs. Each is answered by ``done`` and what
was found out, or by ``error``, an errno and what that was about. With all requests but the first comes
the descriptor of a directory, which the first gives back; names are those of files in it::

    directory PATH              a descriptor
    open NAME FLAGS MODE        a descriptor
    rename OLD NEW
    rename-all [OLD NEW]...     one after the other; what is not there is passed over
    remove NAME
    stat NAME                   the ten numbers of a stat_result
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.forker import (
    LIBC,
    become,
    die_with,
    forbid_new_privileges,
    prctl,
)
from supervisortw.daemon.forking import fork
from supervisortw.daemon.trusted import SAFELY

DONE, ERROR = b"done", b"error"
IDENTITY = b"identity"  # what an error is about if there is no deputy after all

# O_PATH, where there is one, needs no permission to read; whoever may not is still let work there.
DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)

PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
NAME = b"supervisor-file"  # what ps and pgrep show

Who = tuple[int, int, tuple[int, ...]]  # uid, gid and all groups


def start(who: Who) -> tuple[int, socket.socket]:
    """Fork a deputy; return its pid and our end of the channel. Raises OSError.

    If it cannot become ``who``, its answer to the first request says so. Only root becomes somebody.
    """
    parent = os.getpid()
    # A stream, since macOS has no socket pairs that keep messages apart and tell of their end.
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            pid = fork(lambda: _be_deputy(theirs, who, parent))
        except BaseException:
            ours.close()
            raise
    return pid, ours


def _be_deputy(channel: socket.socket, who: Who, parent: int) -> NoReturn:
    try:
        try:
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            channel = _alone_with(channel)
            _confine(who, parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
        except BaseException as error:
            reason = error.errno if isinstance(error, OSError) else None
            send(channel, [ERROR, b"%d" % (reason or errno.EPERM), IDENTITY])
            raise
        serve(channel)
    finally:
        os._exit(0)


def _alone_with(channel: socket.socket) -> socket.socket:
    """Close every descriptor but the channel, which becomes number 0, and leave the directory."""
    nowhere, descriptor = os.open(os.devnull, os.O_RDWR), os.dup(channel.fileno())
    while min(nowhere, descriptor) < 3:  # if the daemon has closed its own streams
        nowhere, descriptor = os.dup(nowhere), os.dup(descriptor)
    os.dup2(descriptor, 0)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.closerange(3, _highest_descriptor() + 1)
    os.chdir("/")  # /proc/self/cwd would lead a user to where only the daemon can go
    return socket.socket(fileno=0)


def _highest_descriptor() -> int:
    # The limit may be millions, and also less than what is open, since it can be lowered.
    try:
        return max(map(int, os.listdir("/dev/fd")))
    except OSError:  # there is no /proc
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _confine(who: Who, parent: int) -> None:
    """Become the user, and be of no use to anybody but the daemon. Raises OSError and others."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_NAME, NAME, 0, 0, 0)
        prctl(PR_SET_DUMPABLE, 0)
    if os.geteuid() == 0:
        uid, gid, groups = who
        become(uid, gid, groups)
    if sys.platform == "linux":
        # The change of identity has set it to fs.suid_dumpable, which need not be 0. Elsewhere nobody
        # but root traces who has changed identity.
        prctl(PR_SET_DUMPABLE, 0)
        if LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        forbid_new_privileges()
    die_with(parent, signal.SIGKILL)  # after the change of identity, at which that is forgotten
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, LIMITS.deputy_files),
        (resource.RLIMIT_CPU, LIMITS.deputy_cpu_seconds),
    ):
        hard = resource.getrlimit(limit)[1]
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(limit, (most, most))


def serve(channel: socket.socket) -> None:
    """Answer one request after the other, until there will be no more."""
    while True:
        request, directory = receive(channel)
        if not request:
            return
        found = -1
        try:
            answer, found = _carry_out(request[0], request[1:], directory)
        except OSError as error:
            answer = [ERROR, b"%d" % (error.errno or errno.EIO), error.filename or request[1]]
        finally:
            if directory >= 0:
                os.close(directory)
        send(channel, answer, found)
        if found >= 0:
            os.close(found)


def _carry_out(verb: bytes, words: list[bytes], directory: int) -> tuple[list[bytes], int]:
    """Return the answer to a request, and a descriptor to go with it or -1. Raises OSError."""
    if verb == b"directory":
        return [DONE], os.open(words[0], DIRECTORY)
    if verb == b"open":
        name, flags, mode = words
        safe = (int(flags) & ~os.O_TRUNC) | SAFELY
        return [DONE], os.open(_plain(name), safe, int(mode), dir_fd=directory)
    if verb in {b"rename", b"rename-all"}:
        passed_over = [FileNotFoundError] if verb == b"rename-all" else []
        for old, new in zip(words[::2], words[1::2], strict=True):
            with contextlib.suppress(*passed_over):
                os.rename(_plain(old), _plain(new), src_dir_fd=directory, dst_dir_fd=directory)
        return [DONE], -1
    if verb == b"remove":
        os.unlink(_plain(words[0]), dir_fd=directory)
        return [DONE], -1
    if verb == b"stat":
        status = os.stat(_plain(words[0]), dir_fd=directory, follow_symlinks=False)
        return [DONE, *(b"%d" % number for number in tuple(status))], -1
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _plain(name: bytes) -> bytes:
    """Return a name that is none of a directory's own, nor a path. Raises OSError."""
    if name in (b"", b".", b"..") or b"/" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return name


def send(channel: socket.socket, words: Sequence[bytes], descriptor: int = -1) -> None:
    """Send one message, and a descriptor with it if there is one. Raises OSError."""
    body = b"\0".join(words)
    message = len(body).to_bytes(4, "big") + body
    extras = []
    if descriptor >= 0:
        rights = array.array("i", [descriptor])
        extras = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
    sent = channel.sendmsg([message], extras)
    if sent < len(message):
        channel.sendall(message[sent:])


def receive(channel: socket.socket) -> tuple[list[bytes], int]:
    """Return the next message, and the descriptor that came with it or -1; [] if there is no more.

    There must be one message under way at most. Raises OSError, if the descriptor was lost as well.
    """
    message, descriptors, length = b"", array.array("i"), None
    try:
        while length is None or len(message) < length:
            room = socket.CMSG_SPACE(descriptors.itemsize)
            closed_at_exec = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            data, extras, flags, _ = channel.recvmsg(64 * 1024, room, closed_at_exec)
            for _level, _kind, rights in extras:  # nothing else was asked for
                descriptors.frombytes(rights[: len(rights) // 4 * 4])
            if not data:
                raise EOFError
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            message += data
            if length is None and len(message) >= 4:
                length = 4 + int.from_bytes(message[:4], "big")
        [found] = descriptors or [-1]
        if found >= 0 and not closed_at_exec:
            os.set_inheritable(found, False)
        return message[4:].split(b"\0"), found
    except BaseException as error:
        for each in descriptors:
            os.close(each)
        if isinstance(error, EOFError):
            return [], -1
        raise
