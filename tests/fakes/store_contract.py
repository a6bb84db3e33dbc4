"""What every `DescriptorStore` promises, as checks that any of them can be put through.

A check is a function that takes a `World`: a store, and a way to let a daemon follow another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from supervisortw.interfaces import DescriptorStore

Check = Callable[["World"], None]
CHECKS: list[Check] = []

NAME = "output/web:web_1/stderr"
LONGEST = "x" * 512


class World(Protocol):
    """A store under test, and the daemons that use it one after the other."""

    @property
    def store(self) -> DescriptorStore:
        """What the present daemon keeps descriptors in."""

    def next_daemon(self) -> None:
        """Let the present daemon die without a word, and another one follow it."""

    def settle(self) -> None:
        """Let happen what follows of what was asked of the store."""


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


class Pipe:
    """A pipe; reading from it does not wait."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.reader)
        self.let_go()

    def let_go(self) -> None:
        """Close the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def has_end(self) -> bool:
        """True if nobody has the writing end any more."""
        try:
            return os.read(self.reader, 1) == b""
        except BlockingIOError:
            return False

    def is_end(self, descriptor: int) -> bool:
        """True if ``descriptor`` is the writing end; it is closed."""
        os.write(descriptor, b"hello")
        os.close(descriptor)
        return os.read(self.reader, 10) == b"hello"


def taken(world: World, name: str = NAME) -> int:
    descriptor = world.store.take(name)
    assert descriptor is not None
    return descriptor


@check
def test_what_was_kept_is_taken_by_the_next_daemon(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        world.next_daemon()
        assert pipe.is_end(taken(world))


@check
def test_a_copy_is_kept(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        pipe.let_go()
        world.settle()
        assert not pipe.has_end()
        world.next_daemon()
        assert pipe.is_end(taken(world))


@check
def test_each_is_taken_once_and_stays_kept(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        pipe.let_go()
        for _ in range(3):
            world.next_daemon()
            os.close(taken(world))
            assert world.store.take(NAME) is None
            world.settle()
            assert not pipe.has_end()


@check
def test_what_was_kept_now_is_for_a_later_daemon(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        world.settle()
        assert world.store.take(NAME) is None


@check
def test_nothing_is_taken_that_was_not_kept(world: World) -> None:
    world.next_daemon()
    assert world.store.take("output/other") is None


@check
def test_the_last_one_of_a_name_is_kept(world: World) -> None:
    with Pipe() as first, Pipe() as second:
        world.store.keep(NAME, first.writer)
        world.store.keep(NAME, second.writer)
        first.let_go()
        second.let_go()
        world.settle()
        assert first.has_end()
        assert not second.has_end()
        world.next_daemon()
        assert second.is_end(taken(world))


@check
def test_what_is_dropped_is_closed(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        pipe.let_go()
        world.store.drop(NAME)
        world.settle()
        assert pipe.has_end()
        world.next_daemon()
        assert world.store.take(NAME) is None


@check
def test_what_was_taken_can_be_dropped(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        pipe.let_go()
        world.next_daemon()
        descriptor = taken(world)
        world.store.drop(NAME)
        world.settle()
        assert not pipe.has_end(), "the copy that was taken is the daemon's own"
        os.close(descriptor)
        assert pipe.has_end()
        world.next_daemon()
        assert world.store.take(NAME) is None


@check
def test_what_was_taken_can_be_replaced(world: World) -> None:
    with Pipe() as first, Pipe() as second:
        world.store.keep(NAME, first.writer)
        world.next_daemon()
        os.close(taken(world))
        world.store.keep(NAME, second.writer)
        world.next_daemon()
        assert second.is_end(taken(world))


@check
def test_nothing_comes_of_dropping_what_is_not_kept(world: World) -> None:
    world.store.drop("output/other")
    world.settle()


@check
def test_names_are_told_apart_up_to_the_longest(world: World) -> None:
    names = [NAME, "output/web:web_1", "stdin/web:web_1", "socket/a/file", LONGEST, LONGEST[1:]]
    for number, name in enumerate(names):
        with Pipe() as pipe:
            os.write(pipe.writer, b"%d" % number)
            world.store.keep(name, pipe.reader)
    world.next_daemon()
    for number, name in enumerate(names):
        descriptor = taken(world, name)
        assert os.read(descriptor, 10) == b"%d" % number
        os.close(descriptor)


@check
def test_what_is_taken_is_closed_at_an_exec(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep(NAME, pipe.writer)
        world.next_daemon()
        descriptor = taken(world)
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


@check
def test_a_descriptor_keeps_how_it_was_opened(world: World) -> None:
    with Pipe() as pipe:
        world.store.keep("output/reader", pipe.reader)
        world.store.keep("output/writer", pipe.writer)
        world.next_daemon()
        for name, blocks in (("output/reader", False), ("output/writer", True)):
            descriptor = taken(world, name)
            assert os.get_blocking(descriptor) is blocks
            os.close(descriptor)


@check
def test_hundreds_are_kept(world: World) -> None:
    names = [f"output/web:web_{number}" for number in range(500)]
    with Pipe() as pipe:
        for name in names:
            world.store.keep(name, pipe.writer)
    world.next_daemon()
    for name in names:
        os.close(taken(world, name))
