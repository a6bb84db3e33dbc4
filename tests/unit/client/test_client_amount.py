"""How much of a log is asked for, and whether it is followed."""

from __future__ import annotations

import pytest

from supervisortw.client.amount import Amount, log_arguments
from supervisortw.client.command import UsageError
from supervisortw.core.limits import LIMITS


@pytest.mark.parametrize(
    ("words", "follow", "lines", "names"),
    [
        ([], False, LIMITS.tail_lines, []),
        (["web"], False, LIMITS.tail_lines, ["web"]),
        (["-f", "web"], True, LIMITS.tail_lines, ["web"]),
        (["web", "-3", "-f"], True, 3, ["web"]),
        (["-0", "web"], False, 0, ["web"]),
        (["-1", "-2", "a", "b"], False, 2, ["a", "b"]),
        (["-n", "20", "web"], False, 20, ["web"]),
        (["-n20", "web"], False, 20, ["web"]),
        (["web", "-n", "0", "-f"], True, 0, ["web"]),
        (["-c", "5", "-n", "7"], False, 7, []),
    ],
)
def test_lines_in_any_order(words: list[str], follow: bool, lines: int, names: list[str]) -> None:
    assert log_arguments(words) == (follow, Amount(lines=lines), names)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("64K", 64 * 1024),
        ("64kb", 64 * 1024),
        ("10M", 10 * 1024**2),
        ("3GB", 3 * 1024**3),
        ("7B", 7),
    ],
)
def test_bytes(value: str, size: int) -> None:
    for words in (["-c", value], [f"-c{value}"], ["-3", "-c", value]):
        assert log_arguments([*words, "web"]) == (False, Amount(size=size), ["web"])


@pytest.mark.parametrize(
    "word", ["-x", "-", "--", "-f1", "--follow", "-1x", "-²", "-\x1b", "-" + "9" * 19]
)
def test_anything_else_with_a_dash_is_no_option(word: str) -> None:
    with pytest.raises(UsageError, match="unknown option: -") as caught:
        log_arguments([word, "web"])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["", "x", "-1", "+5", "1K", "²", "9" * 19])
def test_no_number_of_lines(value: str) -> None:
    for words in (["-n", value], [f"-n{value}"]):
        with pytest.raises(UsageError, match="-n takes a number of lines"):
            log_arguments(words)


@pytest.mark.parametrize("value", ["", "x", "-1", "K", "1T", "1KK", "1.5M", "٣", "9" * 19])
def test_no_number_of_bytes(value: str) -> None:
    for words in (["-c", value], [f"-c{value}"]):
        with pytest.raises(UsageError, match="-c takes a number of bytes"):
            log_arguments(words)
