"""Programs whose names are words of the configuration."""

from __future__ import annotations

import pytest
from config_fixture_types import Load


@pytest.mark.parametrize("name", ["user", "directory", "program", "supervisord", "USER"])
def test_a_program_may_be_called_like_a_key(load: Load, name: str) -> None:
    found = load(
        f"<supervisord>\nuser root\n<program {name}>\ncommand x\n</program>\n</supervisord>\n"
    )
    assert list(found.programs) == [name]
    assert found.settings.user == "root"
