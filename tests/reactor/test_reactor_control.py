"""Control over a real UNIX socket: the socket itself, and a session through it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from fakes.control import FakeControl
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from supervisortw.core.model import Settings, UnixAddress
from supervisortw.core.status import LogPiece
from supervisortw.daemon.controlsocket import ControlSocket
from supervisortw.errors import AlreadyRunning, LocalError, Unreachable
from supervisortw.remote.connection import Session, connect
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory, peer_pid


@pytest.fixture
def path() -> Iterator[str]:
    """A short path in a directory of ours; those of pytest can be too long for a socket."""
    directory = tempfile.mkdtemp(prefix="sv-", dir="/tmp")
    yield f"{directory}/control.sock"
    shutil.rmtree(directory)


def listening(path: str, control: FakeControl) -> tuple[ControlSocket, ControlFactory]:
    settings = Settings(
        sockets=(UnixAddress(path=path),), state_directory="/s", logfile="/l", pidfile="/p"
    )
    factory = ControlFactory(control_portal(lambda who: control), reactor)
    listener = ControlSocket(path, settings, factory.unix(), reactor)
    listener.start(peer_pid)
    return listener, factory


async def lost(session: Session) -> None:
    """Wait until the end of the session has come through."""
    ended: Deferred[None] = Deferred()
    session.on_lost(lambda: ended.callback(None))
    if not session.lost:
        await ended.addTimeout(10, reactor)


@pytest_twisted.ensureDeferred
async def test_a_session_from_end_to_end(path: str) -> None:
    listener, factory = listening(path, FakeControl(reactor, ["web"]))
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        session = await connect(reactor, UnixAddress(path=path))
        status = await session.status([])
        assert [program.name for program in status.programs] == ["web"]
        assert [outcome.name for outcome in await session.start(["all"])] == ["web"]
        factory.close_sessions()
        await lost(session)
        with pytest.raises(Unreachable):
            await session.status([])
    finally:
        await listener.stop()
    assert not os.path.exists(path)


@pytest_twisted.ensureDeferred
async def test_a_log_is_followed(path: str) -> None:
    control = FakeControl(reactor, ["web"])
    listener, factory = listening(path, control)
    session = await connect(reactor, UnixAddress(path=path))
    pieces: list[LogPiece] = []
    unfollow = await session.follow("web", 0, pieces.append)
    control.write("web", b"one\n")
    control.write("web", b"two\n")
    while b"".join(piece.data for piece in pieces) != b"one\ntwo\n":
        await deferLater(reactor, 0.01)
    unfollow()
    session.close()
    while factory._sessions or not session.lost:  # both ends
        await deferLater(reactor, 0.01)
    await listener.stop()


@pytest_twisted.ensureDeferred
async def test_a_live_socket_is_refused_with_the_pid_of_its_owner(path: str) -> None:
    listener, _ = listening(path, FakeControl(reactor))
    with pytest.raises(AlreadyRunning, match=rf"\(pid {os.getpid()}\) listens on {path}"):
        listening(path, FakeControl(reactor))
    await listener.stop()


@pytest_twisted.ensureDeferred
async def test_a_socket_that_was_left_behind_is_replaced(path: str) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    listener, _ = listening(path, FakeControl(reactor))
    assert listener.is_there()
    await listener.stop()


@pytest_twisted.ensureDeferred
async def test_something_else_in_its_place_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(LocalError, match="is there already and is no socket"):
        listening(path, FakeControl(reactor))
    assert Path(path).read_text() == "precious"


@pytest_twisted.ensureDeferred
async def test_only_its_own_name_is_removed_at_the_end(path: str) -> None:
    listener, _ = listening(path, FakeControl(reactor))
    os.unlink(path)
    Path(path).write_text("somebody else's")
    assert not listener.is_there()
    await listener.stop()
    assert Path(path).read_text() == "somebody else's"


@pytest_twisted.ensureDeferred
async def test_nobody_there_is_told_with_the_name_of_the_socket(path: str) -> None:
    with pytest.raises(Unreachable, match=f"{path}: no such socket"):
        await connect(reactor, UnixAddress(path=path))
