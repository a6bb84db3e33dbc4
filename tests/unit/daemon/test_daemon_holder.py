"""The holder: what it understands, keeps and passes on, and what comes of the end of a daemon."""

from __future__ import annotations

import _socket
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from supervisortw.daemon import holder
from supervisortw.daemon.holder import (
    DIED,
    KEPT_AT_ONCE,
    LONGEST_DELAY,
    MAX_ENDS,
    MAX_MESSAGE,
    MAX_NAME,
    Channel,
    Ends,
    Holder,
    Store,
    delay,
)

CODE = 256  # in a status, one exit code
Pair = tuple[_socket.socket, _socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    ours, theirs = holder.link()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def stream() -> Iterator[Pair]:
    """Return what there is where there is nothing better."""
    ours, theirs = _socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people were told."""
    told: list[str] = []
    monkeypatch.setattr(holder, "say", told.append)
    return told


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def channel_of(ours: _socket.socket) -> Channel:
    return Channel(ours, Store(10), Ends())


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def a_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY)


class TestChannel:
    def test_what_the_daemon_announces_is_understood(self, ends: Pair) -> None:
        ours, theirs = ends
        channel = channel_of(ours)
        assert not channel.receive()
        assert (channel.ready, channel.final) == (False, None)
        theirs.send(b"ready\n")
        assert channel.receive()
        assert (channel.ready, channel.final) == (True, None)
        theirs.send(b"final 7\n")
        assert channel.receive()
        assert (channel.ready, channel.final) == (True, 7)

    def test_the_last_word_counts(self, ends: Pair) -> None:
        ours, theirs = ends
        channel = channel_of(ours)
        theirs.send(b"final 1\nfinal 2\n")
        assert channel.receive()
        assert channel.final == 2

    def test_the_end_is_noticed_after_the_last_word(self, ends: Pair) -> None:
        ours, theirs = ends
        channel = channel_of(ours)
        theirs.send(b"final 3\n")
        theirs.close()
        assert channel.receive()
        assert (channel.final, channel.open) == (3, True)
        assert not channel.receive()
        assert not channel.open

    @pytest.mark.parametrize(
        "line",
        [
            *(b"\n", b"final\n", b"final \n", b"final -1\n", b"final x\n", b"FINAL 3\n", b"\xff\n"),
            *(b"forget\n", b"forget x\n", b"fetch -1\n", b"fetch\n", b"drop\n", b"drop nothing\n"),
        ],
    )
    def test_nonsense_is_nothing(self, ends: Pair, line: bytes) -> None:
        ours, theirs = ends
        channel = channel_of(ours)
        theirs.send(line)
        assert channel.receive()
        assert (channel.ready, channel.final) == (False, None)
        channel.send()
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)

    def test_a_line_may_come_in_parts(self, stream: Pair) -> None:
        ours, theirs = stream
        channel = channel_of(ours)
        for part in (b"fin", b"al 1", b"2", b"\nfi"):
            theirs.send(part)
            assert channel.receive()
        assert channel.final == 12
        theirs.send(b"nal 4\n")
        channel.receive()
        assert channel.final == 4

    def test_a_line_without_end_takes_no_memory(self, stream: Pair) -> None:
        ours, theirs = stream
        channel = channel_of(ours)
        for _ in range(10):
            theirs.send(b"x" * MAX_MESSAGE)
            assert channel.receive()
        assert len(channel._heard) <= MAX_MESSAGE
        theirs.send(b"\nfinal 5\n")
        while channel.receive():
            pass
        assert channel.final == 5

    def test_a_broken_connection_is_an_end(self) -> None:
        class Broken:
            def setblocking(self, flag: bool) -> None: ...

            def recvmsg(self, *sizes: int) -> None:
                raise ConnectionResetError

        channel = channel_of(Broken())  # type: ignore[arg-type]
        assert not channel.receive()
        assert not channel.open

    def test_nobody_is_told_of_anything_who_has_gone(self, ends: Pair) -> None:
        ours, theirs = ends
        known = Ends()
        channel = Channel(ours, Store(10), known)
        theirs.close()
        known.note(50, 0)
        channel.send()
        channel.send()
        assert not channel.full

    def test_descriptors_without_a_line_or_a_name_are_closed(
        self, ends: Pair, pipe: tuple[int, int], said: list[str]
    ) -> None:
        ours, theirs = ends
        channel = channel_of(ours)
        before = os.listdir("/dev/fd")
        with socket.socket(fileno=os.dup(theirs.fileno())) as sender:
            socket.send_fds(sender, [b"ready\nkeep\n"], [*pipe, pipe[0]])
        assert channel.receive()
        assert channel.ready
        assert os.listdir("/dev/fd") == before

    def test_what_was_sent_is_kept_by_name_and_not_inherited(
        self, ends: Pair, pipe: tuple[int, int]
    ) -> None:
        ours, theirs = ends
        store = Store(10)
        channel = Channel(ours, store, Ends())
        with socket.socket(fileno=theirs.detach()) as sender:
            socket.send_fds(sender, [b"keep a\nready\nkeep b\n"], pipe)
            assert channel.receive()
            assert channel.ready
            lines, found = store.piece(0)
            assert lines == b"kept a\nkept b\nend\n"
            os.write(found[1], b"through")
            assert os.read(found[0], 100) == b"through"
            assert not any(map(os.get_inheritable, found))
            sender.send(b"drop a\n")
            assert channel.receive()
            assert list(map(is_open, found)) == [False, True]
            sender.send(b"drop b\n")
            assert channel.receive()
            assert store.piece(0) == (b"end\n", [])

    def test_a_daemon_that_does_not_listen_is_not_waited_for(self, ends: Pair) -> None:
        ours, theirs = ends
        known = Ends()
        channel = Channel(ours, Store(10), known)
        told = 0
        while not channel.full:
            told += 1
            known.note(told, 0)
            channel.send()
        for more in range(told + 1, told + 101):
            known.note(more, 0)
            channel.send()
            assert channel.full
        heard = b""
        theirs.setblocking(False)
        while heard.count(b"\n") < told + 100:
            channel.send()
            heard += theirs.recv(100_000)
        assert heard == b"".join(b"ended %d 0\n" % pid for pid in range(1, told + 101))
        assert not channel.full

    def test_a_stream_that_takes_a_part_gets_the_rest_first(self) -> None:
        class Narrow:
            """Takes seven bytes at a time, and every third time none."""

            def __init__(self) -> None:
                self.taken = b""
                self.times = 0

            def setblocking(self, flag: bool) -> None: ...

            def sendmsg(self, data: list[bytes], rights: list[object]) -> int:
                self.times += 1
                if self.times % 3 == 0:
                    raise BlockingIOError
                self.taken += data[0][:7]
                return len(data[0][:7])

        known, narrow = Ends(), Narrow()
        channel = Channel(narrow, Store(10), known)  # type: ignore[arg-type]
        channel._take_in(b"ended?", b"")
        for pid in (50, 51):
            known.note(pid, CODE)
        channel.send()
        assert channel.full
        while channel.full:
            channel.send()
        assert narrow.taken == b"ended 50 256\nended 51 256\nthat-is-all\n"


class TestStore:
    def test_a_name_that_is_kept_anew_replaces_the_former(self) -> None:
        store, first, second = Store(1), a_descriptor(), a_descriptor()
        store.keep(b"a", first)
        store.keep(b"a", second)
        assert store.piece(0) == (b"kept a\nend\n", [second])
        assert (is_open(first), is_open(second)) == (False, True)
        store.drop(b"a")
        store.drop(b"a")
        assert not is_open(second)

    def test_what_does_not_fit_is_refused_and_told_once(self, said: list[str]) -> None:
        store, descriptors = Store(2), [a_descriptor() for _ in range(4)]
        for number, descriptor in enumerate(descriptors):
            store.keep(b"%d" % number, descriptor)
        store.keep(b"lost on the way", None)
        assert list(map(is_open, descriptors)) == [True, True, False, False]
        [line] = said
        assert line.startswith("only 2 pipes and sockets are kept")
        store.drop(b"0")
        store.keep(b"3", another := a_descriptor())
        assert store.piece(0) == (b"kept 1\nkept 3\nend\n", [descriptors[1], another])
        store.drop(b"1")
        store.drop(b"3")

    def test_one_that_could_not_be_replaced_is_let_go_of(self, said: list[str]) -> None:
        store, old = Store(2), a_descriptor()
        store.keep(b"a", old)
        store.keep(b"a", None)
        assert not is_open(old)
        assert store.piece(0) == (b"end\n", [])

    @pytest.mark.parametrize("name", [b"", b"n" * (MAX_NAME + 1)])
    def test_a_name_that_is_none_is_refused(self, said: list[str], name: bytes) -> None:
        store, descriptor = Store(10), a_descriptor()
        store.keep(name, descriptor)
        assert not is_open(descriptor)

    def test_it_is_given_back_piece_by_piece_and_each_fits_into_a_message(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "close", lambda number: None)
        number = KEPT_AT_ONCE * 2 + 1
        store = Store(number)
        names = [b"%0*d" % (MAX_NAME, each) for each in range(number)]
        for each, name in enumerate(names):
            store.keep(name, 1000 + each)
        pieces = [store.piece(first) for first in range(0, number, KEPT_AT_ONCE)]
        assert [piece[0].splitlines()[-1] for piece in pieces] == [b"more", b"more", b"end"]
        assert max(len(piece[0]) for piece in pieces) <= MAX_MESSAGE
        lines = [line for piece in pieces for line in piece[0].splitlines()[:-1]]
        assert lines == [b"kept " + name for name in names]
        assert [each for piece in pieces for each in piece[1]] == list(range(1000, 1000 + number))
        assert store.piece(number) == (b"end\n", [])


def tell(ends: Ends, pids: list[int]) -> None:
    """Take note that the daemon was told."""
    for pid in pids:
        del ends.untold[pid]


class TestEnds:
    def test_an_end_is_told_once_and_again_when_asked_until_it_is_forgotten(self) -> None:
        ends = Ends()
        assert ends.piece() == (b"", [])
        ends.note(50, CODE)
        assert ends.piece() == (b"ended 50 256\n", [50])
        tell(ends, [50])
        ends.note(51, 9)
        assert ends.piece() == (b"ended 51 9\n", [51])
        ends.tell_all()
        assert ends.piece() == (b"ended 50 256\nended 51 9\n", [50, 51])
        ends.forget(50)
        ends.forget(50)
        assert ends.piece() == (b"ended 51 9\n", [51])
        ends.tell_later()
        assert ends.piece() == (b"", [])
        ends.tell_all()
        assert ends.piece() == (b"ended 51 9\n", [51])

    def test_of_two_with_one_number_the_last_counts(self) -> None:
        ends = Ends()
        ends.note(50, CODE)
        ends.note(51, 0)
        ends.note(50, 9)
        assert ends.piece() == (b"ended 51 0\nended 50 9\n", [51, 50])

    def test_the_oldest_go_first_and_a_piece_fits_into_a_message(self) -> None:
        ends = Ends()
        for pid in range(MAX_ENDS + 10):
            ends.note(4_000_000 + pid, 0xFFFF)
        told: list[int] = []
        while (piece := ends.piece())[1]:
            assert len(piece[0]) <= MAX_MESSAGE
            told += piece[1]
            tell(ends, piece[1])
        assert told == list(range(4_000_010, 4_000_010 + MAX_ENDS))


def test_the_delay_grows_from_none_to_a_minute() -> None:
    assert [delay(number) for number in range(1, 10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay(100_000) == LONGEST_DELAY


class World:
    """A holder in a world where nothing happens but what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.daemons: list[socket.socket] = []  # the ends of those that were started
        self.killed: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []
        self.ready: list[int] = []
        self.fork_fails: OSError | None = None
        self.wakeup_read, self.wakeup_write = os.pipe()
        os.set_blocking(self.wakeup_read, False)
        monkeypatch.setattr(holder, "raise_file_limit", lambda: ((100, 100), 100))
        monkeypatch.setattr(holder, "tell_ready", self.ready.append)
        monkeypatch.setattr(holder.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(holder, "children", lambda: "77 78")
        link = holder.link

        def keep_link() -> Pair:
            ours, theirs = link()
            self.daemons.append(socket.socket(fileno=os.dup(theirs.fileno())))
            return ours, theirs

        monkeypatch.setattr(holder, "link", keep_link)
        monkeypatch.setattr(os, "fork", self._fork)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append((pid, number)))
        monkeypatch.setattr(os, "waitpid", self._waitpid)
        self.holder = Holder(["python", "daemon"], self.wakeup_read, 99, 60.0)
        self.holder._start()

    def _fork(self) -> int:
        if self.fork_fails is not None:
            self.daemons.pop().close()
            raise self.fork_fails
        return 41 + len(self.daemons)  # 42 is the first

    def _waitpid(self, pid: int, options: int) -> tuple[int, int]:
        assert (pid, options) == (-1, os.WNOHANG)
        return self.ended.pop(0) if self.ended else (0, 0)

    @property
    def code(self) -> int | None:
        return self.holder._code

    def signal(self, *numbers: int) -> None:
        os.write(self.wakeup_write, bytes(numbers))
        self.turn()

    def say(self, text: str) -> None:
        self.daemons[-1].send(text.encode())
        self.turn()

    def heard(self) -> str:
        self.daemons[-1].setblocking(False)
        return self.daemons[-1].recv(MAX_MESSAGE).decode()

    def end(self, status: int, word: str = "") -> None:
        """End the daemon, which says a last ``word`` that nobody has read yet."""
        self.daemons[-1].send(word.encode() or b"\n")
        self.ended.append((41 + len(self.daemons), status))
        self.turn()

    def turn(self) -> None:
        self.holder._take_turn()

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.close()
        os.close(self.wakeup_read)
        os.close(self.wakeup_write)
        if self.holder._channel is not None:
            self.holder._channel.socket.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Iterator[World]:
    world = World(monkeypatch)
    yield world
    world.close()


class TestTheFirstDaemon:
    @pytest.mark.parametrize("status", [0, 3 * CODE, signal.SIGKILL])
    @pytest.mark.parametrize("final", [0, 1, 77])
    def test_what_was_announced_counts(self, world: World, final: int, status: int) -> None:
        world.end(status, f"final {final}\n")
        assert world.code == final

    @pytest.mark.parametrize(
        ("status", "code"), [(3 * CODE, 3), (127 * CODE, 127), (0, DIED), (signal.SIGKILL, DIED)]
    )
    def test_an_end_without_a_word_before_it_was_ready_is_a_failure(
        self, world: World, status: int, code: int, said: list[str]
    ) -> None:
        world.end(status)
        assert world.code == code
        how = "signal 9" if status == signal.SIGKILL else f"exit code {status // CODE}"
        assert said == [f"the daemon has ended: {how}"]

    def test_ready_is_told_once(self, world: World) -> None:
        assert world.ready == []
        world.say("ready\n")
        world.say("ready\n")
        assert world.ready == [99]

    def test_ready_is_told_if_it_comes_together_with_the_end(self, world: World) -> None:
        world.end(0, "ready\nfinal 0\n")
        assert (world.ready, world.code) == ([99], 0)

    def test_signals_are_passed_on_before_and_after_it_is_ready(self, world: World) -> None:
        world.signal(signal.SIGTERM)
        world.say("ready\n")
        world.signal(signal.SIGHUP, signal.SIGWINCH)
        world.signal(signal.SIGUSR2)
        world.signal(signal.SIGINT)
        numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGINT]
        assert world.killed == [(42, number) for number in numbers]

    def test_one_that_lets_go_of_its_link_is_waited_for(self, world: World) -> None:
        world.say("ready\n")
        world.daemons[-1].close()
        world.turn()
        world.turn()
        assert world.code is None
        assert not world.holder._channel.open  # type: ignore[union-attr]
        world.ended.append((42, 3 * CODE))
        world.turn()
        assert len(world.daemons) == 2

    def test_without_a_process_for_it_there_is_a_message(
        self, world: World, said: list[str]
    ) -> None:
        world.fork_fails = BlockingIOError(11, "Resource temporarily unavailable")
        world.holder._start()
        assert world.code == DIED
        assert said == ["cannot start the daemon: Resource temporarily unavailable"]


