"""What macOS tells of processes, by a system library that is played."""

from __future__ import annotations

import ctypes
import struct

import pytest

from supervisortw.daemon import darwin, proc
from supervisortw.daemon.darwin import Info, boot, info


class FakeSystem:
    """Knows one process, pid 42, as the headers of macOS describe it."""

    def __init__(self, status: int = 2) -> None:
        numbers = [0, status, 0, 42, 7, *[501] * 6, 0]
        more = [3, 42, 0, 0, 0, 0]
        names = (b"sleep", b"sleep")
        self.data = struct.pack("=12I16s32s6I2Q", *numbers, *names, *more, 1_700_000_000, 123_456)

    def proc_pidinfo(  # as it is
        self,
        pid: ctypes.c_int,
        flavor: ctypes.c_int,
        argument: ctypes.c_uint64,
        buffer: ctypes.Array[ctypes.c_char],
        size: ctypes.c_int,
    ) -> int:
        assert (flavor.value, argument.value, size.value) == (3, 0, 136)
        if pid.value != 42:
            return 0
        buffer.raw = self.data
        return len(self.data)

    def sysctlbyname(  # as it is
        self, name: bytes, buffer: ctypes.Array[ctypes.c_char], size: object, new: None, length: int
    ) -> int:
        assert (name, new, length) == (b"kern.bootsessionuuid", None, 0)
        buffer.value = b"0A1B-2C3D"
        return 0


class OldSystem(FakeSystem):
    def sysctlbyname(self, *_: object) -> int:
        return -1


def test_a_process_is_told_with_its_start() -> None:
    expected = Info(parent=7, start=1_700_000_000.123456, is_zombie=False)
    assert info(42, FakeSystem()) == expected
    assert info(43, FakeSystem()) is None


def test_a_boot_has_a_name() -> None:
    assert boot(FakeSystem()) == "0A1B-2C3D"
    assert boot(OldSystem()) == ""


def test_there_all_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "IS_DARWIN", True)
    monkeypatch.setattr(darwin, "_system", FakeSystem)
    assert (proc.start(42), proc.parent(42)) == (1_700_000_000.123456, 7)
    assert (proc.start(43), proc.parent(43)) == (None, 0)
    assert proc.is_alive(42)
    assert not proc.is_alive(43)
    assert proc.world() == "0A1B-2C3D"
    monkeypatch.setattr(darwin, "_system", lambda: FakeSystem(status=5))
    assert not proc.is_alive(42)
