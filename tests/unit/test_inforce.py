"""Reading the configuration that is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisortw.daemon import heap
from supervisortw.inforce import InForce


def test_memory_that_reading_needed_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading of a thousand programs leaves 2 MiB that are free."""
    given_back: list[str] = []
    monkeypatch.setattr(heap, "give_back", lambda: given_back.append("all"))
    path = tmp_path / "supervisord.conf"
    path.write_text("<supervisord>\n</supervisord>\n")
    in_force = InForce(str(path))
    in_force.keep(in_force.from_disk(), str(tmp_path))
    assert given_back == ["all"]
    assert in_force.kept(str(tmp_path)) is not None
    assert given_back == ["all", "all"]
