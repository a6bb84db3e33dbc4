"""TCP ports of an installed daemon: where it listens, what it says of it, and with which certificate."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from itertools import product

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until
from functional_tcp import (
    LOOPBACK,
    fingerprint,
    free_ports,
    give_users,
    is_open,
    maps_of,
    mode_of,
    shown_digest,
)

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """
REFUSED = None
NONE = ""
LOCAL = "insecure-plaintext yes\ninsecure-anonymous yes\n"
REMOTE = "insecure-remote anyone-can-run-commands-as-me\n"
WIRETAP = "whoever is in between can read along"
ANYBODY = "whoever can connect is admin, without a password"

# By TLS, passwords and keys: what is said of a port of this machine, and of one of all interfaces.
TABLE = {
    (True, True, NONE): ("", ""),
    (True, True, LOCAL): ("", ""),
    (True, True, REMOTE): ("", ""),
    (True, False, NONE): (REFUSED, REFUSED),
    (True, False, LOCAL): (ANYBODY, REFUSED),
    (True, False, REMOTE): (REFUSED, ANYBODY),
    (False, True, NONE): (REFUSED, REFUSED),
    (False, True, LOCAL): (WIRETAP, REFUSED),
    (False, True, REMOTE): (REFUSED, WIRETAP),
    (False, False, NONE): (REFUSED, REFUSED),
    (False, False, LOCAL): (ANYBODY, REFUSED),
    (False, False, REMOTE): (REFUSED, ANYBODY),
}


def configure(daemon: Daemon, *addresses: object, more: str = "") -> None:
    names = [f"socket-name {address}" for address in (daemon.socket, *addresses)]
    daemon.write(SLEEPER, "\n".join([*names, more]))


@pytest.mark.parametrize(("tls", "passwords"), [*product((True, False), repeat=2)])
def test_a_daemon_listens_by_the_table(daemon: Daemon, tls: bool, passwords: bool) -> None:
    local, everywhere = free_ports(2)
    lines = "" if tls else "tls no\n"
    if passwords:
        lines += f"passwdfile {give_users(daemon)}\n"
    names = (f"127.0.0.1:{local}", f":{everywhere}")
    for keys in (NONE, LOCAL, REMOTE):
        configure(daemon, *names, more=lines + keys)
        if daemon.pid:
            daemon.ctl("reload")
            said = daemon.log_text().splitlines()
        else:
            said = daemon.start().stdout.splitlines()
        notes = daemon.status().notes
        expected = TABLE[tls, passwords, keys]
        for name, port, meaning in zip(names, (local, everywhere), expected, strict=True):
            assert is_open(port) is (meaning is not REFUSED), (keys, name)
            mine = [note for note in notes if note.startswith((f"not listening on {name}: ", name))]
            if meaning is REFUSED:
                assert mine[0].startswith(f"not listening on {name}: TCP takes TLS and a password")
            elif meaning:
                assert mine[0].startswith(f"{name} is insecure by 'insecure-")
                assert meaning in mine[0]
            assert len(mine) == (meaning != "")
            assert all(any(line.endswith(note) for line in said) for note in mine)
            if meaning is not REFUSED and tls:
                assert shown_digest(port) == fingerprint(daemon)
    assert daemon.status().up == ("sleeper",)


def test_strict_starts_nothing(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}")
    done = daemon.supervisord("--strict")
    assert done.returncode == 1
    assert f"not listening on 127.0.0.1:{port}: TCP takes TLS and a password" in done.stderr
    assert not daemon.socket.exists()
    assert "sleeper" not in daemon.log_text()


def test_a_report_tells_the_certificate(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {give_users(daemon)}")
    said = daemon.start().stdout
    assert f"control socket {daemon.socket}\n" in said
    assert f"control socket 127.0.0.1:{port} (TLS, {fingerprint(daemon)})\n" in said
    assert f"-s {daemon.socket}" in said
    state = daemon.state / "tls"
    assert [mode_of(each) for each in (state, state / "key.pem")] == [0o700, 0o600]


def test_users_come_and_go(daemon: Daemon) -> None:
    [port] = free_ports(1)
    users = daemon.place / "passwd"
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {users}")
    daemon.start()
    assert not is_open(port)
    give_users(daemon)
    daemon.ctl("reload")
    assert is_open(port)
    assert daemon.status().notes == ()
    users.write_text("nonsense")
    daemon.ctl("reload")
    assert not is_open(port)
    notes = daemon.status().notes
    assert [note for note in notes if f"no user can log in by {users}" in note]


def test_ipv6(daemon: Daemon) -> None:
    try:
        [port] = free_ports(1, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    configure(daemon, f"[::1]:{port}", more=f"passwdfile {give_users(daemon)}")
    daemon.start()
    assert shown_digest(port, "::1") == fingerprint(daemon)
    assert not is_open(port)


def test_the_certificate_is_kept(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {give_users(daemon)}")
    daemon.start()
    first, pid = shown_digest(port), daemon.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: daemon.pidfile.exists() and daemon.pidfile.read_text() not in ("", f"{pid}\n"),
        "another daemon",
    )
    wait_until(lambda: is_open(port), "it listens")
    daemon.note_pids(int(daemon.pidfile.read_text()))
    assert shown_digest(port) == first
    daemon.stop()
    daemon.hang_up()
    daemon.start()
    assert shown_digest(port) == first == fingerprint(daemon)


def test_a_certificate_that_is_damaged_is_not_replaced(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {give_users(daemon)}")
    key = daemon.state / "tls" / "key.pem"
    daemon.start()
    daemon.stop()
    daemon.hang_up()
    key.write_text("nonsense")
    daemon.start()
    assert not is_open(port)
    [note] = daemon.status().notes
    assert "its own certificate: there is no private key in it" in note
    assert key.read_text() == "nonsense"


def test_tls_12_is_refused(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {give_users(daemon)}")
    daemon.start()
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        shown_digest(port, maximum_version=ssl.TLSVersion.TLSv1_2)
    with socket.create_connection((LOOPBACK, port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in client.recv(1000)
    assert daemon.status().up == ("sleeper",)


@pytest.mark.needs_linux
def test_tls_is_loaded_when_a_port_needs_it(daemon: Daemon) -> None:
    [port] = free_ports(1)
    configure(daemon, f"127.0.0.1:{port}")
    daemon.start()
    assert "cryptography" not in maps_of(daemon.pid), "a port that is refused needs nothing"
    configure(daemon, f"127.0.0.1:{port}", more=f"passwdfile {give_users(daemon)}")
    daemon.ctl("reload")
    assert is_open(port)
    assert "cryptography" in maps_of(daemon.pid)
