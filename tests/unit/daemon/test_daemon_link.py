"""The daemon's link to the holder, with the holder's own end of it on the other side."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import holder
from supervisortw.daemon import link as of_daemon
from supervisortw.daemon.holder import MAX_ENDS, Channel, Ends, Store
from supervisortw.daemon.link import HolderLink
from supervisortw.daemon.store import NoStore
from supervisortw.interfaces import DescriptorStore

CODE = 256


class Reactor(FakeReaders):
    """Holds a reader and a writer, and calls that are due in the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Any] = []
        self.later: list[Callable[[], None]] = []

    def addWriter(self, writer: object) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[IReadDescriptor]:
        self.writers = []
        return super().removeAll()

    def callLater(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == 0
        self.later.append(call)

    def write(self) -> None:
        """Let the writer write, if it can."""
        for writer in list(self.writers):
            if select.select([], [writer.fileno()], [], 0)[1]:
                writer.doWrite()


class Holding:
    """A holder that does what it is asked for whenever the daemon waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ours, theirs = holder.link()
        self.store = Store(2000)
        self.ends = Ends()
        self.channel = Channel(self.ours, self.store, self.ends)
        self.dies = False
        self.link = HolderLink(socket.socket(fileno=theirs.detach()))
        wait = HolderLink._wait

        def turn_first(link: HolderLink, *given: Any) -> bool:
            if self.dies:
                self.ours.close()
            else:
                self.turn()
            return wait(link, *given)

        monkeypatch.setattr(HolderLink, "_wait", turn_first)

    def turn(self) -> None:
        while self.channel.receive():
            pass
        self.channel.send()

    def kept(self) -> list[str]:
        self.turn()
        names: list[str] = []
        while True:
            lines = self.store.piece(len(names))[0].decode().splitlines()
            names += [line.removeprefix("kept ") for line in lines[:-1]]
            if lines[-1] == "end":
                return names

    def next_daemon(self) -> HolderLink:
        """Return the link of the daemon that follows."""
        self.turn()
        self.link._channel.close()
        self.ours.close()
        self.ours, theirs = holder.link()
        self.channel = Channel(self.ours, self.store, self.ends)
        self.link = HolderLink(socket.socket(fileno=theirs.detach()), 1, "signal 9")
        return self.link

    def fill(self) -> int:
        """Let the daemon say more than the socket takes; return how much of it waits."""
        number = 0
        while not self.link._waiting:
            number += 1
            self.link.forget(number)
        return number

    def close(self) -> None:
        for name in self.kept():
            self.store.drop(name.encode())
        for descriptor in self.link._fetched.values():
            os.close(descriptor)
        self.link._is_gone()
        self.ours.close()


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Holding]:
    holding = Holding(monkeypatch)
    yield holding
    if not holding.dies:
        holding.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def is_same(one: int, other: int) -> bool:
    return os.path.samestat(os.fstat(one), os.fstat(other))


def open_files() -> list[str]:
    return os.listdir("/dev/fd")


class TestInherited:
    def test_it_is_inherited_once_and_not_passed_on(self) -> None:
        ours, theirs = holder.link()
        os.set_inheritable(theirs.fileno(), True)
        number = theirs.detach()
        environment = {"SUPERVISOR_HOLDER_FD": str(number), "PATH": "/bin"}
        link = HolderLink.inherited(environment)
        assert link is not None
        assert environment == {"PATH": "/bin"}
        assert not os.get_inheritable(number)
        assert (link.generation, link.last_end, link.pid) == (0, None, os.getppid())
        link.ready()
        assert ours.recv(100) == b"ready\n"
        assert HolderLink.inherited(environment) is None
        ours.close()
        link._is_gone()

    def test_it_tells_what_was_before(self) -> None:
        ours, theirs = holder.link()
        environment = {
            "SUPERVISOR_HOLDER_FD": str(theirs.detach()),
            "SUPERVISOR_GENERATION": "3",
            "SUPERVISOR_LAST_END": "signal 9",
        }
        link = HolderLink.inherited(environment)
        assert link is not None
        assert environment == {}
        assert (link.generation, link.last_end) == (3, "signal 9")
        ours.close()
        link._is_gone()

    def test_without_a_holder_nothing_is_left_either(self) -> None:
        environment = {"SUPERVISOR_GENERATION": "3", "PATH": "/bin"}
        assert HolderLink.inherited(environment) is None
        assert environment == {"PATH": "/bin"}


def test_what_is_announced_is_understood(holding: Holding) -> None:
    holding.link.ready()
    holding.turn()
    assert (holding.channel.ready, holding.channel.final) == (True, None)
    holding.link.final(7)
    holding.turn()
    assert holding.channel.final == 7


class TestStore:
    def test_the_next_daemon_takes_back_what_was_kept(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        store: DescriptorStore = holding.link
        store.keep("output/web", pipe[0])
        store.keep("stdin/web", pipe[1])
        store.keep("notify/web", pipe[0])
        store.drop("notify/web")
        store.drop("nothing")
        assert holding.kept() == ["output/web", "stdin/web"]
        link = holding.next_daemon()
        link.fetch()
        assert link.take("notify/web") is None
        found = [link.take("output/web"), link.take("stdin/web")]
        assert link.take("output/web") is None
        for ours, theirs in zip(pipe, found, strict=True):
            assert theirs is not None
            assert is_same(ours, theirs)
            assert not os.get_inheritable(theirs)
            os.close(theirs)
        link.drop_untaken()
        assert holding.kept() == ["output/web", "stdin/web"]

    def test_what_nobody_took_is_let_go_of(self, holding: Holding, pipe: tuple[int, int]) -> None:
        for name in ("a", "b", "c"):
            holding.link.keep(name, pipe[0])
        link = holding.next_daemon()
        before = open_files()
        link.fetch()
        taken = link.take("b")
        assert taken is not None
        link.drop_untaken()
        os.close(taken)
        assert open_files() == before
        assert holding.kept() == ["b"]

    def test_what_was_made_anew_meanwhile_is_not_what_nobody_took(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        for name in ("stdin/web", "stdin/db"):
            holding.link.keep(name, pipe[0])
        link = holding.next_daemon()
        before = open_files()
        link.fetch()
        link.keep("stdin/web", pipe[1])  # web has ended meanwhile, and its next process has a pipe
        link.drop("stdin/db")
        link.drop_untaken()
        assert open_files() == before
        assert holding.kept() == ["stdin/web"]

    def test_more_come_back_than_fit_into_one_message(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        names = [f"output/{number}" for number in range(400)]
        for name in names:
            holding.link.keep(name, pipe[0])
            holding.turn()
        link = holding.next_daemon()
        link.fetch()
        for name in names:
            descriptor = link.take(name)
            assert descriptor is not None
            os.close(descriptor)

    def test_nothing_is_kept_at_first(self, holding: Holding) -> None:
        holding.link.fetch()
        assert holding.link.take("output/web") is None
        holding.link.drop_untaken()

    def test_what_cannot_be_received_is_told(
        self, holding: Holding, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [str(number) for number in range(150)]
        for name in names:
            holding.link.keep(name, pipe[0])
            holding.turn()
        link = holding.next_daemon()
        monkeypatch.setattr(of_daemon, "MAX_DESCRIPTORS", 20)
        with log_lines() as lines:
            link.fetch()
        taken = [descriptor for name in names if (descriptor := link.take(name)) is not None]
        for descriptor in taken:
            os.close(descriptor)
        assert 60 <= len(taken) < 150
        assert lines == [
            f"{150 - len(taken)} pipes and sockets of programs could not be taken back: "
            "too many open files"
        ]
        link.drop_untaken()
        assert len(holding.kept()) == 150

    def test_no_store_keeps_nothing(self, pipe: tuple[int, int]) -> None:
        store: DescriptorStore = NoStore()
        store.keep("a", pipe[0])
        assert store.take("a") is None
        store.drop("a")


class TestEnds:
    def test_all_are_told_until_they_are_forgotten(self, holding: Holding) -> None:
        assert holding.link.ended_now() == {}
        for pid in range(1, 2 * MAX_ENDS + 1):
            holding.ends.note(pid, CODE)
        link = holding.next_daemon()
        assert link.ended_now() == dict.fromkeys(range(MAX_ENDS + 1, 2 * MAX_ENDS + 1), CODE)
        for pid in range(MAX_ENDS + 2, 2 * MAX_ENDS + 1):
            link.forget(pid)
            holding.turn()
        assert holding.next_daemon().ended_now() == {MAX_ENDS + 1: CODE}

    def test_whoever_ends_later_is_told_by_the_reactor(self, holding: Holding) -> None:
        link, reactor = holding.link, Reactor()
        ended: list[tuple[int, int]] = []
        holding.ends.note(50, CODE)
        holding.turn()
        link.fetch()  # hears of 50 by the way
        link.listen(reactor, lambda pid, status: ended.append((pid, status)), lambda: None)
        assert ended == [(50, CODE)]
        reactor.read()
        holding.ends.note(51, 9)
        holding.ends.note(52, 0)
        holding.turn()
        reactor.read()
        assert ended == [(50, CODE), (51, 9), (52, 0)]

    def test_what_was_told_by_ended_now_is_not_told_again(self, holding: Holding) -> None:
        link, reactor = holding.link, Reactor()
        ended: list[tuple[int, int]] = []
        holding.ends.note(50, CODE)
        holding.turn()
        assert link.ended_now() == {50: CODE}
        link.listen(reactor, lambda pid, status: ended.append((pid, status)), lambda: None)
        holding.turn()
        reactor.read()
        assert ended == []

    def test_a_flood_leaves_others_their_turn(self, holding: Holding) -> None:
        link, reactor = holding.link, Reactor()
        ended: list[int] = []
        link.listen(reactor, lambda pid, status: ended.append(pid), lambda: None)
        number = 3 * LIMITS.holder_messages_per_turn
        for pid in range(number):
            holding.ends.note(pid, 0)
            holding.turn()
        reactor.turn()
        assert len(ended) == LIMITS.holder_messages_per_turn
        reactor.read()
        assert ended == list(range(number))


class TestAHolderThatDoesNotListen:
    """It is stopped, or very slow: nothing waits for it."""

    def test_what_it_does_not_take_is_sent_when_it_does(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        link, reactor = holding.link, Reactor()
        link.listen(reactor, lambda pid, status: None, lambda: None)
        holding.fill()
        read, write = os.pipe()
        link.keep("output/web", read)
        os.close(read)  # the link has its own copy
        link.keep("output/db", write)
        os.close(write)
        assert reactor.writers == [link]
        reactor.write()
        assert len(link._waiting) == 3  # it is still full
        while reactor.writers:
            holding.turn()
            reactor.write()
        assert holding.kept() == ["output/web", "output/db"]

    def test_of_what_is_said_about_one_name_the_last_is_sent(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        holding.fill()
        before = open_files()
        holding.link.keep("a", pipe[0])
        holding.link.keep("b", pipe[0])
        holding.link.drop("a")
        holding.link.keep("b", pipe[1])
        holding.link.forget(7)
        holding.link.forget(7)
        assert len(open_files()) == len(before) + 1
        holding.turn()
        link = holding.link
        link.forget(8)  # sends the rest first
        assert open_files() == before
        holding.turn()
        assert holding.kept() == ["b"]
        link = holding.next_daemon()
        link.fetch()
        found = link.take("b")
        assert found is not None
        os.write(pipe[1], b"x")
        assert select.select([found], [], [], 0)[0] == []  # the writing end
        os.close(found)

    def test_what_waits_is_bounded_and_told_once(
        self, holding: Holding, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = holding.fill()
        with log_lines() as lines:
            for more in range(LIMITS.holder_messages + 10):
                holding.link.forget(number + more)
            holding.link.keep("a", pipe[0])
        assert len(holding.link._waiting) == LIMITS.holder_messages
        assert lines == [
            "the holder cannot be told what to keep: it does not listen, and too much waits for it"
        ]
        monkeypatch.setattr(HolderLink, "_wait", lambda *given: False)
        holding.link.final(3)
        while holding.link._waiting:
            holding.turn()
            holding.link._send_waiting()
        holding.turn()
        assert holding.channel.final == 3

    def test_the_last_word_waits_for_it(self, holding: Holding) -> None:
        holding.fill()
        holding.link.final(5)
        holding.turn()
        assert holding.channel.final == 5

    def test_the_last_word_does_not_wait_for_ever(
        self, holding: Holding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0

        def wait(link: HolderLink, events: int, seconds: float) -> bool:
            nonlocal now
            assert 0 < seconds <= LIMITS.holder_last_word_seconds
            now += 2
            return True

        monkeypatch.setattr(HolderLink, "_wait", wait)
        monkeypatch.setattr(of_daemon.time, "monotonic", lambda: now)
        holding.fill()
        holding.link.final(5)
        assert now == 1000 + 6

    def test_no_descriptor_for_a_copy_is_no_error(
        self, holding: Holding, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dup(descriptor: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        holding.fill()
        monkeypatch.setattr(os, "dup", dup)
        with log_lines() as lines:
            holding.link.keep("a", pipe[0])
        assert lines == ["the holder cannot be told what to keep: Too many open files"]

    def test_what_the_kernel_refuses_for_good_is_told_once(
        self, holding: Holding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Refusing:
            def sendmsg(self, *given: object) -> int:
                raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")

        channel = holding.link._channel
        monkeypatch.setattr(holding.link, "_channel", Refusing())
        with log_lines() as lines:
            holding.link.keep("a", 0)
            holding.link.keep("b", 0)
        assert len(lines) == 1
        assert not holding.link._waiting
        monkeypatch.setattr(holding.link, "_channel", channel)

    def test_a_stream_that_takes_a_part_gets_the_rest_first(self) -> None:
        class Narrow:
            """Takes seven bytes at a time, and every third time none."""

            def __init__(self) -> None:
                self.taken = b""
                self.times = 0

            def setblocking(self, flag: bool) -> None: ...

            def close(self) -> None: ...

            def sendmsg(self, data: list[bytes], rights: list[object]) -> int:
                self.times += 1
                if self.times % 3 == 0:
                    raise BlockingIOError
                self.taken += data[0][:7]
                return len(data[0][:7])

        narrow = Narrow()
        link = HolderLink(narrow)  # type: ignore[arg-type]
        expected = b""
        for number in range(1000, 1020):
            link.forget(number)
            expected += b"forget %d\n" % number
        while link._waits:
            link._send_waiting()
        assert narrow.taken == expected


class TestAHolderThatIsGone:
    def test_it_needs_no_telling(self, holding: Holding, pipe: tuple[int, int]) -> None:
        link = holding.link
        holding.ours.close()
        holding.dies = True
        link.ready()
        link.keep("a", pipe[0])
        link.drop("a")
        link.forget(5)
        link.final(0)
        assert not link._waiting
        link._is_gone()

    def test_whoever_waits_for_an_answer_does_not_wait_for_ever(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        link = holding.link
        link.keep("a", pipe[0])
        holding.turn()
        holding.store.drop(b"a")
        holding.dies = True
        link.fetch()
        assert not link.alive
        assert link.ended_now() == {}
        link.fetch()
        link.keep("a", pipe[0])
        assert link.fileno() == -1
        lost: list[str] = []
        reactor = Reactor()
        link.listen(reactor, lambda pid, status: None, lambda: lost.append("lost"))
        assert (lost, reactor.readers) == ([], [])
        [call] = reactor.later
        call()
        assert lost == ["lost"]

    def test_it_is_told_once_and_after_its_last_word(
        self, holding: Holding, pipe: tuple[int, int]
    ) -> None:
        link, reactor = holding.link, Reactor()
        told: list[object] = []
        link.listen(reactor, lambda pid, status: told.append(pid), lambda: told.append("lost"))
        before = open_files()
        holding.fill()
        link.keep("a", pipe[0])
        holding.ends.note(5_000_000, 0)
        holding.turn()
        holding.ours.close()
        holding.dies = True
        reactor.read()
        assert told == [5_000_000, "lost"]
        assert (reactor.readers, reactor.writers, link.alive) == ([], [], False)
        assert len(open_files()) == len(before) - 2  # the two ends of the link
        link.connectionLost(Failure(ConnectionLost()))
        link.keep("a", pipe[0])
        assert told == [5_000_000, "lost"]


def test_at_the_end_of_the_reactor_there_is_a_last_word_yet(holding: Holding) -> None:
    link, reactor = holding.link, Reactor()
    lost: list[str] = []
    link.listen(reactor, lambda pid, status: None, lambda: lost.append("lost"))
    holding.fill()
    for reader in reactor.removeAll():
        reader.connectionLost(Failure(ConnectionLost()))
    holding.link.final(4)
    holding.turn()
    assert holding.channel.final == 4
    assert (link.alive, lost, reactor.readers, reactor.writers) == (True, [], [], [])


def test_what_waits_from_before_the_reactor_is_sent_by_it(holding: Holding) -> None:
    reactor = Reactor()
    number = holding.fill()
    holding.link.listen(reactor, lambda pid, status: None, lambda: None)
    assert reactor.writers == [holding.link]
    holding.turn()
    reactor.write()
    assert reactor.writers == []
    assert number > 100


def test_words_and_descriptors_that_nobody_knows_are_nothing(
    holding: Holding, pipe: tuple[int, int]
) -> None:
    before = open_files()
    with contextlib.closing(socket.socket(fileno=os.dup(holding.ours.fileno()))) as sender:
        socket.send_fds(sender, [b"end\n"], [pipe[0]])
    holding.link._receive()
    assert open_files() == before
