"""Syslog servers that get datagrams: there, gone, slow, and back again."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.giver import FakeGiver
from fakes.reactor import FakeReactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from supervisortw.core.limits import LIMITS
from supervisortw.daemon.addresses import Addresses
from supervisortw.daemon.datagrams import Datagrams, connect_local, connect_udp

MESSAGE = b"<30>web: hello"


def received(server: socket.socket) -> list[bytes]:
    """Return the datagrams that have come."""
    found = []
    try:
        while True:
            found.append(server.recv(65536))
    except BlockingIOError:
        return found


class Local:
    """A local server that can be stopped and started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server: socket.socket | None = None
        self.reactor = FakeReactor()
        self.giver = FakeGiver()
        connect = connect_local(str(path))
        self.target = Datagrams("syslog", connect, self.reactor, self.reactor)

    def start(self) -> None:
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.server.bind(str(self.path))
        self.server.setblocking(False)

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.path.unlink()
            self.server = None

    def put(self, *messages: bytes) -> None:
        assert self.target.has_room(self.giver)
        self.target.put(self.giver, messages)

    def received(self) -> list[bytes]:
        assert self.server is not None
        return received(self.server)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path / "log")
    yield made
    made.target.close()
    made.stop()
    assert made.reactor.writers == []
    assert made.reactor.getDelayedCalls() == []


class TestLocal:
    def test_messages_are_sent_at_once(self, local: Local) -> None:
        local.start()
        local.put(MESSAGE, b"another")
        assert local.received() == [MESSAGE, b"another"]
        assert local.target.trouble == ""

    def test_a_server_that_is_not_there_yet_is_waited_for(self, local: Local) -> None:
        local.put(MESSAGE)
        assert local.target.trouble == "No such file or directory"
        local.start()
        local.reactor.advance(LIMITS.log_retry_seconds)
        assert local.received() == [MESSAGE]
        assert local.target.trouble == ""

    def test_it_is_tried_once_a_second_and_only_while_something_waits(self, local: Local) -> None:
        tries = 0
        connect = connect_local(str(local.path))

        def count(connected):  # type: ignore[no-untyped-def]
            nonlocal tries
            tries += 1
            return connect(connected)

        local.target = Datagrams("syslog", count, local.reactor, local.reactor)
        for _ in range(10):
            local.put(MESSAGE)
        assert tries == 1
        local.reactor.advance(LIMITS.log_retry_seconds)
        assert tries == 2
        local.start()
        local.reactor.advance(LIMITS.log_retry_seconds)
        assert local.received() == [MESSAGE] * 10
        assert local.reactor.getDelayedCalls() == []

    def test_a_server_that_was_started_again_gets_the_next_message(self, local: Local) -> None:
        local.start()
        local.put(b"one")
        local.reactor.advance(LIMITS.log_retry_seconds)
        local.stop()
        local.start()
        local.put(b"two")
        assert local.received() == [b"two"]
        assert local.giver.lost_data == []

    @pytest.mark.needs_linux
    def test_a_server_that_is_slow_is_not_waited_for(self, local: Local) -> None:
        local.start()
        count = 0
        while not local.reactor.writers:
            local.put(b"%d" % count)
            count += 1
        local.put(b"%d" % count)
        found: list[bytes] = []
        while len(found) <= count:
            found += local.received()
            local.reactor.write()
        assert found == [b"%d" % number for number in range(count + 1)]
        assert local.reactor.writers == []

    def test_so_much_waits_and_no_more(self, local: Local) -> None:
        while local.target.has_room(local.giver):
            local.target.put(local.giver, [b"x" * 1000])
        assert local.target.trouble == "No such file or directory"
        local.start()
        local.reactor.advance(LIMITS.log_retry_seconds)
        found = local.received()
        while local.reactor.write():
            found += local.received()
        assert len(b"".join(found)) // 1000 == LIMITS.target_share_bytes // 1000 + 1
        assert local.giver.rooms == 1

    def test_what_is_too_long_for_it_is_lost_alone(self, local: Local) -> None:
        local.start()
        long = b"x" * 10_000_000
        local.put(long, MESSAGE)
        assert local.giver.lost_data == [long]
        assert local.received() == [MESSAGE]

    def test_a_system_without_room_is_tried_later(
        self, local: Local, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.start()

        class Full(socket.socket):
            def send(self, *_: object) -> int:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Full)
            local.put(MESSAGE)
        assert local.target.trouble == "No buffer space available"
        local.reactor.advance(LIMITS.log_retry_seconds)
        assert local.received() == [MESSAGE]

    def test_whoever_has_opened_it_anew_is_believed_at_once(self, local: Local) -> None:
        local.put(MESSAGE)
        local.start()
        local.target.reopen()
        assert local.received() == [MESSAGE]

    def test_one_that_somebody_else_could_replace_gets_nothing(self, local: Local) -> None:
        local.start()
        local.path.parent.chmod(0o777)
        local.put(MESSAGE)
        assert local.received() == []
        assert "lets every user of this machine replace what is in it" in local.target.trouble
        local.path.parent.chmod(0o700)

    def test_the_end_waits_for_what_can_be_sent(self, local: Local) -> None:
        done: list[str] = []
        local.target.finish(lambda: done.append("nothing"))
        local.put(MESSAGE)
        local.target.finish(lambda: done.append("it cannot be sent"))
        assert done == ["nothing", "it cannot be sent"]

    def test_the_reactor_may_notice_first_that_it_has_gone(self, local: Local) -> None:
        local.start()
        local.put(b"one")
        local.target.connectionLost(None)  # type: ignore[arg-type]  # nobody looks at it
        local.put(b"two")
        local.reactor.advance(LIMITS.log_retry_seconds)
        assert local.received() == [b"one", b"two"]


