"""The types of this directory's fixtures: several conftest.py cannot be imported from by name."""

from __future__ import annotations

from collections.abc import Callable

from supervisortw.core.model import Configuration

Write = Callable[..., str]
Load = Callable[..., Configuration]
Complain = Callable[..., list[tuple[int | None, str]]]
