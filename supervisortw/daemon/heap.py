"""The memory that the C library keeps for later."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give the system all of it, which only glibc can be told to: 0.3 ms for 10 MiB, 7 ms for 200."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
