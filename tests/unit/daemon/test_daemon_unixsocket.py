"""The name of a UNIX socket, when somebody puts something else in its place."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisortw.daemon import unixsocket
from supervisortw.daemon.unixsocket import SocketName, is_socket
from supervisortw.errors import LocalError

OURSELVES = os.geteuid(), os.getegid()


@dataclass
class Bench:
    place: Path
    name: SocketName

    @property
    def precious(self) -> Path:
        """A file that nobody should touch."""
        return self.place / "precious"

    def replace_by_link(self) -> None:
        os.unlink("s")
        os.symlink(self.precious, "s")

    def replace_by_hard_link(self) -> None:
        os.unlink("s")
        os.link(self.precious, "s")

    def remove(self) -> None:
        os.unlink("s")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)  # for a name that is short enough
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        bench = Bench(tmp_path, SocketName("s"))
        bench.precious.write_text("precious")
        bench.precious.chmod(0o600)
        yield bench
        assert mode(bench.precious) == 0o600
        assert bench.precious.read_text() == "precious"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


REPLACEMENTS = [Bench.replace_by_link, Bench.replace_by_hard_link, Bench.remove]
each_replacement = pytest.mark.parametrize("replace", REPLACEMENTS)


def test_it_is_changed(bench: Bench) -> None:
    bench.name.change(0o666, OURSELVES)
    assert mode(bench.place / "s") == 0o666


@each_replacement
def test_what_was_put_in_its_place_is_not_changed(
    bench: Bench, replace: Callable[[Bench], None]
) -> None:
    replace(bench)
    with pytest.raises(LocalError, match=r"^s was removed or replaced by somebody$"):
        bench.name.change(0o666, OURSELVES)


@pytest.mark.needs_linux
@each_replacement
def test_what_is_put_there_at_the_last_moment_is_not_changed(
    bench: Bench, replace: Callable[[Bench], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(path: str, flags: int) -> int:
        replace(bench)
        return opened(path, flags)

    opened = os.open
    monkeypatch.setattr(unixsocket.os, "open", swapped)
    with pytest.raises(LocalError):
        bench.name.change(0o666, OURSELVES)


@pytest.mark.needs_linux
@each_replacement
def test_what_is_put_there_too_late_is_not_changed(
    bench: Bench, replace: Callable[[Bench], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(path: str, flags: int) -> int:
        descriptor = opened(path, flags)
        replace(bench)
        return descriptor

    opened = os.open
    monkeypatch.setattr(unixsocket.os, "open", swapped)
    bench.name.change(0o666, OURSELVES)


@each_replacement
def test_what_was_put_in_its_place_is_not_removed(
    bench: Bench, replace: Callable[[Bench], None]
) -> None:
    replace(bench)
    before = os.listdir()
    bench.name.remove()
    assert os.listdir() == before


def test_it_is_removed(bench: Bench) -> None:
    assert bench.name.is_there()
    bench.name.remove()
    assert os.listdir() == ["precious"]
    assert not bench.name.is_there()


@pytest.mark.needs_linux
def test_it_is_known_again_by_what_was_held_of_it(bench: Bench) -> None:
    held = bench.name.held()
    assert held is not None
    assert not os.get_inheritable(held)
    again = SocketName("s", held)
    assert again.is_there()
    os.rename("s", "elsewhere")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("s")
        assert not SocketName("s", held).is_there()
        assert SocketName("elsewhere", held).is_there()
    os.close(held)


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_nothing_is_held_of_what_is_not_ours(
    bench: Bench, replace: Callable[[Bench], None]
) -> None:
    replace(bench)
    assert bench.name.held() is None
    assert not is_socket("s")


def test_nothing_is_held_where_that_is_not_possible(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH", raising=False)
    assert bench.name.held() is None
    assert is_socket("s")
