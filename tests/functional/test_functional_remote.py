"""Sessions over TCP, and what becomes of them: users and roles that change, reloads, deaths."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from functional_daemon import Daemon, installed
from functional_processes import wait_until
from functional_remote import free_port, passwd, record, remote_settings, save_passwd
from functional_shell import Shell

from supervisortw.core.roles import Role

SECRET = "correct horse battery"
PROGRAMS = """
    <program sleeper>
      command sleep 1000
    </program>
    """


class Remote:
    """A daemon on a TCP port, and shells of its users."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        daemon.write(PROGRAMS, remote_settings(daemon, self.address))
        self.users = {
            "alice": record("alice", SECRET),
            "olga": record("olga", SECRET, Role.OBSERVER),
            "pat": record("pat", SECRET, Role.OPERATOR),
        }

    def save(self) -> None:
        save_passwd(self.daemon, passwd(*self.users.values()))

    def shell(self, user: str) -> Shell:
        """Return a client that stays, of ``user``, who is asked for no password."""
        daemon = self.daemon
        secret = daemon.save(daemon.place / "secret", SECRET + "\n", 0o600)
        config = daemon.save(
            daemon.place / "ctl.conf",
            f"<supervisorctl>\nsocket-name {self.address}\npassword-file {secret}\n</supervisorctl>\n",
        )
        complaints = daemon.place / f"complaints-{user}{len(daemon.clients)}"
        pipe = subprocess.PIPE
        command = [installed("supervisorctl"), "-c", str(config), "-u", user]
        with open(complaints, "wb") as errors:
            client = daemon.begin(command, stdin=pipe, stdout=pipe, stderr=errors)
        return Shell(client, complaints, daemon.socket, installed("supervisorctl"))

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.daemon.log_text(), self.daemon.log_text)


def answer_in_the_end(shell: Shell, words: list[str]) -> str:
    """Return the answer of a client that may not know yet that its connection was closed."""
    return wait_until(lambda: shell.attempt(words)[0], f"an answer to {words}")


@pytest.fixture
def remote(daemon: Daemon) -> Remote:
    remote = Remote(daemon)
    remote.save()
    daemon.start()
    daemon.wait_for("sleeper", "RUNNING")
    return remote


def test_each_role_may_do_what_is_its(remote: Remote) -> None:
    observer, operator, admin = (remote.shell(user) for user in ("olga", "pat", "alice"))
    for shell in (observer, operator, admin):
        assert shell.ask(["list", "up"]) == "sleeper\n"
    denied = f"{remote.address}: restart takes the role operator; yours is observer\n"
    assert observer.attempt(["restart", "sleeper"]) == ("", denied)
    assert operator.ask(["restart", "sleeper"]).startswith("sleeper: restarted, pid ")
    denied = f"{remote.address}: reload takes the role admin; yours is operator\n"
    assert operator.attempt(["reload"]) == ("", denied)
    denied = f"{remote.address}: the signal SIGKILL takes the role admin; yours is operator\n"
    assert operator.attempt(["signal", "KILL", "sleeper"]) == ("", denied)
    denied = f"{remote.address}: supervisord's own log takes the role admin; yours is operator\n"
    assert operator.attempt(["logtail"]) == ("", denied)
    assert "nothing has changed" in admin.ask(["reload"])
    assert "alice asks: reload" in remote.daemon.log_text()


def test_who_is_deleted_is_logged_out_at_once_and_the_others_stay(remote: Remote) -> None:
    olga, pat = remote.shell("olga"), remote.shell("pat")
    for shell in (olga, pat):
        shell.ask(["list"])
    del remote.users["olga"]
    remote.save()
    remote.wait_for_log("a session of olga is closed")
    wait_until(lambda: "wrong password for olga" in olga.attempt(["list"])[1], "she is refused")
    assert pat.ask(["list"]) == "sleeper\n"
    assert "a session of pat" not in remote.daemon.log_text()


def test_another_role_holds_at_once(remote: Remote) -> None:
    olga = remote.shell("olga")
    assert "takes the role" in olga.attempt(["restart", "sleeper"])[1]
    remote.users["olga"] = record("olga", SECRET, Role.OPERATOR)
    remote.save()
    remote.wait_for_log("a session of olga is closed")
    assert answer_in_the_end(olga, ["restart", "sleeper"]).startswith("sleeper: restarted, pid ")


def test_a_damaged_file_lets_nobody_in_and_throws_nobody_out(remote: Remote) -> None:
    pat = remote.shell("pat")
    pat.ask(["list"])
    file = remote.daemon.place / "passwd"
    whole = file.read_text()
    remote.daemon.save(file, whole[:-5], 0o600)
    remote.wait_for_log("nobody can log in with a password")
    assert pat.ask(["list"]) == "sleeper\n"
    late = remote.shell("alice").attempt(["list"])
    assert late == ("", f"{remote.address}: the daemon lets nobody in by password now\n")
    assert f"{file}:4: the last line is cut off" in "".join(remote.daemon.status().notes)
    remote.daemon.save(file, whole, 0o600)
    assert remote.shell("alice").ask(["list"]) == "sleeper\n"
    assert remote.daemon.status().notes == ()


def test_a_port_opens_as_soon_as_there_is_a_user(daemon: Daemon) -> None:
    remote = Remote(daemon)
    daemon.start()
    assert any("not listening" in note for note in daemon.status().notes)
    remote.save()
    remote.wait_for_log(f"listening on {remote.address} (TLS, SHA256:")
    assert remote.shell("alice").ask(["list"]) == "sleeper\n"
    assert daemon.status().notes == ()


def test_sessions_stay_over_a_reload_that_closes_their_port(remote: Remote) -> None:
    alice = remote.shell("alice")
    alice.ask(["list"])
    remote.daemon.write(PROGRAMS, f"passwdfile {remote.daemon.place / 'passwd'}")
    alice.ask(["reload"])
    assert alice.ask(["list"]) == "sleeper\n"
    late = remote.shell("alice").attempt(["list"])
    assert late == ("", f"{remote.address}: nobody listens there; is supervisord running?\n")
    remote.daemon.write(PROGRAMS)
    remote.daemon.ask("reload")  # without a password file there are no such users
    remote.wait_for_log("a session of alice is closed")


def test_a_session_is_opened_again_after_a_death_of_the_daemon(remote: Remote) -> None:
    alice = remote.shell("alice")
    pid = alice.ask(["pid", "sleeper"])
    os.kill(remote.daemon.pid, signal.SIGKILL)
    remote.wait_for_log("and was started again")
    remote.wait_for_log("going on with 1 program")
    remote.daemon.note_pids(int(remote.daemon.pidfile.read_text()))
    assert answer_in_the_end(alice, ["pid", "sleeper"]) == pid


def test_who_is_unknown_to_the_kernel_gets_in_through_the_unix_socket(remote: Remote) -> None:
    """By the password, whoever it is; the mode of the socket decides who can try."""
    secret = remote.daemon.place / "secret"
    remote.daemon.save(secret, SECRET + "\n", 0o600)
    command = ["-u", "olga", "--password-fd", "0", "list"]
    done = remote.daemon.run(
        [installed("supervisorctl"), "-s", str(remote.daemon.socket), *command], SECRET + "\n"
    )
    assert (done.stdout, done.stderr) == ("sleeper\n", "")
    assert "olga from" in remote.daemon.log_text()
