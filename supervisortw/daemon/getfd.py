"""Copying a descriptor out of another process, or out of another table of ours (pidfd_getfd(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

SYS_PIDFD_GETFD = 438  # on nearly every kind of processor; elsewhere it is none, or an error


def descriptor_of(pidfd: int, number: int) -> int:
    """Return a copy of a descriptor of the process of ``pidfd``; it closes with an exec.

    Raises OSError.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "only Linux has this")
    copy = _syscall()(SYS_PIDFD_GETFD, pidfd, number, 0)
    if copy < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(copy)


@cache
def _syscall() -> Any:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = [ctypes.c_long] * 4
    return syscall
