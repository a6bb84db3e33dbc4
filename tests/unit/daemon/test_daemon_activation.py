"""Sockets that somebody else has opened: which are meant for us, and which are taken."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.asking import Asked
from fakes.tcp import Gates
from twisted.internet.testing import MemoryReactorClock

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import TcpAddress, UnixAddress
from supervisortw.daemon import activation
from supervisortw.daemon.activation import Activated, GivenSocket, announced
from supervisortw.daemon.controlport import GivenUnixSocket
from supervisortw.errors import LocalError

LOCALHOST = "127.0.0.1"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as the names of sockets have to be."""
    made = Path(os.path.realpath(tempfile.mkdtemp()))
    yield made
    shutil.rmtree(made)


class TestAnnounced:
    def environment(self, **more: str) -> dict[str, str]:
        return {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "X": "y"} | more

    def test_those_for_us_are_passed_on(self) -> None:
        environment = self.environment()
        assert announced(environment, 77) == range(3, 5)
        assert environment == {
            "X": "y",
            "SUPERVISOR_ACTIVATED": "2",
            "SUPERVISOR_ACTIVATED_NAMES": "a:b",
        }

    @pytest.mark.parametrize(
        "more",
        [{"LISTEN_PID": "78"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "-1"}, {"LISTEN_FDS": "two"}],
    )
    def test_those_for_others_are_not(self, more: dict[str, str]) -> None:
        environment = self.environment(**more, SUPERVISOR_ACTIVATED="9")
        assert list(announced(environment, 77)) == []
        assert environment == {"X": "y"}

    def test_there_are_none_as_a_rule(self) -> None:
        environment: dict[str, str] = {}
        assert list(announced(environment, 77)) == []
        assert environment == {}

    def test_there_is_a_bound(self) -> None:
        found = announced(self.environment(LISTEN_FDS="99999999999"), 77)
        assert len(found) == LIMITS.activated_sockets


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Activated]]:
    """Return what gives the daemon sockets as the holder does, from the next free descriptor on."""
    ours: list[Activated] = []

    def give(*sockets: socket.socket, names: str = "") -> Activated:
        first = os.dup(sockets[0].fileno())
        descriptors = [first]
        for at, each in enumerate(sockets[1:], 1):
            os.dup2(each.fileno(), first + at)
            descriptors.append(first + at)
        monkeypatch.setattr(activation, "FIRST", first)
        environment = {
            "SUPERVISOR_ACTIVATED": str(len(sockets)),
            "SUPERVISOR_ACTIVATED_NAMES": names,
        }
        activated = Activated.inherited(environment)
        assert environment == {}
        ours.append(activated)
        taken = {each.listening.fileno() for each in activated.sockets}
        for descriptor in set(descriptors) - taken:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        return activated

    yield give
    for activated in ours:
        for each in activated.sockets:
            each.listening.close()


@pytest.fixture
def listening(place: Path) -> Iterator[Callable[..., socket.socket]]:
    """Return what makes sockets that listen."""
    made: list[socket.socket] = []

    def make(
        address: object = None, family: int = socket.AF_INET, listens: bool = True
    ) -> socket.socket:
        one = socket.socket(family)
        made.append(one)
        one.bind(address or (LOCALHOST, 0))  # type: ignore[arg-type]
        if listens:
            one.listen()
        return one

    yield make
    for each in made:
        each.close()


def of(one: socket.socket) -> TcpAddress:
    return TcpAddress(host=one.getsockname()[0], port=one.getsockname()[1])


Give = Callable[..., Activated]
Listening = Callable[..., socket.socket]


