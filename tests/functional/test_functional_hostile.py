"""Clients that talk nonsense, say nothing, or go away in the middle: the daemon does not notice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from functional_daemon import Daemon
from functional_processes import status_of, wait_until

from supervisortw.remote.frames import pack

PROGRAMS = """
    <program sleeper>
      command sleep 1000
    </program>
    <program chatty>
      command /bin/sh -c 'while :; do seq 10000; sleep 0.01; done'
      auto-start false
    </program>
    """

GARBAGE = {
    "a newline": b"\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(70_000),
    "noise": b"".join(hashlib.sha512(bytes([n])).digest() for n in range(200)),
    "an unknown hello": pack([b"HELLO"]),
    "a hello twice": pack([b"PEER1"]) * 2,
    "a hello with more": pack([b"PEER1", b"more"]),
    "half a hello": pack([b"PEER1"])[:3],
    "Perspective Broker": b"\x02\x80\x0d\x80\x02\x82none\x02\x82pb",
    "a huge announcement": b"\xff" * 8,
}

AFTER_THE_LOGIN = {
    "noise": b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200)),
    "depth": b"\x01\x80" * 5000,
    "a huge list": b"\x7f\x7f\x7f\x7f\x80",
    "a huge string": b"\x7f\x7f\x7f\x7f\x82x",
    "zeros": bytes(70_000),
    "an endless number": b"\x01" * 70_000,
}


@pytest.fixture
def running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.write(PROGRAMS)
    daemon.start()
    pid = daemon.wait_for("sleeper", "RUNNING").pid
    yield daemon
    _answers_within_a_second(daemon)
    assert daemon.ctl("pid", "sleeper").stdout == f"{pid}\n"
    assert "Traceback" not in daemon.log_text()


def _answers_within_a_second(daemon: Daemon) -> None:
    """It lets a new client in, and tells an old one how things are."""
    began = time.monotonic()
    with _connect(daemon) as client:
        _log_in(client)
    assert "sleeper" in daemon.status().up
    assert time.monotonic() - began < 1


def _connect(daemon: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    client.connect(str(daemon.socket))
    return client


def _log_in(client: socket.socket) -> None:
    client.sendall(pack([b"PEER1"]))
    assert client.recv(100).startswith(pack([b"\x01"]))


def _send(client: socket.socket, data: bytes) -> None:
    """Send all there is to say, or as much as the other end listens to."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def _closes(client: socket.socket) -> bool:
    """True if the other end closes the connection, whatever it says before."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(65536):
            pass
    return True


def test_garbage_on_the_socket(running: Daemon) -> None:
    for kind, garbage in GARBAGE.items():
        with _connect(running) as client:
            _send(client, garbage)
            assert _closes(client), kind
        _answers_within_a_second(running)


def test_garbage_after_the_login(running: Daemon) -> None:
    for kind, garbage in AFTER_THE_LOGIN.items():
        with _connect(running) as client:
            _log_in(client)
            _send(client, garbage)
            assert _closes(client), kind
        _answers_within_a_second(running)


def test_clients_that_say_nothing(running: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(_connect(running))
        _answers_within_a_second(running)


def test_clients_that_log_in_and_say_nothing(running: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            client = stack.enter_context(_connect(running))
            _log_in(client)
        _answers_within_a_second(running)


def test_a_client_that_dies_in_the_middle_of_a_followed_log(running: Daemon) -> None:
    running.ask("start", "chatty")
    for number in (signal.SIGKILL, signal.SIGTERM):
        said = running.place / "followed"
        with open(said, "wb") as output:
            client = running.begin(running.ctl_command("tail", "-f", "chatty"), stdout=output)
        wait_until(lambda said=said: said.stat().st_size > 200_000, "it follows")
        client.send_signal(number)
        client.wait(5)
        _answers_within_a_second(running)


@pytest.mark.needs_linux
def test_a_client_that_follows_a_log_and_reads_nothing_costs_nothing(running: Daemon) -> None:
    running.ask("start", "chatty")
    read_end, write_end = os.pipe()
    try:
        for _ in range(3):
            running.begin(running.ctl_command("tail", "-f", "chatty"), stdout=write_end)
        os.read(read_end, 1000)
        log = running.state / "log" / "chatty.log"
        size = log.stat().st_size
        before = int(status_of(running.pid)["VmRSS"].split()[0])
        wait_until(lambda: log.stat().st_size > size + 5_000_000, "5 MB of output")
        after = int(status_of(running.pid)["VmRSS"].split()[0])
        assert after - before < 3_000
        _answers_within_a_second(running)
    finally:
        os.close(read_end)
        os.close(write_end)
    running.ask("stop", "chatty")


def test_a_restart_goes_on_when_its_client_is_killed(daemon: Daemon) -> None:
    daemon.write("""
        <program slow>
          command /bin/sh -c 'trap "sleep 0.5; exit 0" TERM; echo up; while :; do sleep 0.1; done'
        </program>
        """)
    daemon.start()
    daemon.wait_for_output("slow", "up\n")
    before = daemon.pid_of("slow")
    client = daemon.begin(daemon.ctl_command("restart", "slow"))
    wait_until(lambda: "asks: restart slow" in daemon.log_text(), daemon.log_text)
    client.kill()
    client.wait(5)
    assert "STOPPING -> " not in daemon.log_text()
    wait_until(lambda: daemon.output("slow").count("up\n") == 2, daemon.log_text)
    row = daemon.wait_for("slow", "RUNNING")
    assert row.pid not in (0, before)
