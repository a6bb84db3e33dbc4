"""Who was started when."""

from __future__ import annotations

import pytest

from supervisortw.core.born import Born


@pytest.mark.parametrize(
    ("start", "agrees"),
    [
        (99.97, False),
        (99.98, True),  # told in hundredths, and rounded down
        (100.3, True),
        (100.52, True),
        (100.53, False),
        (None, False),
    ],
)
def test_a_start_between_two_times_is_that_of_the_process(
    start: float | None, agrees: bool
) -> None:
    assert Born(100.0, 100.5).agrees_with(start) is agrees