class TestTheNextDaemon:
    @pytest.fixture(autouse=True)
    def is_ready(self, world: World) -> None:
        world.say("ready\n")

    def test_it_is_started_at_once_and_the_one_after_it_later_and_later(
        self, world: World, said: list[str]
    ) -> None:
        world.end(signal.SIGKILL)
        assert len(world.daemons) == 2
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
            before = len(world.daemons)
            world.end(3 * CODE)
            world.now += seconds - 0.1
            world.turn()
            assert len(world.daemons) == before
            world.now += 0.2
            world.turn()
            assert len(world.daemons) == before + 1
        assert said[:4] == [
            "the daemon has ended: signal 9",
            "the next one is started in 0 s",
            "the daemon has ended: exit code 3",
            "the next one is started in 1 s",
        ]

    def test_after_one_that_has_lived_a_minute_there_is_no_delay(self, world: World) -> None:
        for _ in range(3):
            world.end(signal.SIGKILL)
            world.now += 60
            world.turn()
        assert len(world.daemons) == 4
        world.now += 60
        world.end(signal.SIGKILL)
        assert len(world.daemons) == 5

    def test_a_fork_that_fails_is_tried_again(self, world: World, said: list[str]) -> None:
        world.fork_fails = BlockingIOError(11, "Resource temporarily unavailable")
        world.end(signal.SIGKILL)
        assert (len(world.daemons), world.code) == (1, None)
        world.fork_fails = None
        world.now += 1.5
        world.turn()
        assert len(world.daemons) == 2
        assert world.holder._last_end == "not started: Resource temporarily unavailable"

    def test_its_last_word_counts_once_it_was_ready(self, world: World) -> None:
        world.end(signal.SIGKILL)
        world.say("ready\n")
        world.end(0, "final 5\n")
        assert world.code == 5

    def test_one_that_gives_up_before_it_is_ready_is_tried_again(self, world: World) -> None:
        world.end(signal.SIGKILL)
        world.end(CODE, "final 1\n")
        assert world.code is None
        world.now += 2
        world.turn()
        assert len(world.daemons) == 3

    def test_signals_are_remembered_until_it_is_ready_once_each(self, world: World) -> None:
        world.end(signal.SIGKILL)
        world.end(signal.SIGKILL)
        world.signal(signal.SIGHUP)
        world.signal(signal.SIGHUP, signal.SIGUSR2)
        world.now += 2
        world.turn()
        world.signal(signal.SIGHUP)
        assert world.killed == []
        world.say("ready\n")
        assert world.killed == [(44, signal.SIGHUP), (44, signal.SIGUSR2)]
        world.end(signal.SIGKILL)
        world.now += 10
        world.turn()
        world.say("ready\n")
        assert len(world.killed) == 2

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_is_started_at_once_in_order_to_end_everything(
        self, world: World, number: int
    ) -> None:
        world.end(signal.SIGKILL)
        world.end(signal.SIGKILL)
        assert len(world.daemons) == 2
        world.signal(number)
        assert len(world.daemons) == 3
        assert world.killed == []
        world.say("ready\n")
        assert world.killed == [(44, number)]

    def test_who_dies_while_it_ends_everything_is_followed_by_one_that_goes_on(
        self, world: World
    ) -> None:
        world.signal(signal.SIGTERM)
        world.end(signal.SIGKILL)
        world.say("ready\n")
        assert world.killed == [(42, signal.SIGTERM), (43, signal.SIGTERM)]

    def test_there_is_no_further_one_if_it_cannot_even_be_asked_to_end_everything(
        self, world: World, said: list[str]
    ) -> None:
        world.end(signal.SIGKILL)
        world.signal(signal.SIGTERM)
        world.end(signal.SIGKILL)
        assert world.code == DIED
        assert said[-1] == "cannot end the programs; left alone: 77 78"

    def test_who_ends_everything_and_dies_again_and_again_is_followed_within_a_second(
        self, world: World
    ) -> None:
        for number in range(2, 7):
            world.end(signal.SIGKILL)
            while len(world.daemons) < number:
                world.now += 1
                world.turn()
            world.say("ready\n")
        world.signal(signal.SIGTERM)
        world.end(signal.SIGKILL)
        before = len(world.daemons)
        world.turn()
        assert len(world.daemons) == before
        world.now += 1
        world.turn()
        assert len(world.daemons) == before + 1

    def test_it_is_told_of_ends_only_when_it_asks_and_then_at_once(self, world: World) -> None:
        world.ended.append((50, 3 * CODE))
        world.turn()
        assert world.heard() == "ended 50 768\n"
        world.ended.append((51, 9))
        world.end(signal.SIGKILL)
        world.turn()
        with pytest.raises(BlockingIOError):
            world.heard()
        world.say("ended?\n")
        assert world.heard() + world.heard() == "ended 50 768\nended 51 9\nthat-is-all\n"
        world.ended.append((52, 0))
        world.say("forget 50\n")
        assert world.heard() == "ended 52 0\n"
        world.say("ended?\n")
        assert world.heard() + world.heard() == "ended 51 9\nended 52 0\nthat-is-all\n"


