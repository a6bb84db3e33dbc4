"""Sockets that are taken back from a program, with a real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.daemon import process
from fakes.store import FakeStore

from supervisortw.core.born import Born
from supervisortw.core.memory import Memory
from supervisortw.core.model import ListeningSocket, TcpAddress, UnixAddress
from supervisortw.daemon import proc
from supervisortw.daemon.getfd import descriptor_of
from supervisortw.daemon.lent import LentSockets
from supervisortw.daemon.living import LivingProcesses


def _is_possible() -> bool:
    """True if we may take a descriptor of our own in this way."""
    try:
        pidfd = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        os.close(descriptor_of(pidfd, 0))
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


pytestmark = pytest.mark.skipif(not _is_possible(), reason="pidfd_getfd(2) is missing or forbidden")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def lender(listening: socket.socket) -> Iterator[Memory]:
    """A process that has the socket as its descriptor 3, alone."""
    program = "import os, sys; os.dup2(int(sys.argv[1]), 3); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(listening.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(listening.fileno(),),
    )
    assert child.stdout is not None
    child.stdout.readline()
    now = proc.clock()
    yield Memory(pid=child.pid, born=Born(now - 60, now))
    child.communicate()


def lent(
    memory: Memory, store: FakeStore, *sockets: ListeningSocket, **keys: object
) -> LentSockets:
    keys = keys or {"sockets": ("web",)}
    lenders = [(process("program", **keys), memory)]
    named = {each.name: each for each in sockets}
    return LentSockets(store, LivingProcesses(), named, lambda: lenders)


def test_what_only_a_program_has_is_taken_from_there(
    listening: socket.socket, lender: Memory
) -> None:
    port = listening.getsockname()[1]
    listening.close()
    web = ListeningSocket(name="web", address=TcpAddress(host="127.0.0.1", port=port))
    taken = lent(lender, FakeStore(), web).take("socket/web")
    assert taken is not None
    assert not os.get_inheritable(taken)
    with socket.socket(fileno=taken) as again, socket.create_connection(("127.0.0.1", port)):
        again.accept()[0].close()


def test_it_may_be_the_standard_input(listening: socket.socket, lender: Memory) -> None:
    taken = lent(lender, FakeStore(), stdin_socket="web").take("socket/web")
    assert taken is not None  # whatever it is: who takes it looks
    os.close(taken)


def test_the_store_goes_before(lender: Memory) -> None:
    store = FakeStore()
    reader, writer = os.pipe()
    store.keep("socket/web", reader)
    store.next_daemon()
    taken = lent(lender, store).take("socket/web")
    assert taken is not None
    assert os.fstat(taken).st_ino == os.fstat(reader).st_ino
    store.close()
    for each in (taken, reader, writer):
        os.close(each)


def test_other_names_are_the_stores_alone(lender: Memory) -> None:
    assert lent(lender, FakeStore()).take("output/web") is None


def test_who_is_somebody_else_by_now_is_not_asked(lender: Memory) -> None:
    lender.born = Born(0, 1)
    assert lent(lender, FakeStore()).take("socket/web") is None


def test_the_file_of_a_unix_socket_comes_with_it(lender: Memory, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    unix = ListeningSocket(name="web", address=UnixAddress(path=str(path)))
    file = lent(lender, FakeStore(), unix).take("socket/web/file")
    assert file is not None
    assert os.fstat(file).st_ino == path.stat().st_ino
    os.close(file)
    path.unlink()
    assert lent(lender, FakeStore(), unix).take("socket/web/file") is None
    assert lent(lender, FakeStore(), unix, sockets=()).take("socket/web/file") is None
