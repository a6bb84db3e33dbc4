"""The memory that the C library keeps for later."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give the system all of it. Only glibc can be told to; 200 MiB of memory take it 7 ms, 10 MiB 0.3."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
