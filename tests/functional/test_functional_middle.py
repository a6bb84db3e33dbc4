"""People between a client and a daemon, and those who listen: what they get, and that it is nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from functional_daemon import Completed, Daemon, installed
from functional_relay import relay
from functional_remote import (
    Login,
    by_hand,
    certificate,
    free_port,
    passwd,
    record,
    remote_settings,
    save_passwd,
)
from OpenSSL import SSL

from supervisortw.core import srp
from supervisortw.core.passwd import Record
from supervisortw.remote.frames import ADMITTED, REFUSED, pack

PASSWORD = "correct horse battery"
DENIED = 7


class Remote:
    """A daemon on a TCP port, and alice, who is its admin."""

    def __init__(self, daemon: Daemon, more: str = "") -> None:
        self.daemon = daemon
        self.port = free_port()
        self.alice: Record = record("alice", PASSWORD)
        save_passwd(daemon, passwd(self.alice))
        settings = remote_settings(daemon, f"127.0.0.1:{self.port}", more=more)
        daemon.write("<program sleeper>\n  command sleep 1000\n</program>", settings)
        daemon.start()
        daemon.wait_for("sleeper", "RUNNING")

    def ctl(
        self, *words: str, port: int = 0, password: str = PASSWORD, options: tuple[str, ...] = ()
    ) -> Completed:
        """Run supervisorctl as alice, who types her password into a pipe."""
        secret = self.daemon.save(self.daemon.place / "secret", password + "\n", 0o600)
        command = [
            *("/bin/sh", "-c", 'exec "$@" 9< "$0"', str(secret), installed("supervisorctl")),
            *("-s", f"127.0.0.1:{port or self.port}", "-u", "alice", "--password-fd", "9"),
        ]
        return self.daemon.run([*command, *options, *words])


@pytest.fixture
def remote(daemon: Daemon) -> Remote:
    return Remote(daemon)


def test_alice_gets_in_by_her_password_and_nobody_else(remote: Remote) -> None:
    assert remote.ctl("pid", "sleeper").stdout == remote.daemon.ask("pid", "sleeper") + "\n"
    wrong = remote.ctl("pid", "sleeper", password="wrong horse battery")
    assert (wrong.returncode, wrong.stdout) == (DENIED, "")
    assert "password" in wrong.stderr


@pytest.mark.parametrize("whose", ["of his own", "stolen from the daemon"])
def test_a_man_in_the_middle_is_refused_with_the_right_password(remote: Remote, whose: str) -> None:
    identity = certificate(remote.daemon.place, "mallory", "127.0.0.1")
    if whose == "stolen from the daemon":
        directory = remote.daemon.state / "tls"
        identity = directory / "certificate.pem", directory / "key.pem"
    with relay(remote.port, identity) as mallory:
        done = remote.ctl("stop", "sleeper", port=mallory.port)
        assert (done.returncode, done.stdout) == (DENIED, "")
        assert "wrong password or somebody between" in done.stderr
        # He has seen the login, up to the refusal of the daemon, and it is of no use to him.
        assert b"alice" in mallory.to_daemon
        assert mallory.to_client.endswith(pack([REFUSED]))
        assert nothing_to_be_found(remote, mallory.to_daemon + mallory.to_client)
    assert "sleeper" in remote.daemon.ask("list", "up")
    assert remote.ctl("pid", "sleeper").returncode == 0


def test_who_is_between_when_the_certificate_is_known_is_told_nothing(remote: Remote) -> None:
    assert remote.ctl("status").returncode == 0  # which makes it known
    known = remote.daemon.place / ".config" / "supervisortw" / "known_hosts"
    identity = certificate(remote.daemon.place, "mallory", "127.0.0.1")
    with relay(remote.port, identity) as mallory:
        text = known.read_text().replace(f":{remote.port} ", f":{mallory.port} ")
        known.write_text(text)
        done = remote.ctl("status", port=mallory.port)
        assert done.returncode == DENIED
        assert "certificate" in done.stderr
        assert mallory.to_daemon == b""


def nothing_to_be_found(remote: Remote, traffic: bytes) -> bool:
    """True if no secret of alice's stands in ``traffic``, in any usual form."""
    alice = remote.alice
    stretched = srp.stretch(PASSWORD.encode(), "alice", alice.kdf, alice.realm)
    key = srp.private_key(stretched, alice.salt).to_bytes(32, "big")
    verifier = srp.GROUP.packed(alice.verifier)
    for secret in (PASSWORD.encode(), stretched, key, verifier, verifier[-64:]):
        forms = [secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode()]
        forms += [base64.urlsafe_b64encode(secret).rstrip(b"=")]
        if any(form in traffic for form in forms):
            return False
    return True


