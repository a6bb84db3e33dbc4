"""The machine that the figures are from: without it they mean nothing."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path


def describe() -> dict[str, str]:
    """Return what the table begins with, and the load as it is now."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processors": f"{len(os.sched_getaffinity(0))} x {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{_memory_gib():.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load averages": load(),
    }


def load() -> str:
    """Return the load averages."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def _memory_gib() -> float:
    return int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "0 unknown"
