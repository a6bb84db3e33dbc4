"""Ends for lack of memory, by what the kernel has counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.daemon import process
from fakes.given import FakeCgroups
from twisted.internet.task import Clock

from supervisortw.core.exits import Oom
from supervisortw.daemon import oom
from supervisortw.daemon.oom import LATELY_SECONDS, VMSTAT, OomKills

WEB = process("web")
APART = process("web", cgroup=True)


class Kernel:
    """Files in which the kernel counts; ``looks`` is how often the system's was read."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vmstat = place / "vmstat"
        self.events = place / "memory.events"
        self.clock = Clock()
        self.cgroups = FakeCgroups()
        self.cgroups.events["web"] = str(self.events)
        self.looks = 0
        counted = oom._counted

        def count(path: str) -> int | None:
            self.looks += path == str(self.vmstat)
            return counted(path)

        monkeypatch.setattr(oom, "_counted", count)
        self.system(0)
        self.kills = OomKills(self.clock, self.cgroups, str(self.vmstat))

    def system(self, count: int) -> None:
        self.vmstat.write_text(f"nr_free_pages 7\noom_kill {count}\nnr_unstable 0\n")

    def cgroup(self, count: int) -> None:
        self.events.write_text(f"low 0\noom 1\noom_kill {count}\noom_group_kill 0\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def test_its_own_cgroup_tells_for_certain(kernel: Kernel) -> None:
    kernel.cgroup(3)
    before = kernel.kills.in_cgroup(APART)
    assert before == 3
    kernel.system(9)
    assert kernel.kills.verdict(APART, before) is Oom.NO
    kernel.cgroup(4)
    assert kernel.kills.verdict(APART, before) is Oom.YES
    assert kernel.looks == 1


def test_who_has_no_cgroup_is_not_looked_up_there(kernel: Kernel) -> None:
    kernel.cgroup(3)
    assert kernel.kills.in_cgroup(WEB) is None


def test_without_the_memory_controller_only_the_system_is_asked(kernel: Kernel) -> None:
    assert kernel.kills.in_cgroup(APART) is None
    kernel.system(1)
    assert kernel.kills.verdict(APART, None) is Oom.PERHAPS


def test_a_count_of_which_the_beginning_is_unknown_makes_it_likely(kernel: Kernel) -> None:
    kernel.cgroup(1)
    assert kernel.kills.verdict(APART, None) is Oom.PERHAPS
    kernel.cgroup(0)
    assert kernel.kills.verdict(APART, None) is Oom.NO


def test_the_system_is_looked_at_once_in_a_turn(kernel: Kernel) -> None:
    kernel.system(1)
    assert [kernel.kills.verdict(WEB, None) for _ in range(500)] == [Oom.PERHAPS] * 500
    assert kernel.looks == 2
    kernel.clock.advance(0)
    kernel.kills.verdict(WEB, None)
    assert kernel.looks == 3


def test_a_rise_counts_for_a_moment(kernel: Kernel) -> None:
    kernel.system(1)
    assert kernel.kills.verdict(WEB, None) is Oom.PERHAPS
    kernel.clock.advance(LATELY_SECONDS)
    assert kernel.kills.verdict(WEB, None) is Oom.PERHAPS
    kernel.clock.advance(0.1)
    assert kernel.kills.verdict(WEB, None) is Oom.NO
    kernel.system(2)
    kernel.clock.advance(0)
    assert kernel.kills.verdict(WEB, None) is Oom.PERHAPS


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill many\n", "oom_killer 7\n"])
def test_a_kernel_that_does_not_tell_gives_no_reason(kernel: Kernel, text: str) -> None:
    kernel.vmstat.write_text(text)
    assert kernel.kills.verdict(WEB, None) is Oom.NO
    kernel.vmstat.unlink()
    kernel.clock.advance(0)
    assert kernel.kills.verdict(WEB, None) is Oom.NO


@pytest.mark.needs_linux
def test_this_kernel_counts() -> None:
    assert oom._counted(VMSTAT) is not None
