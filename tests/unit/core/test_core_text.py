"""Nothing that came from elsewhere steers a terminal or forges a line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.text import one_line, printable, seconds

# Characters that change the direction of text (Unicode's Bidi_Control).
BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
ZERO_WIDTH = {0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF}
NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # controls, halves of pairs, line and paragraph separators
ANYTHING = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from([*map(chr, BIDI | ZERO_WIDTH), "\x1b", "\x9b", "\r", "\n", "\t", "\\"]),
    )
)


def is_harmless(character: str) -> bool:
    if character in "\t\n":
        return True
    number = ord(character)
    return unicodedata.category(character) not in NOT_TEXT and number not in BIDI | ZERO_WIDTH


def test_every_character_that_could_do_something_is_shown_as_an_escape() -> None:
    everything = "".join(map(chr, range(0x1_0000)))  # there is nothing harmful beyond
    shown = set(printable(everything))
    assert [f"U+{ord(each):04X}" for each in sorted(shown) if not is_harmless(each)] == []


def test_text_of_all_languages_stays() -> None:
    for text in ("plain", "Grüße", "日本語", "שלום", "🐍", "naïve\tand\n", "\\x1b is no escape"):
        assert printable(text) == text


@given(ANYTHING)
def test_what_comes_out_is_harmless(text: str) -> None:
    assert all(map(is_harmless, printable(text)))


@given(ANYTHING)
def test_once_is_enough(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(st.binary())
def test_bytes_of_any_kind_come_out_harmless(data: bytes) -> None:
    assert all(map(is_harmless, printable(data)))


@given(ANYTHING)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    assert not line.endswith("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb", "a\\x0db"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f", "\\x7f"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\udcff", "\\udcff"),
        ("a\tb\nc", "a\tb\nc"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"gr\xc3\xbc\xc3\x9fe", "grüße"),
        (b"half \xc3", "half \\xc3"),
    ],
)
def test_how_it_is_shown(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


def test_how_a_line_is_shown() -> None:
    assert one_line("web: up\napi\tdown\r\n") == "web: up\\napi down\\x0d\\n"
    assert one_line(b"\x00") == "\\x00"


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (59.99, "59 s"),
        (60, "1:00"),
        (185.2, "3:05"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (86_399, "23:59:59"),
        (86_400, "1 d 00:00:00"),
        (4 * 86_400 + 3723, "4 d 01:02:03"),
        (400 * 86_400, "400 d 00:00:00"),
    ],
)
def test_durations(duration: float, told: str) -> None:
    assert seconds(duration) == told
