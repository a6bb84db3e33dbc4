"""The fake store keeps the contract of a DescriptorStore; what keeps nothing says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("fakes.store_contract")  # its asserts say what they compared

# ruff: noqa: E402
from fakes import store_contract
from fakes.store import FakeStore
from fakes.store_contract import Check, Pipe

from supervisortw.daemon.store import NoStore


class FakeWorld:
    def __init__(self) -> None:
        self.store = FakeStore()

    def next_daemon(self) -> None:
        self.store.next_daemon()

    def settle(self) -> None: ...


@pytest.fixture
def world() -> Iterator[FakeWorld]:
    world = FakeWorld()
    yield world
    world.store.close()


@pytest.mark.parametrize("check", store_contract.CHECKS, ids=lambda check: check.__name__)
def test_the_fake_keeps_the_contract(check: Check, world: FakeWorld) -> None:
    check(world)


def test_no_store_keeps_nothing() -> None:
    with Pipe() as pipe:
        store = NoStore()
        store.keep("output/web", pipe.writer)
        store.drop("output/other")
        assert store.take("output/web") is None
        pipe.let_go()
        assert pipe.has_end()
