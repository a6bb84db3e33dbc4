"""Strangers at the TCP port, who talk nonsense at each step of a login: the daemon does not notice.

After each of them the daemon is alive, has not grown, has written little, and answers an honest client,
who comes over the port as well where the stranger has not been refused for their failures, within a
second.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from functional_daemon import Daemon
from functional_processes import status_of
from functional_remote import (
    ByHand,
    Login,
    by_hand,
    free_port,
    passwd,
    record,
    remote_settings,
    save_passwd,
)
from OpenSSL import SSL

from supervisortw.core import srp
from supervisortw.remote.frames import PASSWORD, PEER, REFUSED, pack

SECRET = "correct horse battery"
GROUP = srp.GROUP
GROWTH_KIB = 20 * 1024
LOG_BYTES = 4096
LINGER_NOT = struct.pack("ii", 1, 0)  # close with a RST

pytestmark = pytest.mark.needs_linux


class Port:
    """The TCP port of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.number = free_port()
        save_passwd(daemon, passwd(record("alice", SECRET)))
        settings = remote_settings(daemon, f"127.0.0.1:{self.number}")
        daemon.write("<program sleeper>\n  command sleep 1000\n</program>", settings)
        daemon.start()
        daemon.wait_for("sleeper", "RUNNING")
        self.log_in()  # what is imported for that belongs to no stranger

    def log_in(self) -> None:
        """Log in as alice does."""
        login = Login("alice", SECRET)
        with by_hand(self.number) as there:
            there.send(login.first)
            second = there.frame()
            there.send(pack([login.proofs(second, there.binding).client]))
            assert there.frame()[:5] == b"\x00\x25\x00\x01\x01"

    def connect(self) -> socket.socket:
        """Come from another address than alice, who would have to wait for a place otherwise."""
        return socket.create_connection(("127.0.0.1", self.number), 10, ("127.0.0.9", 0))

    @contextlib.contextmanager
    def unmoved(self, *, logins: bool = True) -> Iterator[None]:
        """Fail if the daemon takes any harm from what is done within."""
        before, written = self._memory(), self.daemon.log.stat().st_size
        yield
        began = time.monotonic()
        assert "sleeper" in self.daemon.ask("list", "up")
        if logins:
            self.log_in()
        assert time.monotonic() - began < 2  # a second on a machine that has nothing else to do
        assert self._memory() - before < GROWTH_KIB
        assert self.daemon.log.stat().st_size - written < LOG_BYTES
        assert "Traceback" not in self.daemon.log_text()

    def _memory(self) -> int:
        return int(status_of(self.daemon.pid)["VmRSS"].split()[0])


@pytest.fixture(scope="module")
def port(make_shared_daemon: Callable[[], Daemon]) -> Port:
    return Port(make_shared_daemon())