def test_process_1_has_children_that_it_never_started(world: World) -> None:
    world.ended += [(7, 0), (42, 7 * CODE), (8, 9)]
    world.turn()
    assert (world.code, world.ended) == (7, [])


def test_no_children_are_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def waitpid(pid: int, options: int) -> Any:
        raise ChildProcessError

    monkeypatch.setattr(os, "waitpid", waitpid)
    world.turn()
    assert world.code is None


class TestTellReady:
    def test_who_waits_is_let_go_and_nothing_is_printed_any_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replaced: list[int] = []
        monkeypatch.setattr(os, "dup2", lambda new, old: replaced.append(old))
        read, write = os.pipe()
        holder.tell_ready(write)
        assert os.read(read, 100) == b"ready\n"
        assert os.read(read, 100) == b""
        assert replaced == [1, 2]
        os.close(read)

    def test_nobody_waits_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "dup2", lambda new, old: None)
        read, write = os.pipe()
        os.close(read)
        holder.tell_ready(write)
        assert not is_open(write)


def test_nobody_is_waited_for_who_does_not_read(pipe: tuple[int, int]) -> None:
    _, write = pipe
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    holder.write(write, b"more\n")  # returns


@pytest.mark.parametrize(
    ("options", "read"),
    [
        (["--lock-fd=3", "--status-fd=4"], {"--lock-fd": "3", "--status-fd": "4"}),
        ([], {}),
    ],
)
def test_the_command_line(options: list[str], read: dict[str, str]) -> None:
    command = ["python", "-I", "launch.py", "-s=x", "--", "-n"]
    assert holder.read_command_line([*options, "--", *command]) == (read, command)
