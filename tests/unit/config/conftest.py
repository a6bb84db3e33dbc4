"""A directory to write configurations into, and a user who is the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from config_fixture_types import Complain, Load, Write

from supervisortw.config.loader import load_daemon
from supervisortw.core.model import Configuration
from supervisortw.errors import ConfigError


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file and returns its path."""

    def write(text: str | bytes, name: str = "supervisord.conf") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return str(path)

    return write


@pytest.fixture
def load(write: Write) -> Load:
    """Return a function that loads a text as a configuration."""

    def load(text: str, overrides: Mapping[str, Sequence[str]] | None = None) -> Configuration:
        return load_daemon(write(text), overrides or {})

    return load


@pytest.fixture
def complain(write: Write) -> Complain:
    """Return a function that returns line and message of each problem of a text."""

    def complain(
        text: str | bytes, overrides: Mapping[str, Sequence[str]] | None = None
    ) -> list[tuple[int | None, str]]:
        with pytest.raises(ConfigError) as caught:
            load_daemon(write(text), overrides or {})
        return [(problem.line, problem.message) for problem in caught.value.problems]

    return complain
