"""Files of environment variables."""

from __future__ import annotations

import pytest

from supervisortw.core.envfile import parse


def test_a_file_as_a_shell_would_read_it() -> None:
    text = """
# a comment
A=1
export B='two words'
C="with # and $HOME"
 D = spaced
A=last
E=
F='open"
"""
    assert parse(text) == {
        "A": "last",
        "B": "two words",
        "C": "with # and $HOME",
        "D": "spaced",
        "E": "",
        "F": "'open\"",
    }


@pytest.mark.parametrize("line", ["secret", "1A=secret", "=secret", "A B=secret", "A-B=secret"])
def test_what_is_no_variable_is_told_by_line_without_its_value(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2: expected NAME=VALUE$"):
        parse(f"OK=1\n{line}\n")


def test_a_nul_character_cannot_be_passed_on() -> None:
    with pytest.raises(ValueError, match="NUL"):
        parse("A=\0")