def test_who_listens_finds_neither_password_nor_verifier(remote: Remote) -> None:
    with relay(remote.port) as eve:
        assert remote.ctl("status", port=eve.port).returncode == 0
        traffic = eve.to_daemon + eve.to_client
    assert len(traffic) > 1000
    assert nothing_to_be_found(remote, traffic)
    assert b"sleeper" not in traffic
    assert b"alice" not in traffic


def test_not_even_where_there_is_no_tls(daemon: Daemon) -> None:
    remote = Remote(daemon, more="tls no\ninsecure-plaintext yes")
    with relay(remote.port) as eve:
        done = remote.ctl("status", port=eve.port, options=("--insecure",))
        assert done.returncode == 0, done.stderr
        traffic = eve.to_daemon + eve.to_client
    assert b"alice" in traffic  # so this is what was said
    assert b"sleeper" in traffic or b"x\x9c" in traffic
    assert nothing_to_be_found(remote, traffic)


def test_what_was_recorded_opens_nothing(remote: Remote) -> None:
    login = Login("alice", PASSWORD)
    with by_hand(remote.port) as there:
        there.send(login.first)
        second = there.frame()
        proofs = login.proofs(second, there.binding)
        third = pack([proofs.client])
        there.send(third)
        assert there.frame() == pack([ADMITTED, proofs.server])
    with by_hand(remote.port) as there:  # the same again, byte by byte
        there.send(login.first)
        assert there.frame() != second
        there.send(third)
        assert there.frame() == pack([REFUSED])
    with by_hand(remote.port) as there:  # the right answer, for another channel
        there.send(login.first)
        elsewhere = srp.Binding(kind="tls-exporter", data=bytes(32), certificate=bytes(32))
        there.send(pack([login.proofs(there.frame(), elsewhere).client]))
        assert there.frame() == pack([REFUSED])
        assert there.receive(1) == b""


def test_older_versions_of_tls_are_refused(remote: Remote) -> None:
    with (
        pytest.raises(SSL.Error, match="protocol version"),
        by_hand(remote.port, highest=SSL.TLS1_2_VERSION),
    ):
        pass
    with by_hand(remote.port):
        pass


def test_no_secret_stands_in_the_log_or_the_command_line(
    remote: Remote, capfd: pytest.CaptureFixture[str]
) -> None:
    for password in (PASSWORD, "wrong horse battery"):
        done = remote.ctl("status", password=password)
        text = done.stdout + done.stderr + remote.daemon.log_text()
        assert password not in text
        assert nothing_to_be_found(remote, text.encode())


Answers = Callable[[Login], bytes]


def test_who_is_unknown_looks_like_who_has_a_wrong_password(remote: Remote) -> None:
    seen = []
    for user, password in (("alice", "wrong horse battery"), ("nobody-at-all", PASSWORD)):
        login = Login(user, password)
        with by_hand(remote.port) as there:
            there.send(login.first)
            second = there.frame()
            there.send(pack([login.proofs(second, there.binding).client]))
            seen.append((len(second), second[:47], there.frame(), there.receive(1)))
    assert seen[0] == seen[1]
    assert seen[0][2:] == (pack([REFUSED]), b"")
    # and it is so each time
    again = Login("nobody-at-all", PASSWORD)
    with by_hand(remote.port) as there:
        there.send(again.first)
        first_salt = re.search(rb"(?s)ln=14,r=8,p=1..(.{16})..(.{16})", there.frame())
    with by_hand(remote.port) as there:
        there.send(again.first)
        second_salt = re.search(rb"(?s)ln=14,r=8,p=1..(.{16})..(.{16})", there.frame())
    assert first_salt is not None
    assert second_salt is not None
    assert first_salt.groups() == second_salt.groups()
