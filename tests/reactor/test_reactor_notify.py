"""Programs that tell of themselves, with the real reactor."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from supervisortw.core.notify import Notice
from supervisortw.daemon.notify import NotifySockets
from supervisortw.daemon.store import NoStore

# Sends the lines of its input, each as a datagram, and ends.
SENDER = """
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.connect(os.environ["NOTIFY_SOCKET"])
    for line in sys.stdin.buffer:
        sender.send(line)
"""


@pytest.fixture
def sockets() -> Iterator[NotifySockets]:
    place = os.path.realpath(tempfile.mkdtemp(prefix="sv-", dir="/tmp"))
    sockets = NotifySockets(lambda: f"{place}/notify", reactor, NoStore())
    yield sockets
    sockets.close_all()
    os.rmdir(place)


def begin(command: list[str], path: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": path}
    )


def send(path: str, datagram: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram, path)


@pytest_twisted.ensureDeferred
async def test_a_program_is_heard_that_is_gone_before_its_message_is_read(
    sockets: NotifySockets,
) -> None:
    heard: Deferred[tuple[Notice, int]] = Deferred()
    path = sockets.open("web", os.geteuid(), lambda *told: heard.callback(told))
    sender = begin([sys.executable, "-I", "-S", "-c", SENDER], path)
    sender.communicate(b"READY=1", timeout=20)
    notice, pid = await heard.addTimeout(20, reactor)
    assert notice == Notice(ready=True)
    assert pid == (sender.pid if sys.platform == "linux" else 0)


@pytest_twisted.ensureDeferred
async def test_what_a_program_sends_at_once_is_heard_in_order(sockets: NotifySockets) -> None:
    count = 500  # more than the kernel keeps for us, so the sender has to wait
    told: list[str | None] = []
    all_there: Deferred[None] = Deferred()

    def hear(notice: Notice, pid: int) -> None:
        told.append(notice.status)
        if len(told) == count:
            all_there.callback(None)

    path = sockets.open("web", os.geteuid(), hear)
    sender = begin([sys.executable, "-I", "-S", "-c", SENDER], path)
    assert sender.stdin is not None
    sender.stdin.write(b"".join(b"STATUS=%d\n" % number for number in range(count)))
    sender.stdin.close()
    await all_there.addTimeout(20, reactor)
    assert told == [str(number) for number in range(count)]
    assert sender.wait(20) == 0


@pytest_twisted.ensureDeferred
async def test_a_flood_hinders_nobody(sockets: NotifySockets) -> None:
    path, count = "", 0

    def once_more(notice: Notice, pid: int) -> None:
        nonlocal count
        count += 1
        if count < 100_000:
            send(path, b"WATCHDOG=1")  # so that there is always something to be read

    heard: Deferred[Notice] = Deferred()
    path = sockets.open("flood", os.geteuid(), once_more)
    quiet = sockets.open("quiet", os.geteuid(), lambda notice, pid: heard.callback(notice))
    send(path, b"WATCHDOG=1")
    await deferLater(reactor, 0.01)
    send(quiet, b"READY=1")
    assert await heard.addTimeout(20, reactor) == Notice(ready=True)
    assert 0 < count < 100_000
    sockets.close("flood")


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="needs systemd-notify")
@pytest_twisted.ensureDeferred
async def test_the_program_of_systemd_is_heard(sockets: NotifySockets) -> None:
    notices: list[Notice] = []
    path = sockets.open("web", os.geteuid(), lambda notice, pid: notices.append(notice))
    sender = begin(["systemd-notify", "--ready", "--status=up and running"], path)
    while sender.poll() is None:  # it waits until what it sent has been read
        await deferLater(reactor, 0.01)
    sender.communicate()
    assert sender.returncode == 0
    assert Notice(ready=True, status="up and running") in notices
