"""The mark in the environment of what a program starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.spawnid import SpawnId

NAMES = st.from_regex(r"[A-Za-z0-9_.@-]{1,64}(:[A-Za-z0-9_.@-]{1,64})?", fullmatch=True)


@given(st.from_regex(r"[0-9a-f]{1,32}", fullmatch=True), NAMES, st.integers(0, 10**15))
def test_its_text_means_the_same(daemon: str, name: str, number: int) -> None:
    spawn = SpawnId(daemon=daemon, name=name, number=number)
    assert SpawnId.parse(str(spawn)) == spawn


def test_a_full_name_may_hold_a_colon() -> None:
    spawn = SpawnId.parse("0af3:web:api:12")
    assert spawn == SpawnId(daemon="0af3", name="web:api", number=12)
    assert spawn.process == ("0af3", "web:api")


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "::", "abc:web", "abc:web:", "abc::1", ":web:1", "abc:web:-1", "abc:web:1 "),
        *("xyz:web:1", "ABC:web:1", "abc:web:1\n", "abc:we\nb:1", "abc:web:" + "1" * 19),
        *("abc:web:\u0661", "a" * 65 + ":web:1", "abc:" + "w" * 257 + ":1"),
    ],
)
def test_what_it_never_is_means_nothing(text: str) -> None:
    assert SpawnId.parse(text) is None
