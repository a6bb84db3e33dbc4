"""Giving back memory, in an interpreter of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from textwrap import dedent

import pytest
from leaving_out import leave_out

from supervisortw.daemon import heap

# The objects are too large for Python's own pools; the last one keeps the others' memory from going.
GIVES_BACK = """
    from supervisortw.daemon.heap import give_back

    def resident():
        with open("/proc/self/status") as status:
            [line] = [line for line in status if line.startswith("RssAnon:")]
        return int(line.split()[1]) * 1024

    objects = [bytes(1000) for _ in range(20_000)]
    last = bytes(1000)
    del objects
    before = resident()
    give_back()
    print(before - resident())
    """


@pytest.mark.needs_linux
def test_what_is_free_goes_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        leave_out("needs glibc")
    done = subprocess.run(
        [sys.executable, "-c", dedent(GIVES_BACK)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    assert int(done.stdout) > 15_000_000


def test_a_library_that_cannot_be_told_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.give_back()
