"""What a process does that holds a password: its memory ends up in no file, and nobody looks into it."""

from __future__ import annotations

import contextlib
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_memory_secret() -> None:
    """Leave no core dump, and let no other process of the same user read this one's memory.

    That holds until the end of the process. The second half is for Linux only.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # takes time, and most commands need no password

        with contextlib.suppress(AttributeError):  # of a C library that does not have it
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (0, 0, 0, 0)))
