"""The sample configuration that the package carries with it."""

from __future__ import annotations

from importlib.resources import files


def sample() -> str:
    """Return the text of a commented configuration for supervisord, ready to be edited."""
    return files("supervisortw.config").joinpath("sample.conf").read_text(encoding="utf-8")