class TestInherited:
    def test_without_any_there_are_none(self) -> None:
        found = Activated.inherited({})
        assert (found.sockets, found.refusals) == ((), ())

    def test_a_port_is_told_by_its_name(self, given: Give, listening: Listening) -> None:
        one = listening()
        activated = given(one)
        [found] = activated.sockets
        assert found.address == of(one)
        assert activated.at(of(one)) is found
        assert activated.at(TcpAddress(host="", port=of(one).port)) is None
        assert activated.at(TcpAddress(host="a.name", port=of(one).port)) is None
        assert activated.at(UnixAddress(path="/x")) is None

    def test_no_child_gets_it(self, given: Give, listening: Listening) -> None:
        [found] = given(listening()).sockets
        assert not os.get_inheritable(found.listening.fileno())
        with found.duplicate() as other:
            assert not other.get_inheritable()

    def test_one_on_all_interfaces(self, given: Give, listening: Listening) -> None:
        one = listening(("0.0.0.0", 0))  # noqa: S104  # for this moment
        activated = given(one)
        assert activated.at(TcpAddress(host="", port=of(one).port)) is not None
        assert activated.at(TcpAddress(host=LOCALHOST, port=of(one).port)) is None

    def test_a_unix_socket(self, given: Give, listening: Listening, place: Path) -> None:
        path = str(place / "s")
        activated = given(listening(path, socket.AF_UNIX))
        assert activated.at(UnixAddress(path=path)) is activated.sockets[0]
        assert activated.at(UnixAddress(path=f"{path}2")) is None

    @pytest.mark.needs_linux
    def test_an_abstract_one_is_refused(self, given: Give, listening: Listening) -> None:
        one = listening(f"\0supervisortw-{os.getpid()}", socket.AF_UNIX)
        activated = given(one, names="control")
        assert activated.sockets == ()
        [refusal] = activated.refusals
        assert "(control): a UNIX socket without a file can be connected to by everybody" in refusal

    def test_what_does_not_listen_is_refused(self, given: Give, listening: Listening) -> None:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound = listening(listens=False)
        with datagrams:
            activated = given(bound, datagrams, listening())
        assert len(activated.sockets) == 1
        assert [text.split(": ")[1] for text in activated.refusals] == [
            "it is no stream socket that listens"
        ] * 2

    def test_what_is_no_socket_is_refused(self, given: Give) -> None:
        with open(os.devnull, "rb") as file:
            activated = given(file)  # type: ignore[arg-type]
        [refusal] = activated.refusals
        assert "Socket operation on non-socket" in refusal


class TestGivenUnixSocket:
    def given(self, place: Path, bits: int) -> tuple[GivenSocket, Path]:
        path = place / "s"
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(path))
        one.listen()
        path.chmod(bits)
        return GivenSocket(one, UnixAddress(path=str(path))), path

    @pytest.mark.parametrize("bits", [0o600, 0o660, 0o640])
    def test_its_mode_and_its_name_stay(self, place: Path, bits: int) -> None:
        given, path = self.given(place, bits)
        reactor = MemoryReactorClock()
        used = GivenUnixSocket(str(path), given.duplicate())
        used.start(Gates("unix"), reactor)
        assert len(reactor.getReaders()) == 1
        assert used.warnings == ()
        assert stat.S_IMODE(path.stat().st_mode) == bits
        used.remove_name()
        assert used.is_there()
        stopped = Asked(used.stop())
        reactor.advance(0)
        assert stopped.answer is None
        assert reactor.getReaders() == []
        assert path.is_socket()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # whoever has made it listens on
        given.listening.close()

    def test_one_for_everybody_is_warned_about(self, place: Path) -> None:
        given, path = self.given(place, 0o666)
        reactor = MemoryReactorClock()
        used = GivenUnixSocket(str(path), given.duplicate())
        used.start(Gates("unix"), reactor)
        [warning] = used.warnings
        assert "everybody can connect; SocketMode=0600 in its unit" in warning
        stopped = Asked(used.stop())
        reactor.advance(0)
        assert stopped.answer is None
        given.listening.close()

    def test_one_that_can_be_replaced_is_refused(self, place: Path) -> None:
        given, path = self.given(place, 0o600)
        place.chmod(0o777)
        used = GivenUnixSocket(str(path), given.duplicate())
        with pytest.raises(LocalError):
            used.start(Gates("unix"), MemoryReactorClock())
        used.stop()
        given.listening.close()

    def test_one_whose_name_is_gone_is_refused(self, place: Path) -> None:
        given, path = self.given(place, 0o600)
        path.unlink()
        used = GivenUnixSocket(str(path), given.duplicate())
        with pytest.raises(LocalError, match="nobody can reach it"):
            used.start(Gates("unix"), MemoryReactorClock())
        used.stop()
        given.listening.close()
