"""Other users of the machine: who is let in, who is not, and what they are told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Completed, Daemon
from functional_processes import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_linux]

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

MakeDaemon = Callable[..., Daemon]


def _as(account: Account, daemon: Daemon, *words: str) -> Completed:
    """Run supervisorctl as somebody."""
    own, daemon.account = daemon.account, account
    try:
        return daemon.ctl(*words)
    finally:
        daemon.account = own


def _is_refused(done: Completed, line: str) -> None:
    assert done.returncode == 7
    assert done.stdout == ""
    assert done.stderr == f"{line}\n"


def test_a_socket_that_all_can_reach_lets_in_nobody_else(daemon: Daemon, ordinary: Account) -> None:
    daemon.place.chmod(0o711)
    daemon.write(SLEEPER, "socket-mode 0666")
    daemon.start()
    for words in (["status"], ["stop", "sleeper"], ["shutdown"]):
        done = _as(ordinary, daemon, *words)
        _is_refused(done, f"{daemon.socket}: the daemon does not let this user in")
    assert f"{ordinary.name} asks" not in daemon.log_text()
    assert daemon.status().up == ("sleeper",)


def test_who_was_refused_can_be_found_in_the_log(daemon: Daemon, ordinary: Account) -> None:
    daemon.place.chmod(0o711)
    daemon.write(SLEEPER, "socket-mode 0666\nloglevel debug")
    daemon.start()
    assert _as(ordinary, daemon, "status").returncode == 7
    assert f"uid {ordinary.uid} (pid " in daemon.log_text()
    assert "refused: not authorized" in daemon.log_text()


def test_a_stranger_who_says_hello_gets_one_answer_and_no_broker(
    daemon: Daemon, ordinary: Account
) -> None:
    daemon.place.chmod(0o711)
    daemon.write(SLEEPER, "socket-mode 0666")
    daemon.start()
    greet = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])\n"
        "s.sendall(bytes.fromhex(sys.argv[2])); data = b''\n"
        "while (more := s.recv(1000)): data += more\n"
        "print(data)\n"
    )
    from supervisortw.remote.frames import pack

    hello, refused = pack([b"PEER1"]), pack([b"\0"])
    python = [sys.executable, "-I", "-c", greet, str(daemon.socket), hello.hex()]
    own, daemon.account = daemon.account, ordinary
    done = daemon.run(python)
    daemon.account = own
    assert done.stdout == f"{refused!r}\n"


def test_silent_strangers_do_not_keep_root_waiting(
    daemon: Daemon, ordinary: Account, stranger: Account
) -> None:
    daemon.place.chmod(0o711)
    daemon.write(SLEEPER, "socket-mode 0666")
    daemon.start()
    daemon.hang_up()
    connect = (
        "import socket, sys\n"
        "held = [socket.socket(socket.AF_UNIX) for _ in range(40)]\n"
        "for s in held: s.connect(sys.argv[1])\n"
        "print(flush=True); sys.stdin.read()\n"
    )
    crowd = [sys.executable, "-I", "-c", connect, str(daemon.socket)]
    for account in (ordinary, stranger):
        own, daemon.account = daemon.account, account
        silent = daemon.begin(crowd, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        daemon.account = own
        assert silent.stdout is not None
        assert silent.stdout.read(1) == b"\n"
    done = daemon.ctl("status")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["the socket", "its directory"])
def test_where_there_is_no_permission_sudo_is_named(
    daemon: Daemon, ordinary: Account, closed: str
) -> None:
    if closed == "the socket":
        daemon.place.chmod(0o711)
    elif not ordinary.unaided:
        pytest.skip("the user has a privilege here that opens directories")
    daemon.write(SLEEPER)
    daemon.start()
    own, daemon.place = daemon.place, daemon.place.parent  # they cannot be in a closed directory
    done = _as(ordinary, daemon, "status")
    daemon.place = own
    _is_refused(done, f"{daemon.socket}: that daemon belongs to root: use sudo")


def test_the_daemon_of_an_ordinary_user_is_theirs_and_roots(
    make_daemon: MakeDaemon, ordinary: Account, stranger: Account
) -> None:
    daemon = make_daemon(ordinary)
    daemon.place.chmod(0o711)
    daemon.write(SLEEPER, "socket-mode 0666")
    daemon.start()
    assert daemon.status().up == ("sleeper",)
    root = Account("root", 0, 0)
    done = _as(root, daemon, "restart", "sleeper")
    assert (done.returncode, done.stderr) == (0, "")
    assert "root asks: restart sleeper" in daemon.log_text()
    done = _as(stranger, daemon, "status")
    _is_refused(done, f"{daemon.socket}: the daemon does not let this user in")


def test_nothing_is_said_to_a_socket_that_somebody_else_put_there(
    daemon: Daemon, stranger: Account
) -> None:
    """In a directory where everybody can make files, a stranger waits for root's client."""
    daemon.place.chmod(0o1777)
    heard = daemon.place / "heard"
    listen = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "os.chmod(sys.argv[1], 0o666)\n"
        "c, _ = s.accept(); print(c.recv(1000), flush=True)\n"
    )
    own, daemon.account = daemon.account, stranger
    with open(heard, "wb") as output:
        trap = [sys.executable, "-I", "-c", listen, str(daemon.socket)]
        listener = daemon.begin(trap, stdout=output)
    daemon.account = own

    def listens() -> bool:
        return daemon.socket.exists() and daemon.socket.stat().st_mode & 0o777 == 0o666

    wait_until(listens, "it listens")
    done = daemon.ctl("status")
    reason = f"a process of another user (uid {stranger.uid}) listens there; nothing was sent"
    _is_refused(done, f"{daemon.socket}: {reason}")
    listener.wait(5)
    assert heard.read_bytes() == b"b''\n"


def test_a_socket_left_by_somebody_else_is_not_replaced(daemon: Daemon, stranger: Account) -> None:
    shared = daemon.directory("shared")
    shared.chmod(0o1777)
    path = shared / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    os.chown(path, stranger.uid, stranger.gid)
    daemon.write(SLEEPER, f"socket-name {daemon.socket}\nsocket-name {path}")
    done = daemon.start()
    assert f"cannot replace {path}: it belongs to another user" in done.stdout
    assert path.stat().st_uid == stranger.uid
    assert daemon.status().up == ("sleeper",)
