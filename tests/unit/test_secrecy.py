"""What becomes of a process that holds a password. Each test has one of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DAEMON = 1  # the uid of an account that is there everywhere
SCRIPT = f"""
import ctypes, os
from supervisortw.secrecy import keep_memory_secret

if os.geteuid() == 0:  # whose files are root's anyway
    os.setresuid({DAEMON}, {DAEMON}, {DAEMON})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
for _ in range(2):
    print(os.stat("/proc/self/mem").st_uid == os.geteuid())
    print([line.split()[4:6] for line in open("/proc/self/limits") if "core file" in line])
    keep_memory_secret()
"""


@pytest.mark.needs_linux
def test_no_memory_of_it_gets_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    before, _, after, limits = done.stdout.splitlines()
    assert (before, after) == ("True", "False"), "the kernel gives the files of /proc to root then"
    assert limits == "[['0', '0']]"
