"""The share of the processors that the daemon asks for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisortw.daemon.autogroup import weigh_more


@pytest.mark.parametrize("leader", [os.getpid(), os.getppid()], ids=["daemon", "holder"])
def test_a_session_of_its_own_weighs_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leader: int
) -> None:
    monkeypatch.setattr(os, "getsid", lambda _: leader)
    weigh_more(str(tmp_path / "autogroup"))
    assert (tmp_path / "autogroup").read_text() == "-10"


def test_the_session_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getsid", lambda _: 1 + max(os.getpid(), os.getppid()))
    weigh_more(str(tmp_path / "autogroup"))
    assert not (tmp_path / "autogroup").exists()


def test_where_there_is_no_such_thing_it_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    weigh_more(str(tmp_path / "nosuch" / "autogroup"))