def _ends(sock: socket.socket) -> bool:
    """True if the daemon closes the connection."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


BEFORE_TLS = {
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "Perspective Broker": b"\x02\x82pb" * 50,
    "a mebibyte of zeros": bytes(1024 * 1024),
    "a gate without TLS": pack([PEER]),
    "a record that is too long": b"\x16\x03\x01\xff\xff" + bytes(70_000),
}


@pytest.mark.parametrize("kind", BEFORE_TLS)
def test_what_is_no_tls(port: Port, kind: str) -> None:
    with port.unmoved(), port.connect() as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(BEFORE_TLS[kind])
        assert _ends(sock)


def test_silence_and_half_a_handshake(port: Port) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    hello = connection.bio_read(65536)
    with port.unmoved(), contextlib.ExitStack() as stack:
        stack.enter_context(port.connect())
        for part in (hello[: len(hello) // 2], hello):
            stack.enter_context(port.connect()).sendall(part)


def test_who_sends_nothing_is_sent_away(port: Port) -> None:
    began = time.monotonic()
    with port.unmoved(), port.connect() as sock:
        sock.settimeout(30)
        assert _ends(sock)
        assert 14 < time.monotonic() - began < 25


def test_connections_that_are_broken_off_at_once(port: Port) -> None:
    with port.unmoved():
        for number in range(400):
            with port.connect() as sock:
                if number % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)


def test_more_connections_than_may_wait(port: Port) -> None:
    """One address has four at a time; the others are closed at once, and the UNIX socket goes on."""
    with contextlib.ExitStack() as stack, port.unmoved():
        socks = [stack.enter_context(port.connect()) for _ in range(40)]
        ended = 0
        for sock in socks:
            sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                ended += _ends(sock)
        assert ended == 36
    port.log_in()


def test_a_handshake_that_is_broken_off(port: Port) -> None:
    with port.unmoved():
        for _ in range(20):
            with port.connect() as sock, contextlib.suppress(ConnectionError):
                sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
                sock.sendall(b"\x15\x03\x03\x00\x02\x01\x00")  # close_notify


A = GROUP.packed(GROUP.client_public(1 << 255, pow))
INSTEAD_OF_A_LOGIN = {
    "a huge announcement": b"\xff\xff",
    "an empty frame": b"\x00\x00",
    "an inner length beyond the frame": b"\x00\x04\xff\xff\x00\x00",
    "a byte behind the fields": b"\x00\x08\x00\x05SVTW1\x00",
    "a missing field": pack([PASSWORD, b"alice"]),
    "a field too many": pack([PASSWORD, b"alice", A, b""]),
    "another version": pack([b"SVTW9", b"alice", A]),
    "A is 0": pack([PASSWORD, b"alice", bytes(384)]),
    "A is 1": pack([PASSWORD, b"alice", GROUP.packed(1)]),
    "A is N - 1": pack([PASSWORD, b"alice", GROUP.packed(GROUP.prime - 1)]),
    "A is N": pack([PASSWORD, b"alice", GROUP.packed(GROUP.prime)]),
    "A is N + 1": pack([PASSWORD, b"alice", GROUP.packed(GROUP.prime + 1)]),
    "A is all ones": pack([PASSWORD, b"alice", b"\xff" * 384]),
    "A is short": pack([PASSWORD, b"alice", A[1:]]),
    "A is long": pack([PASSWORD, b"alice", b"\x00" + A]),
    "no user": pack([PASSWORD, b"", A]),
    "a user of 65 letters": pack([PASSWORD, b"a" * 65, A]),
    "a user with a NUL": pack([PASSWORD, b"ali\x00ce", A]),
    "a user that is not ASCII": pack([PASSWORD, "alicé".encode(), A]),
    "a user with a path": pack([PASSWORD, b"../alice", A]),
    "a peer where the kernel knows none": pack([PEER]),
    "Perspective Broker": b"\x02\x82pb",
    "noise": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("kind", INSTEAD_OF_A_LOGIN)
def test_what_is_no_login(port: Port, kind: str) -> None:
    with port.unmoved():
        for _ in range(5):
            with by_hand(port.number) as there:
                there.send(INSTEAD_OF_A_LOGIN[kind])
                if kind == "Perspective Broker":
                    continue  # that can be the beginning of a frame of 642 bytes
                answer = there.receive(1000)
                assert answer == (pack([b"\x03"]) if "peer" in kind else b"")


def _challenged(there: ByHand) -> tuple[Login, bytes]:
    login = Login("alice", SECRET)
    there.send(login.first)
    return login, there.frame()


INSTEAD_OF_A_PROOF = {
    "nothing": pack([b""]),
    "31 bytes": pack([bytes(31)]),
    "33 bytes": pack([bytes(33)]),
    "two fields": pack([bytes(16), bytes(16)]),
    "the first message again": pack([PASSWORD, b"alice", A]),
    "a huge announcement": b"\xff\xff",
}


@pytest.mark.parametrize("kind", INSTEAD_OF_A_PROOF)
def test_what_is_no_proof(port: Port, kind: str) -> None:
    source = f"127.0.0.{10 + list(INSTEAD_OF_A_PROOF).index(kind)}"
    with port.unmoved():
        for _ in range(3):
            with by_hand(port.number, source=source) as there:
                _challenged(there)
                there.send(INSTEAD_OF_A_PROOF[kind])
                assert there.receive(1000) == b""


def test_who_goes_away_in_the_middle_of_a_login(port: Port) -> None:
    with port.unmoved():
        for number in range(20):
            with by_hand(port.number, source=f"127.0.1.{number // 5 + 1}") as there:
                _challenged(there)
            time.sleep(0.1)  # no more than 10 may begin in a second
        for _ in range(100):
            with by_hand(port.number, source="127.0.1.1") as there:
                there.send(Login("alice", SECRET).first)
                assert there.frame()[2:5] == b"\x00\x01\x02"  # there is no getting on for them


def test_what_comes_with_the_proof_is_heard_after_it_only(port: Port) -> None:
    """Bytes for the broker, sent too early: with a wrong proof they reach nobody."""
    with port.unmoved(logins=False), by_hand(port.number) as there:
        _challenged(there)
        there.send(pack([bytes(32)]) + b"\x02\x82pb" * 20)
        assert there.receive(1000) == pack([REFUSED])


def test_one_byte_at_a_time(port: Port) -> None:
    login = Login("alice", SECRET)
    with port.unmoved(), by_hand(port.number) as there:
        for byte in login.first:
            there.send(bytes([byte]))
        second = there.frame()
        for byte in pack([login.proofs(second, there.binding).client]):
            there.send(bytes([byte]))
        assert there.frame()[:5] == b"\x00\x25\x00\x01\x01"
