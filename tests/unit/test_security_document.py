"""The table of docs/security.rst names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_named_is_there() -> None:
    text = (ROOT / "docs" / "security.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"``(test_\w+)``", text))
    there = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(named) > 30
    assert named <= there
