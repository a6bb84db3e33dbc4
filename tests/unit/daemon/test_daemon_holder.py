"""The holder and the daemon's link to it: what is said, and the exit code that comes of it."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from supervisortw.daemon import holder
from supervisortw.daemon.holder import DIED, MAX_LINE, Messages, exit_code
from supervisortw.daemon.link import HolderLink

CODE = 256  # in a status, one exit code


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = holder.link()
    yield ours, theirs
    ours.close()
    theirs.close()


class Told:
    """Who waits for the daemon: what they were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready: list[int] = []
        monkeypatch.setattr(holder, "tell_ready", self.ready.append)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


class TestMessages:
    def test_what_the_daemons_link_says_is_understood(
        self, ends: tuple[socket.socket, socket.socket], told: Told
    ) -> None:
        ours, theirs = ends
        heard, link = Messages(ours, 99), HolderLink(theirs)
        assert heard.receive()
        assert (heard.final, told.ready) == (None, [])
        link.ready()
        assert heard.receive()
        assert (heard.final, told.ready) == (None, [99])
        link.final(7)
        assert heard.receive()
        assert heard.final == 7

    def test_ready_is_told_once(
        self, ends: tuple[socket.socket, socket.socket], told: Told
    ) -> None:
        ours, theirs = ends
        heard = Messages(ours, 99)
        theirs.sendall(b"ready\n")
        theirs.sendall(b"ready\n")
        heard.receive()
        assert told.ready == [99]

    def test_without_anybody_who_waits_ready_is_nothing(
        self, ends: tuple[socket.socket, socket.socket], told: Told
    ) -> None:
        ours, theirs = ends
        theirs.sendall(b"ready\n")
        assert Messages(ours, None).receive()
        assert told.ready == []

    def test_the_last_word_counts(self, ends: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = ends
        heard = Messages(ours, None)
        theirs.sendall(b"final 1\nfinal 2\n")
        heard.receive()
        assert heard.final == 2

    def test_the_end_is_noticed_after_the_last_word(
        self, ends: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = ends
        heard = Messages(ours, None)
        theirs.sendall(b"final 3\n")
        theirs.close()
        assert not heard.receive()
        assert heard.final == 3
        assert not heard.receive()

    @pytest.mark.parametrize(
        "said",
        [b"\n", b"final\n", b"final \n", b"final -1\n", b"final x\n", b"FINAL 3\n", b"\xff\n"],
    )
    def test_nonsense_is_nothing(
        self, ends: tuple[socket.socket, socket.socket], told: Told, said: bytes
    ) -> None:
        ours, theirs = ends
        heard = Messages(ours, 99)
        theirs.sendall(said)
        assert heard.receive()
        assert (heard.final, told.ready) == (None, [])

    def test_a_line_may_come_in_parts(self) -> None:
        ours, theirs = socket.socketpair()  # a stream, as where there is nothing better
        heard = Messages(ours, None)
        for part in (b"fin", b"al 1", b"2", b"\nfi"):
            theirs.sendall(part)
            assert heard.receive()
        assert heard.final == 12
        theirs.sendall(b"nal 4\n")
        heard.receive()
        assert heard.final == 4
        ours.close()
        theirs.close()

    def test_a_line_without_end_takes_no_memory(self) -> None:
        ours, theirs = socket.socketpair()
        heard = Messages(ours, None)
        for _ in range(20):
            theirs.sendall(b"x" * MAX_LINE)
            assert heard.receive()
        assert len(heard._rest) <= MAX_LINE
        theirs.sendall(b"\nfinal 5\n")
        heard.receive()
        assert heard.final == 5
        ours.close()
        theirs.close()

    def test_a_broken_connection_is_an_end(self) -> None:
        class Broken:
            def setblocking(self, flag: bool) -> None: ...

            def recv(self, size: int) -> bytes:
                raise ConnectionResetError

        assert not Messages(Broken(), None).receive()  # type: ignore[arg-type]


class TestExitCode:
    @pytest.mark.parametrize("status", [0, 3 * CODE, signal.SIGKILL])
    @pytest.mark.parametrize("final", [0, 1, 77])
    def test_what_was_announced_counts(self, final: int, status: int) -> None:
        assert exit_code(final, status) == final

    @pytest.mark.parametrize(("status", "code"), [(3 * CODE, 3), (127 * CODE, 127), (0, DIED)])
    def test_an_end_without_a_word_is_a_failure(self, status: int, code: int) -> None:
        assert exit_code(None, status) == code

    def test_a_signal_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[tuple[int, bytes]] = []
        monkeypatch.setattr(os, "write", lambda number, data: written.append((number, data)))
        assert exit_code(None, signal.SIGKILL) == DIED
        assert written == [(2, b"supervisord: the daemon was ended by signal 9\n")]


class TestReap:
    @pytest.mark.parametrize(
        ("ended", "found"),
        [
            ([(0, 0)], None),
            ([(50, 1), (42, 7), (51, 2), (0, 0)], 7),
            ([(50, 1), ChildProcessError()], None),
            ([(42, 7), ChildProcessError()], 7),
        ],
    )
    def test_every_child_is_collected_and_the_daemons_status_told(
        self, ended: list[Any], found: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def waitpid(pid: int, options: int) -> tuple[int, int]:
            assert (pid, options) == (-1, os.WNOHANG)
            result = ended.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(os, "waitpid", waitpid)
        assert holder.reap(42) == found
        assert ended == []


def never_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait fail at once if there is nothing to wait for."""
    wait = select.select

    def choose(*watched: list[int]) -> tuple[list[int], list[int], list[int]]:
        found: tuple[list[int], list[int], list[int]] = wait(*watched, 0)
        assert found[0], "waits for ever"
        return found

    monkeypatch.setattr(holder.select, "select", choose)


class TestHold:
    """The loop: signals arrive as bytes in a pipe, and words from the daemon over its link."""

    @pytest.fixture
    def wakeup(self) -> Iterator[tuple[int, int]]:
        read, write = os.pipe()
        yield read, write
        os.close(read)
        os.close(write)

    def test_signals_are_passed_on_until_the_daemon_has_ended(
        self,
        ends: tuple[socket.socket, socket.socket],
        wakeup: tuple[int, int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ours, theirs = ends
        sent: list[tuple[int, int]] = []
        monkeypatch.setattr(holder, "reap", lambda daemon: 0)
        never_for_ever(monkeypatch)

        def kill(pid: int, number: int) -> None:
            sent.append((pid, number))
            if number == signal.SIGTERM:
                HolderLink(theirs).final(5)
                theirs.close()
                os.write(wakeup[1], bytes([signal.SIGCHLD]))

        monkeypatch.setattr(os, "kill", kill)
        signals = [signal.SIGHUP, signal.SIGTERM, signal.SIGWINCH]
        os.write(wakeup[1], bytes([signals[0]]))
        os.write(wakeup[1], bytes([signals[1], signals[2]]))
        assert holder.hold(42, ours, wakeup[0], None) == 5
        assert sent == [(42, signal.SIGHUP), (42, signal.SIGTERM)]

    def test_a_daemon_that_lets_go_of_its_link_is_waited_for(
        self,
        ends: tuple[socket.socket, socket.socket],
        wakeup: tuple[int, int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ours, theirs = ends
        asked: list[list[int]] = []

        def choose(watched: list[int], *others: object) -> tuple[list[int], list[int], list[int]]:
            asked.append(list(watched))
            if len(asked) == 2:
                os.write(wakeup[1], bytes([signal.SIGCHLD]))
                return [wakeup[0]], [], []
            return [ours.fileno()], [], []

        monkeypatch.setattr(holder.select, "select", choose)
        monkeypatch.setattr(holder, "reap", lambda daemon: 3 * CODE)
        theirs.close()
        assert holder.hold(42, ours, wakeup[0], None) == 3
        assert asked == [[ours.fileno(), wakeup[0]], [wakeup[0]]]

    def test_a_last_word_that_comes_together_with_the_end_is_heard(
        self,
        ends: tuple[socket.socket, socket.socket],
        wakeup: tuple[int, int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ours, theirs = ends

        def choose(*watched: object) -> tuple[list[int], list[int], list[int]]:
            HolderLink(theirs).final(6)  # after the look at what is readable
            os.write(wakeup[1], bytes([signal.SIGCHLD]))
            return [wakeup[0]], [], []

        monkeypatch.setattr(holder.select, "select", choose)
        monkeypatch.setattr(holder, "reap", lambda daemon: 0)
        assert holder.hold(42, ours, wakeup[0], None) == 6


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
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(write)


@pytest.mark.parametrize(("options", "status_fd"), [(["--status-fd=4"], 4), ([], None)])
def test_the_command_line(options: list[str], status_fd: int | None) -> None:
    command = ["python", "-I", "launch.py", "-s=x", "--", "-n"]
    read = holder.read_command_line(["--lock-fd=3", *options, "--", *command])
    assert read == (status_fd, command)


class TestLink:
    def test_it_is_inherited_once_and_not_passed_on(self) -> None:
        ours, theirs = holder.link()
        os.set_inheritable(theirs.fileno(), True)
        number = theirs.detach()
        environment = {"SUPERVISOR_HOLDER_FD": str(number), "PATH": "/bin"}
        link = HolderLink.inherited(environment)
        assert link is not None
        assert environment == {"PATH": "/bin"}
        assert not os.get_inheritable(number)
        link.ready()
        assert ours.recv(100) == b"ready\n"
        assert HolderLink.inherited(environment) is None
        ours.close()
        os.close(number)
        link._channel.detach()

    def test_a_holder_that_has_died_needs_no_telling(self) -> None:
        ours, theirs = holder.link()
        link = HolderLink(theirs)
        ours.close()
        link.ready()
        link.final(0)
        theirs.close()
