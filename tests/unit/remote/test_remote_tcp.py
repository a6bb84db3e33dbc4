"""Connections over TCP, with real sockets that are connected to each other and never read."""

import resource
import socket
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from supervisortw.core.limits import LIMITS
from supervisortw.remote.tcp import has_room, host_and_port, notice_death


@pytest.fixture
def connected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            yield accepted


class Wrapped:
    """A transport of TLS, which passes on what it does not know."""

    def __init__(self, transport) -> None:
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)


def test_a_host_that_is_gone_is_noticed(connected) -> None:
    notice_death(Wrapped(SimpleNamespace(socket=connected)))
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    get = connected.getsockopt
    assert get(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == LIMITS.keepalive_repeat_seconds == 15
    assert get(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == LIMITS.keepalive_times == 4
    if sys.platform.startswith("linux"):
        assert get(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == LIMITS.keepalive_seconds == 60
        assert get(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


def test_a_share_of_the_descriptors_is_for_tcp(connected, monkeypatch) -> None:
    transport = SimpleNamespace(socket=connected)
    number = connected.fileno()
    for allowed, room in ((number * 2, True), (number, False), (resource.RLIM_INFINITY, True)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=allowed: (soft, soft))
        assert has_room(transport) is room
    monkeypatch.setattr(resource, "getrlimit", lambda which: (number * 10, number * 10))
    assert not has_room(transport, replace(LIMITS, descriptors_for_tcp=0.1))
    assert has_room(transport, replace(LIMITS, descriptors_for_tcp=0.11))


def test_a_transport_without_a_socket_is_left_alone() -> None:
    notice_death(SimpleNamespace())
    assert has_room(SimpleNamespace(socket="none"))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (IPv4Address("TCP", "192.0.2.1", 99), ("192.0.2.1", "192.0.2.1:99")),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 99), ("192.0.2.1", "192.0.2.1:99")),
        (IPv6Address("TCP", "2001:db8::1", 99), ("2001:db8::1", "[2001:db8::1]:99")),
    ],
)
def test_where_it_comes_from(address, told) -> None:
    assert host_and_port(SimpleNamespace(getPeer=lambda: address)) == told