class Thread:
    """Looks names up when the test says so."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.answer: Deferred[object] = Deferred()

    def __call__(self, function: object, *arguments: object) -> Deferred[object]:
        self.asked.append(arguments[0])
        self.answer = Deferred()
        return self.answer


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


def udp(host: str, port: int) -> tuple[Datagrams, FakeReactor, Thread]:
    reactor, thread = FakeReactor(), Thread()
    connect = connect_udp(host, port, Addresses(thread))
    return Datagrams("syslog", connect, reactor, reactor), reactor, thread


class TestUdp:
    def test_an_address_needs_no_looking_up(self, server: socket.socket) -> None:
        target, _, thread = udp("127.0.0.1", server.getsockname()[1])
        target.put(FakeGiver(), [MESSAGE])
        assert server.recv(1000) == MESSAGE
        assert thread.asked == []
        target.close()

    def test_a_name_is_looked_up_by_somebody_else(self, server: socket.socket) -> None:
        target, _, thread = udp("log.example.com", 514)
        target.put(FakeGiver(), [MESSAGE])
        target.put(FakeGiver(), [b"another"])
        assert thread.asked == ["log.example.com"]
        thread.answer.callback([(socket.AF_INET, server.getsockname())])
        assert [server.recv(1000), server.recv(1000)] == [MESSAGE, b"another"]
        target.close()

    def test_a_name_that_is_not_known_is_looked_up_again(self, server: socket.socket) -> None:
        target, reactor, thread = udp("log.example.com", 514)
        target.put(FakeGiver(), [MESSAGE])
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        thread.answer.errback(Failure(unknown))
        assert target.trouble == "Name or service not known"
        reactor.advance(LIMITS.log_retry_seconds)
        thread.answer.callback([(socket.AF_INET, server.getsockname())])
        assert server.recv(1000) == MESSAGE
        target.close()

    def test_a_lookup_that_is_needed_no_more_is_forgotten(self) -> None:
        target, reactor, thread = udp("log.example.com", 514)
        giver = FakeGiver()
        target.put(giver, [MESSAGE])
        target.close()
        assert thread.answer.called
        assert giver.lost_data == [MESSAGE]
        assert reactor.getDelayedCalls() == []

    def test_a_server_that_is_not_there_is_told_if_its_host_says_so(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        target, _, _ = udp("127.0.0.1", port)
        for _ in range(100):
            target.put(FakeGiver(), [MESSAGE])
        assert target.trouble == "Connection refused"
        target.close()

    def test_a_host_that_cannot_be_reached_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Cut(socket.socket):
            def connect(self, *_: object) -> None:
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

        monkeypatch.setattr(socket, "socket", Cut)
        target, _, _ = udp("127.0.0.1", 514)
        target.put(FakeGiver(), [MESSAGE])
        assert target.trouble == "Network is unreachable"
        target.close()
