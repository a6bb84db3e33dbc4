"""docs/passwords.rst says what there is."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import GROUP_NAME, LOCKED, MAGIC, SCHEME, VERSION
from supervisortw.core.srp import SCRYPT
from supervisortw.passwords.editor import help_lines
from supervisortw.passwords.main import _parser

DOCUMENT = (Path(__file__).parents[3] / "docs" / "passwords.rst").read_text(encoding="utf-8")


def test_the_commands_are_these() -> None:
    assert indent("\n".join(help_lines()), "    ") + "\n\n" in DOCUMENT


def test_all_options_are_told() -> None:
    options = {word for action in _parser()._actions for word in action.option_strings}
    told = set(re.findall(r"--?[a-z][a-z-]*", DOCUMENT))
    assert options - told == {"-h", "--help", "--generate"}


def test_the_form_of_the_file_is_this() -> None:
    assert f"{MAGIC} {VERSION} SECRET" in DOCUMENT
    for word in (SCHEME, LOCKED, GROUP_NAME, str(SCRYPT)):
        assert f"``{word}``" in DOCUMENT


def test_the_limits_are_those_in_force() -> None:
    for number, unit in (
        (LIMITS.password_characters_least, "characters at least"),
        (LIMITS.password_characters_advised, "draw\na warning"),
        (LIMITS.passwd_users, "users"),
        (LIMITS.passwd_bytes // 1024 // 1024, "MiB."),
    ):
        assert f"{number} {unit}" in DOCUMENT
