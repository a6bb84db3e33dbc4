"""A context that can be entered within itself."""

from __future__ import annotations

import pytest

from supervisortw.daemon.nested import Nested


def test_it_is_over_when_the_outermost_one_has_ended() -> None:
    overs: list[int] = []
    nested = Nested(lambda: overs.append(nested.depth))
    assert nested.depth == 0
    with nested:
        with nested:
            assert nested.depth == 2
        assert nested.depth == 1
        assert not overs
    assert overs == [0], "what follows is not within it any more"
    with nested:
        pass
    assert overs == [0] * 2


def test_it_is_over_also_after_an_error() -> None:
    overs: list[int] = []
    nested = Nested(lambda: overs.append(1))
    with pytest.raises(KeyError), nested, nested:
        raise KeyError
    assert overs == [1]
    assert nested.depth == 0


def test_it_begins_once() -> None:
    depths: list[int] = []
    nested = Nested(lambda: None, lambda: depths.append(nested.depth))
    for _ in range(2):
        with nested, nested:
            pass
    assert depths == [0, 0]
