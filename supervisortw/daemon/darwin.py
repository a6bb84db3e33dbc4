"""What macOS tells of processes, where Linux has /proc."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from typing import Any

# struct proc_bsdinfo of <sys/proc_info.h>: twelve numbers, two names, six numbers, and the start.
_BSDINFO = struct.Struct("=12I16s32s6I2Q")
PROC_PIDTBSDINFO = 3
SZOMB = 5
BOOT = b"kern.bootsessionuuid"
BOOT_BYTES = 64
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """One process; ``start`` is when it was started, in seconds of `time.time`."""

    parent: int
    start: float
    is_zombie: bool


def _system() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def info(pid: int, system: Any = None) -> Info | None:
    """Return what is known of a process, None if it is not there or is hidden from us."""
    buffer = ctypes.create_string_buffer(_BSDINFO.size)
    found = (system or _system()).proc_pidinfo(
        ctypes.c_int(pid),
        ctypes.c_int(PROC_PIDTBSDINFO),
        ctypes.c_uint64(0),
        buffer,
        ctypes.c_int(_BSDINFO.size),
    )
    if found != _BSDINFO.size:
        return None
    fields = _BSDINFO.unpack(buffer.raw)
    status, parent, seconds, microseconds = fields[1], fields[4], fields[-2], fields[-1]
    return Info(
        parent=parent,
        start=seconds + microseconds / MICROSECONDS,
        is_zombie=status == SZOMB,
    )


def boot(system: Any = None) -> str:
    """Return what this boot of the machine is called; empty if it has no name."""
    buffer = ctypes.create_string_buffer(BOOT_BYTES)
    size = ctypes.c_size_t(BOOT_BYTES)
    failed = (system or _system()).sysctlbyname(BOOT, buffer, ctypes.byref(size), None, 0)
    return "" if failed else buffer.value.decode("ascii", "replace")
