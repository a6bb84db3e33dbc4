import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.auth import powmod as powers
from supervisortw.core.srp import GROUP


@pytest.fixture(autouse=True)
def fresh():
    powers._fastest.cache_clear()
    yield
    powers._fastest.cache_clear()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, GROUP.prime - 2), st.integers(1, 2**400))
def test_both_ways_give_the_same(base, exponent) -> None:
    pytest.importorskip("gmpy2")
    found = powers.powmod(base, exponent, GROUP.prime)
    assert found == pow(base, exponent, GROUP.prime)
    assert type(found) is int


def test_gmpy2_is_used_where_it_is_installed() -> None:
    gmpy2 = pytest.importorskip("gmpy2")
    assert powers._fastest() is gmpy2.powmod_sec


def test_nothing_but_python_is_needed(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    assert powers._fastest() is pow
    assert powers.powmod(3, 5, 7) == 5
