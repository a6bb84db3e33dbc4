"""Control ports: real sockets that are bound, and a reactor that does not run."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.asking import Asked
from fakes.daemon import SETTINGS
from fakes.logged import log_lines
from fakes.tcp import FakeTcp
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Settings, TcpAddress, UnixAddress
from supervisortw.daemon.activation import Activated, GivenSocket
from supervisortw.errors import LocalError

HERE, EVERYWHERE = "127.0.0.1", ""
FILE = "/etc/supervisortw/passwd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


class Bench:
    """Listeners for one port."""

    def __init__(self, place: Path, activated: Activated | None = None) -> None:
        self.place = place
        self.port = free_port()
        self.reactor = MemoryReactorClock()
        self.tcp = FakeTcp(self.reactor)
        self.listeners = self.tcp.listeners(activated)

    def settings(self, host: str = HERE, **keys: Any) -> Settings:
        address = TcpAddress(host=host, port=self.port)
        keys = {
            "sockets": (address,),
            "state_directory": str(self.place),
            "passwdfile": FILE,
        } | keys
        return replace(SETTINGS, **keys)

    def open(self, host: str = HERE, **keys: Any) -> None:
        self.listeners.open(self.settings(host, **keys))

    def change(self, host: str = HERE, **keys: Any) -> None:
        assert Asked(self.listeners.change(self.settings(host, **keys))).answer is None

    @property
    def spoken(self) -> list[str]:
        """What is spoken at the ports that were opened, in their order."""
        return [factory.kind for _, _, factory in self.reactor.adoptedPorts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(Path(os.path.realpath(tmp_path)))
    yield bench
    closed = Asked(bench.listeners.close())
    for _ in range(3):
        bench.reactor.advance(0)
    assert closed.answer is None
    assert bench.reactor.getDelayedCalls() == []


class TestSpoken:
    def test_tls_with_the_certificate_that_was_made(self, bench: Bench) -> None:
        with log_lines(LogLevel.info) as lines:
            bench.open()
        assert bench.spoken[0].startswith("secured tls ")
        assert (bench.place / "tls" / "key.pem").read_bytes() == b"a key"
        assert bench.listeners.notes() == []
        [shown] = bench.listeners.shown()
        assert shown.startswith(f"127.0.0.1:{bench.port} (TLS, SHA256:")
        assert lines[-1] == f"listening on {shown}"
        assert "made a certificate" in lines[0]

    @pytest.mark.parametrize("host", [EVERYWHERE, "0.0.0.0"])  # noqa: S104  # for this moment
    def test_all_interfaces(self, bench: Bench, host: str) -> None:
        bench.open(host)
        assert len(bench.spoken) == 1
        assert not bench.listeners.refused

    def test_plain(self, bench: Bench) -> None:
        bench.open(tls=False, insecure_plaintext=True)
        assert bench.spoken == ["plain"]
        assert bench.tcp.loaded == 0
        assert bench.listeners.shown() == [f"127.0.0.1:{bench.port} (no TLS)"]

    def test_anonymous(self, bench: Bench) -> None:
        bench.tcp.users = False
        bench.open(tls=False, insecure_anonymous=True, passwdfile=None)
        assert bench.spoken == ["anonymous"]

    def test_anonymous_in_tls(self, bench: Bench) -> None:
        bench.tcp.users = False
        bench.open(insecure_anonymous=True, passwdfile=None)
        assert bench.spoken == ["secured anonymous"]

    def test_the_socket_is_the_ports_own(self, bench: Bench) -> None:
        bench.open()
        with socket.socket() as again:  # the fake reactor keeps none
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((HERE, bench.port))


class TestRefused:
    def refusal(self, bench: Bench, host: str = HERE, **keys: Any) -> str:
        with log_lines(LogLevel.critical) as lines:
            bench.open(host, **keys)
        assert bench.spoken == []
        assert bench.listeners.refused
        assert bench.listeners.notes() == lines
        [line] = lines
        name = str(TcpAddress(host=host, port=bench.port))
        assert line.startswith(f"not listening on {name}: ")
        return line

    def test_no_users(self, bench: Bench) -> None:
        bench.tcp.users = False
        assert f"no user can log in by {FILE}" in self.refusal(bench)
        assert bench.tcp.loaded == 0

    def test_what_is_allowed_here_is_not_allowed_everywhere(self, bench: Bench) -> None:
        keys = {"tls": False, "insecure_plaintext": True, "insecure_anonymous": True}
        assert "'tls no' is given" in self.refusal(bench, EVERYWHERE, **keys)

    def test_the_name_of_a_host(self, bench: Bench) -> None:
        assert "give the address of the interface" in self.refusal(bench, "a.name")

    def test_a_port_that_is_taken(self, bench: Bench) -> None:
        with socket.socket() as other:
            other.bind((HERE, bench.port))
            other.listen()
            assert "somebody listens there already" in self.refusal(bench)

    def test_an_address_of_another_machine(self, bench: Bench) -> None:
        assert "no interface of this machine" in self.refusal(bench, "192.0.2.1")

    def test_a_certificate_that_cannot_be_used(self, bench: Bench) -> None:
        bench.tcp.trouble = LocalError("the key has a passphrase")
        assert "its own certificate: the key has a passphrase" in self.refusal(bench)

    def test_a_certificate_that_is_not_there(self, bench: Bench) -> None:
        text = self.refusal(bench, tls_certificate="/nowhere/c", tls_key="/nowhere/k")
        assert "/nowhere" in text


class TestInsecure:
    KEYS = {"tls": False, "insecure_plaintext": True}  # noqa: RUF012

    def test_it_is_told_each_day(self, bench: Bench) -> None:
        with log_lines(LogLevel.critical) as lines:
            bench.open(**self.KEYS)
            [first] = lines
            bench.reactor.advance(LIMITS.insecure_told_seconds - 1)
            assert lines == [first]
            bench.reactor.advance(1)
            assert lines == [first] * 2
            bench.reactor.advance(LIMITS.insecure_told_seconds)
            assert lines == [first] * 3
        assert first.startswith(f"127.0.0.1:{bench.port} is insecure by 'insecure-plaintext yes'")
        assert bench.listeners.notes() == [first]
        assert not bench.listeners.refused

    def test_it_is_not_told_any_more_once_it_is_not(self, bench: Bench) -> None:
        bench.open(**self.KEYS)
        bench.change()
        with log_lines(LogLevel.critical) as lines:
            bench.reactor.advance(3 * LIMITS.insecure_told_seconds)
        assert lines == []
        assert bench.listeners.notes() == []


class TestReload:
    def test_nothing_changes_for_nothing(self, bench: Bench) -> None:
        bench.open()
        assert not bench.listeners.differ(bench.settings())
        assert not bench.listeners.differ(bench.settings(loglevel="debug"))

    @pytest.mark.parametrize(
        "keys",
        [
            {"tls": False},
            {"insecure_plaintext": True},
            {"insecure_anonymous": True},
            {"insecure_remote": True},
            {"socket_mode": 0o660},
            {"sockets": ()},
            {"tls_certificate": "/c", "tls_key": "/k"},
        ],
    )
    def test_each_key_counts(self, bench: Bench, keys: dict[str, Any]) -> None:
        bench.open()
        assert bench.listeners.differ(bench.settings(**keys))

    def test_a_file_that_is_named_ends_a_port_for_everybody(self, bench: Bench) -> None:
        bench.tcp.users = False
        bench.open(insecure_anonymous=True, passwdfile=None)
        assert not bench.listeners.refused
        assert bench.listeners.differ(bench.settings(insecure_anonymous=True))
        bench.change(insecure_anonymous=True)
        assert bench.listeners.refused
        assert bench.listeners.names == []

    def test_users_that_vanish_end_a_port(self, bench: Bench) -> None:
        bench.open()
        bench.tcp.users = False
        assert bench.listeners.differ(bench.settings())
        bench.change()
        assert bench.listeners.refused
        assert bench.listeners.names == []

    def test_users_that_appear_begin_one(self, bench: Bench) -> None:
        bench.tcp.users = False
        bench.open()
        bench.tcp.users = True
        assert bench.listeners.differ(bench.settings())
        bench.change()
        assert not bench.listeners.refused
        assert len(bench.spoken) == 1

    def test_another_certificate_is_taken(self, bench: Bench) -> None:
        bench.open()
        (bench.place / "tls" / "key.pem").write_bytes(b"another key")
        assert bench.listeners.differ(bench.settings())
        bench.change()
        assert len(bench.spoken) == 2
        assert bench.tcp.made == 1

    def test_what_was_refused_is_tried_again(self, bench: Bench) -> None:
        with socket.socket() as other:
            other.bind((HERE, bench.port))
            other.listen()
            bench.open()
        assert bench.listeners.differ(bench.settings())
        bench.change()
        assert not bench.listeners.refused

    def test_without_ports_nothing_is_loaded(self, bench: Bench) -> None:
        bench.open(sockets=())
        assert not bench.listeners.differ(bench.settings(sockets=()))
        bench.change(sockets=(), insecure_remote=True)
        assert bench.tcp.loaded == 0
        assert list(bench.place.iterdir()) == []


class TestActivated:
    @pytest.fixture
    def given(self) -> Iterator[GivenSocket]:
        with socket.socket() as one:
            one.bind((HERE, 0))
            one.listen()
            port = one.getsockname()[1]
            yield GivenSocket(one, TcpAddress(host=HERE, port=port))

    def bench(self, tmp_path: Path, given: GivenSocket) -> Bench:
        made = Bench(Path(os.path.realpath(tmp_path)), Activated([given], ["not listening on x"]))
        made.port = given.listening.getsockname()[1]
        return made

    def test_one_that_is_configured_is_taken(self, tmp_path: Path, given: GivenSocket) -> None:
        bench = self.bench(tmp_path, given)
        bench.open()
        assert len(bench.spoken) == 1
        assert bench.listeners.notes() == ["not listening on x"]
        assert bench.listeners.refused
        assert given.listening.fileno() > 0, "it can be taken again"
        bench.change()
        assert len(bench.spoken) == 2
        bench.listeners.close()

    def test_one_that_is_not_is_listened_on_too(self, tmp_path: Path, given: GivenSocket) -> None:
        bench = self.bench(tmp_path, given)
        bench.open(sockets=())
        assert bench.listeners.names == [f"127.0.0.1:{bench.port}"]
        bench.listeners.close()

    def test_it_is_judged_as_any_other(self, tmp_path: Path, given: GivenSocket) -> None:
        bench = self.bench(tmp_path, given)
        bench.tcp.users = False
        bench.open(sockets=())
        assert "no user can log in" in bench.listeners.notes()[0]
        bench.listeners.close()


def test_a_socket_in_the_file_system_is_not_closed_for_a_port(bench: Bench) -> None:
    path = UnixAddress(path=f"{bench.place}/s")
    port = TcpAddress(host=HERE, port=bench.port)
    bench.open(sockets=(path, port))
    inode = os.stat(path.path).st_ino
    bench.tcp.users = False
    bench.change(sockets=(path, port))
    assert bench.listeners.refused
    assert os.stat(path.path).st_ino == inode
    assert bench.listeners.names == [path.path]
